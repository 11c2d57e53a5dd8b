//===- DeviceProgram.cpp - Compiled code and its device -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "DeviceProgram.h"

#include "llvm/ADT/ScopeExit.h"

#include <map>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

static thread_local DeviceProgram *current = nullptr;

static size_t bytesOf(RankedTensorType type) {
  return size_t(type.getNumElements()) *
         llvm::divideCeil(type.getElementTypeBitWidth(), 8);
}

std::string DeviceProgram::load(const Compilation &compilation,
                                ArrayRef<RankedTensorType> inputs) {
  std::string failure;
  llvm::StringMap<DeviceModule *> byName;
  for (auto &[name, text] : compilation.ptx) {
    modules.push_back(device.loadModule(text, failure));
    if (!modules.back())
      return failure;
    byName[name] = modules.back().get();
  }
  kernels.resize(compilation.kernelNumbers.size());
  for (auto &[name, number] : compilation.kernelNumbers) {
    DeviceModule &module = *byName.at(name.first);
    kernels[number] = device.getKernel(module, name.second, failure);
    if (!kernels[number])
      return failure;
  }
  auto place = [&](size_t bytes, const void *data) {
    DeviceAddress address = 0;
    std::string problem = pool.allocate(bytes, address);
    if (problem.empty() && data)
      problem = device.copyToDevice(address, data, bytes);
    arguments.push_back(address);
    return problem;
  };
  for (RankedTensorType input : inputs)
    if (std::string problem = place(bytesOf(input), nullptr); !problem.empty())
      return problem;
  // Data that is read as several types is there once.
  std::map<std::pair<const char *, size_t>, DeviceAddress> placed;
  for (const ExternalConstant &constant : compilation.constants) {
    size_t bytes = bytesOf(constant.type);
    auto [it, isNew] = placed.insert({{constant.data, bytes}, 0});
    if (!isNew) {
      arguments.push_back(it->second);
      continue;
    }
    if (std::string problem = place(bytes, constant.data); !problem.empty())
      return problem;
    it->second = arguments.back();
  }
  numChecks = compilation.checks.size();
  if (numChecks)
    if (std::string problem = place(numChecks * sizeof(int32_t), nullptr);
        !problem.empty())
      return problem;
  canReplay = device.canCapture() && !compilation.dependsOnData;
  return device.synchronize();
}

//===----------------------------------------------------------------------===//
// What the entry calls. Every argument is 64 bits wide.
//===----------------------------------------------------------------------===//

struct DeviceProgram::Calls {
  static void *allocate(int64_t bytes) {
    DeviceAddress address = 0;
    current->note(current->pool.allocate(bytes, address));
    return reinterpret_cast<void *>(address);
  }
  static void *allocateAligned(int64_t, int64_t bytes) {
    return allocate(bytes);
  }
  static void release(void *block) {
    current->pool.release(reinterpret_cast<DeviceAddress>(block));
  }
  static void launch(int64_t kernel, int64_t gridX, int64_t gridY,
                     int64_t gridZ, int64_t blockX, int64_t blockY,
                     int64_t blockZ, int64_t sharedBytes,
                     const uint64_t *arguments, int64_t count) {
    // Nothing to compute, which a device would refuse.
    if (!current->error.empty() || gridX * gridY * gridZ == 0)
      return;
    LaunchShape shape{{uint32_t(gridX), uint32_t(gridY), uint32_t(gridZ)},
                      {uint32_t(blockX), uint32_t(blockY), uint32_t(blockZ)},
                      uint32_t(sharedBytes)};
    current->note(current->device.launch(*current->kernels[kernel], shape,
                                         {arguments, size_t(count)}));
  }
  static void copy(int64_t to, int64_t from, int64_t bytes) {
    if (current->error.empty())
      current->note(current->device.copy(to, from, bytes));
  }
  static void clear(int64_t address, int64_t bytes) {
    if (current->error.empty())
      current->note(current->device.clear(address, bytes));
  }
  static int64_t read(int64_t address, int64_t bytes) {
    int64_t word = 0;
    if (current->error.empty())
      current->note(current->device.copyToHost(&word, address, bytes));
    if (current->error.empty())
      current->note(current->device.synchronize());
    return word;
  }
};

ArrayRef<std::pair<StringRef, void *>> DeviceProgram::symbols() {
  auto address = [](auto *function) {
    return reinterpret_cast<void *>(function);
  };
  static const std::pair<StringRef, void *> symbols[] = {
      {"quantoptLaunch", address(Calls::launch)},
      {"quantoptDeviceCopy", address(Calls::copy)},
      {"quantoptDeviceClear", address(Calls::clear)},
      {"quantoptDeviceRead", address(Calls::read)},
      {"_mlir_memref_to_llvm_alloc", address(Calls::allocate)},
      {"_mlir_memref_to_llvm_aligned_alloc", address(Calls::allocateAligned)},
      {"_mlir_memref_to_llvm_free", address(Calls::release)},
  };
  return symbols;
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

std::string DeviceProgram::callEntry(void (*entry)(void **),
                                     size_t numResults) {
  resultAddresses.assign(numResults, 0);
  // The packed interface takes pointers to arguments, then one to where the
  // results go.
  std::vector<void *> packed;
  for (DeviceAddress &argument : arguments)
    packed.push_back(&argument);
  if (numResults)
    packed.push_back(resultAddresses.data());
  error.clear();
  DeviceProgram *outer = std::exchange(current, this);
  entry(packed.data());
  current = outer;
  return std::exchange(error, {});
}

std::string DeviceProgram::recordEntry(void (*entry)(void **),
                                       size_t numResults) {
  if (std::string problem = device.beginCapture(); !problem.empty())
    return problem;
  std::string problem = callEntry(entry, numResults);
  std::string unfinished;
  graph = device.endCapture(unfinished);
  return problem.empty() ? unfinished : problem;
}

std::string DeviceProgram::run(void (*entry)(void **),
                               ArrayRef<HostArray> inputs,
                               ArrayRef<Destination> results,
                               std::optional<int64_t> &failedCheck) {
  std::lock_guard lock(mutex);
  std::string problem;
  auto attempt = [&](auto action) {
    if (problem.empty())
      problem = action();
  };
  for (auto [input, address] : llvm::zip(inputs, arguments))
    attempt([&] {
      return device.copyToDevice(address, input.data, input.sizeInBytes());
    });
  DeviceAddress marks = numChecks ? arguments.back() : 0;
  std::vector<int32_t> failed(numChecks);
  attempt([&] { return device.clear(marks, numChecks * sizeof(int32_t)); });
  if (canReplay && numRuns == 1)
    attempt([&] { return recordEntry(entry, results.size()); });
  if (graph)
    attempt([&] { return device.launch(*graph); });
  else
    attempt([&] { return callEntry(entry, results.size()); });
  for (auto [result, address] : llvm::zip(results, resultAddresses))
    attempt(
        [&] { return device.copyToHost(result.data, address, result.bytes); });
  attempt([&] {
    return device.copyToHost(failed.data(), marks, numChecks * sizeof(int32_t));
  });
  // Whatever failed, nothing may be under way when the arrays go.
  std::string late = device.synchronize();
  attempt([&] { return late; });
  // A recording keeps its results where they are.
  if (!graph)
    for (DeviceAddress address : resultAddresses)
      pool.release(address);
  ++numRuns;
  auto first = llvm::find_if(failed, [](int32_t mark) { return mark != 0; });
  if (problem.empty() && first != failed.end())
    failedCheck = first - failed.begin();
  return problem;
}
