//===- Machine.cpp - The state of a launch --------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Machine.h"

#include <algorithm>
#include <cstring>
#include <set>

using namespace quantopt::ptx;

static uint64_t alignUp(uint64_t value, uint64_t align) {
  return (value + align - 1) / align * align;
}

static std::string tuple(Dim3 d) {
  return "(" + std::to_string(d.x) + "," + std::to_string(d.y) + "," +
         std::to_string(d.z) + ")";
}

static uint64_t volume(Dim3 d) { return uint64_t(d.x) * d.y * d.z; }

//===----------------------------------------------------------------------===//
// Errors
//===----------------------------------------------------------------------===//

void Warp::fail(const Instr &instr, unsigned lane, std::string message) {
  Machine &machine = block.machine;
  if (machine.error)
    return;
  std::string line = instr.line && instr.line <= program.lines.size()
                         ? program.lines[instr.line - 1]
                         : std::string();
  line.erase(0, line.find_first_not_of(" \t"));
  machine.error = Error{
      message + " - kernel " + machine.entry.name + ", block " +
          tuple(block.id) + ", thread " + std::to_string(index * kWarp + lane) +
          ", PTX line " + std::to_string(instr.line) + ": " + line,
      instr.line};
}

bool Warp::require(const Instr &instr, uint32_t mask, Ref ref,
                   const char *use) {
  uint32_t good =
      ref.bank == Bank::Predicate ? isPredicateDefined(ref) : isDefined(ref);
  if ((good & mask) == mask)
    return true;
  fail(instr, std::countr_zero(mask & ~good),
       std::string(use) + " comes from a register that was never written");
  return false;
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

bool Block::inShared(Warp &warp, const Instr &instr, unsigned lane,
                     uint64_t address, uint64_t bytes, uint32_t align) {
  if (address < kSharedBase || address + bytes > machine.sharedEnd ||
      address + bytes < address) {
    warp.fail(instr, lane,
              "shared address " + std::to_string(address) + ", " +
                  std::to_string(bytes) + " bytes, is out of bounds [" +
                  std::to_string(kSharedBase) + ", " +
                  std::to_string(machine.sharedEnd) + ")");
    return false;
  }
  if (address % align) {
    warp.fail(instr, lane,
              "shared address " + std::to_string(address) +
                  " is not aligned to " + std::to_string(align) + " bytes");
    return false;
  }
  return true;
}

uint8_t *Block::access(Warp &warp, const Instr &instr, unsigned lane,
                       uint64_t address, uint32_t bytes, bool isRead,
                       bool isWrite, bool strong) {
  if (!inShared(warp, instr, lane, address, bytes, bytes))
    return nullptr;
  Access who{warp.index, lane, instr.line, strong};
  bool races = machine.options.checkRaces;
  std::string wrong =
      isRead ? shadow.read(who, address, bytes, races) : std::string();
  if (isWrite && wrong.empty())
    wrong = shadow.write(who, address, bytes, races);
  if (!wrong.empty()) {
    warp.fail(instr, lane, wrong);
    return nullptr;
  }
  return shared.data() + address;
}

uint8_t *Machine::global(Warp &warp, const Instr &instr, unsigned lane,
                         uint64_t address, uint32_t bytes, uint32_t align) {
  Bounds &cached = bounds[instr.memoryCache];
  if (address < cached.begin || address + bytes > cached.end ||
      address + bytes < address) {
    auto [begin, end] = memory.bounds(address);
    if (address >= end)
      for (const auto &variable : program.variables)
        if (variable->storage && address >= variable->address &&
            address < variable->address + variable->bytes) {
          begin = variable->address;
          end = begin + variable->bytes;
        }
    if (address + bytes > end || address + bytes < address) {
      char text[32];
      std::snprintf(text, sizeof(text), "0x%llx",
                    static_cast<unsigned long long>(address));
      std::string message = std::string("global address ") + text + ", " +
                            std::to_string(bytes) + " bytes, is out of bounds";
      if (address < end)
        message += ": it reaches over the end of an allocation of " +
                   std::to_string(end - begin);
      else if (begin)
        message += ": it lies " + std::to_string(address - end) +
                   " bytes behind an allocation of " +
                   std::to_string(end - begin);
      warp.fail(instr, lane, message);
      return nullptr;
    }
    cached = {begin, end};
  }
  if (address % align) {
    char text[32];
    std::snprintf(text, sizeof(text), "0x%llx",
                  static_cast<unsigned long long>(address));
    warp.fail(instr, lane,
              std::string("global address ") + text + " is not aligned to " +
                  std::to_string(align) + " bytes");
    return nullptr;
  }
  for (const Range &range : pendingGlobal)
    if (address < range.end && address + bytes > range.begin) {
      warp.fail(
          instr, lane,
          "global memory is accessed before the bulk copy that writes it has "
          "been waited for");
      return nullptr;
    }
  return reinterpret_cast<uint8_t *>(address);
}

uint32_t Machine::frame(Frame wanted) {
  auto [entry, isNew] = frameIds.try_emplace(wanted, frames.size());
  if (isNew)
    frames.push_back(wanted);
  return entry->second;
}

//===----------------------------------------------------------------------===//
// Launch
//===----------------------------------------------------------------------===//

Machine::Machine(Program &program, const Function &entry, const Launch &launch,
                 DeviceMemory &memory, const RunOptions &options)
    : program(program), entry(entry), launch(launch), memory(memory),
      options(options), random(options.seed) {
  bounds.resize(program.memoryInstrs);
}

bool Machine::checkLaunch() {
  auto refuse = [&](std::string text) {
    error = Error{"kernel " + entry.name + ": " + text, 0};
    return false;
  };
  uint64_t threads = volume(launch.block);
  if (!threads || threads > 1024 || !volume(launch.grid))
    return refuse("a launch of " + tuple(launch.grid) + " blocks of " +
                  tuple(launch.block) + " threads");
  if (entry.maxThreads.x && threads > volume(entry.maxThreads))
    return refuse("blocks of " + tuple(launch.block) +
                  " threads, where the kernel says at most " +
                  tuple(entry.maxThreads));
  uint64_t bytes = entry.parameters.empty() ? 0
                                            : entry.parameters.back().offset +
                                                  entry.parameters.back().size;
  if (launch.parameters.size() < bytes)
    return refuse("parameters of " + std::to_string(launch.parameters.size()) +
                  " bytes, where it takes " + std::to_string(bytes));
  return true;
}

bool Machine::layOutShared() {
  std::set<uint32_t> used;
  std::vector<const Function *> todo{&entry};
  std::set<const Function *> done;
  while (!todo.empty()) {
    const Function *function = todo.back();
    todo.pop_back();
    if (!done.insert(function).second)
      continue;
    used.insert(function->shared.begin(), function->shared.end());
    for (uint32_t callee : function->calls)
      todo.push_back(&program.functions[callee]);
  }
  uint64_t end = kSharedBase;
  uint32_t dynamicAlign = 16;
  for (uint32_t index : used) {
    Variable &variable = *program.variables[index];
    if (variable.external) {
      dynamicAlign = std::max(dynamicAlign, variable.align);
      continue;
    }
    variable.address = alignUp(end, variable.align);
    end = variable.address + variable.bytes;
  }
  dynamicBase = alignUp(end, dynamicAlign);
  for (uint32_t index : used)
    if (program.variables[index]->external)
      program.variables[index]->address = dynamicBase;
  if (launch.dynamicSharedBytes)
    end = uint64_t(dynamicBase) + launch.dynamicSharedBytes;
  if (end - kSharedBase > kSharedLimit) {
    error = Error{"kernel " + entry.name + ": " +
                      std::to_string(end - kSharedBase) +
                      " bytes of shared memory, where a block has " +
                      std::to_string(kSharedLimit),
                  0};
    return false;
  }
  sharedEnd = end;
  return true;
}

void Machine::fillConstants() {
  constants.assign(size_t(program.constantSlotCount) * kWarp, 0);
  for (size_t i = 0; i < program.constants.size(); ++i) {
    const Constant &constant = program.constants[i];
    uint64_t bits = constant.bits;
    if (constant.variable != kNone)
      bits += program.variables[constant.variable]->address;
    uint32_t *words =
        constants.data() + size_t(program.constantSlots[i]) * kWarp;
    if (constant.wide)
      std::fill_n(reinterpret_cast<uint64_t *>(words), kWarp, bits);
    else
      std::fill_n(words, kWarp, uint32_t(bits));
  }
}

void Machine::run() {
  if (!checkLaunch() || !layOutShared())
    return;
  fillConstants();
  uint64_t blocks = volume(launch.grid);
  std::vector<uint64_t> order(blocks);
  for (uint64_t i = 0; i < blocks; ++i)
    order[i] = i;
  if (options.schedule == Schedule::Random)
    std::shuffle(order.begin(), order.end(), random);
  Block block(*this);
  for (uint64_t index : order) {
    uint32_t x = index % launch.grid.x, rest = index / launch.grid.x;
    block.start({x, rest % launch.grid.y, rest / launch.grid.y});
    block.run();
    if (error)
      return;
  }
}

void Block::start(Dim3 blockId) {
  id = blockId;
  threads = volume(machine.launch.block);
  const Function &entry = machine.entry;
  const Dim3 size = machine.launch.block, grid = machine.launch.grid;
  // Shared memory starts as NaN: nobody may rely on zeros.
  shared.assign(alignUp(machine.sharedEnd, 16), 0xff);
  shadow.resize(shared.size(), chronology);
  shadow.startBlock();
  mbarriers.clear();
  for (NamedBarrier &barrier : barriers)
    barrier = NamedBarrier();
  chronology.startBlock(threads, machine.program.usesAsyncProxy);
  unsigned count = (threads + kWarp - 1) / kWarp;
  while (warps.size() < count)
    warps.push_back(std::make_unique<Warp>(*this, machine.program));
  for (unsigned w = 0; w < count; ++w) {
    Warp &warp = *warps[w];
    warp.index = w;
    unsigned lanes = std::min(kWarp, threads - w * kWarp);
    warp.lanes = lanes == kWarp ? ~0u : (1u << lanes) - 1;
    warp.exited = ~warp.lanes;
    warp.groups.assign(
        1, Group{warp.lanes, entry.begin, 0, Group::Ready, false, 0});
    warp.registers.assign(size_t(entry.slots) * kWarp, ~0u);
    warp.defined.assign(entry.slots, 0);
    warp.predicates.assign(entry.predicates, 0);
    warp.predicatesDefined.assign(entry.predicates, 0);
    warp.localBytes = alignUp(entry.localBytes, 16);
    warp.local.assign(size_t(warp.localBytes) * kWarp, 0xff);
    warp.copies.assign(kWarp, LaneCopies());
    warp.warpgroup = WarpgroupQueue();
    warp.warpgroup.writing.assign(entry.slots, 0);
    warp.warpgroup.reading.assign(entry.slots, 0);
    warp.special.resize(unsigned(Special::Count) * kWarp + kWarp);
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      unsigned thread = w * kWarp + lane;
      auto set = [&](Special name, uint32_t value) {
        warp.special[unsigned(name) * kWarp + lane] = value;
      };
      set(Special::TidX, thread % size.x);
      set(Special::TidY, thread / size.x % size.y);
      set(Special::TidZ, thread / size.x / size.y);
      set(Special::NTidX, size.x);
      set(Special::NTidY, size.y);
      set(Special::NTidZ, size.z);
      set(Special::CtaX, id.x);
      set(Special::CtaY, id.y);
      set(Special::CtaZ, id.z);
      set(Special::NCtaX, grid.x);
      set(Special::NCtaY, grid.y);
      set(Special::NCtaZ, grid.z);
      set(Special::Lane, lane);
      set(Special::Warp, w);
      set(Special::NWarp, count);
      set(Special::Zero, 0);
      set(Special::One, 1);
      set(Special::MaskEq, 1u << lane);
      set(Special::MaskLt, (1u << lane) - 1);
      set(Special::MaskLe, (2u << lane) - 1);
      set(Special::MaskGt, ~((2u << lane) - 1));
      set(Special::MaskGe, ~((1u << lane) - 1));
      set(Special::DynamicShared, machine.launch.dynamicSharedBytes);
      set(Special::TotalShared, machine.sharedEnd - kSharedBase);
    }
    warp.bindBanks(machine.constants);
  }
}
