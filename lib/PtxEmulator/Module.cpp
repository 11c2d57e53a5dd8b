//===- Module.cpp - The public face of the emulator -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <cstring>

using namespace quantopt::ptx;

//===----------------------------------------------------------------------===//
// DeviceMemory
//===----------------------------------------------------------------------===//

static constexpr uint64_t kAlignment = 256;
static constexpr uint64_t kGuard = 4096;

uint64_t DeviceMemory::allocate(size_t bytes) {
  size_t total = bytes + 2 * kGuard + kAlignment;
  // Not value-initialised: pages of the guards are never touched.
  std::unique_ptr<uint8_t[]> storage(new uint8_t[total]);
  uint64_t begin = reinterpret_cast<uint64_t>(storage.get()) + kGuard;
  begin = (begin + kAlignment - 1) / kAlignment * kAlignment;
  std::memset(reinterpret_cast<void *>(begin), 0xff, bytes);
  allocations[begin] = {begin + bytes, std::move(storage)};
  return begin;
}

bool DeviceMemory::free(uint64_t address) {
  return allocations.erase(address) != 0;
}

std::pair<uint64_t, uint64_t> DeviceMemory::bounds(uint64_t address) const {
  auto after = allocations.upper_bound(address);
  if (after == allocations.begin())
    return {0, 0};
  auto found = std::prev(after);
  return {found->first, found->second.end};
}

uint8_t *DeviceMemory::data(uint64_t address, size_t bytes) {
  auto after = allocations.upper_bound(address);
  if (after == allocations.begin())
    return nullptr;
  uint64_t end = std::prev(after)->second.end;
  if (address > end || bytes > end - address)
    return nullptr;
  return reinterpret_cast<uint8_t *>(address);
}

//===----------------------------------------------------------------------===//
// Module
//===----------------------------------------------------------------------===//

Module::Module(std::unique_ptr<Program> program)
    : program(std::move(program)) {}
Module::~Module() = default;

std::unique_ptr<Module> Module::parse(std::string text, std::string &error) {
  std::unique_ptr<Program> program = parseProgram(std::move(text), error);
  if (!program)
    return nullptr;
  return std::unique_ptr<Module>(new Module(std::move(program)));
}

static const Function *findEntry(const Program &program,
                                 std::string_view name) {
  for (const Function &function : program.functions)
    if (function.isEntry && function.name == name)
      return &function;
  return nullptr;
}

std::vector<std::string> Module::entries() const {
  std::vector<std::string> names;
  for (const Function &function : program->functions)
    if (function.isEntry)
      names.push_back(function.name);
  return names;
}

std::optional<EntryInfo> Module::entry(std::string_view name) const {
  const Function *function = findEntry(*program, name);
  if (!function)
    return std::nullopt;
  EntryInfo info;
  for (const ParamPlace &place : function->parameters)
    info.parameters.push_back({place.offset, place.size});
  for (uint32_t index : function->shared)
    info.staticSharedBytes += program->variables[index]->bytes;
  info.maxThreads = function->maxThreads;
  return info;
}

std::optional<std::vector<Parameter>>
Module::parameters(std::string_view name) const {
  std::optional<EntryInfo> info = entry(name);
  if (!info)
    return std::nullopt;
  return std::move(info->parameters);
}

std::optional<Error> Module::run(std::string_view name, const Launch &launch,
                                 DeviceMemory &memory,
                                 const RunOptions &options,
                                 RunStatistics *statistics) const {
  const Function *function = findEntry(*program, name);
  if (!function || !function->defined)
    return Error{"there is no kernel '" + std::string(name) + "'", 0};
  Machine machine(*program, *function, launch, memory, options);
  machine.run();
  if (statistics)
    statistics->instructions = machine.instructions;
  return machine.error;
}
