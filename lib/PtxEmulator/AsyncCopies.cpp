//===- AsyncCopies.cpp - cp.async, bulk copies and mbarriers --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>
#include <cstring>

using namespace quantopt::ptx;

namespace {

constexpr Type kB32{Type::Bits, 32};
constexpr Type kB64{Type::Bits, 64};

/// An address in shared memory from a register, generic or not.
uint64_t sharedAddress(Warp &warp, Ref ref, unsigned lane, int64_t offset = 0) {
  uint64_t address = warp.value(ref, lane) + static_cast<uint64_t>(offset);
  if (!ref.wide)
    return uint32_t(address);
  return (address & kWindowMask) == kSharedWindow ? address - kSharedWindow
                                                  : address;
}

//===----------------------------------------------------------------------===//
// cp.async
//===----------------------------------------------------------------------===//

/// Puts the data of one copy where it belongs.
void land(Warp &warp, unsigned lane, SmallCopy &copy) {
  if (copy.landed)
    return;
  copy.landed = true;
  Block &block = warp.block;
  std::memcpy(block.shared.data() + copy.to, copy.data, copy.bytes);
  block.shadow.land(copy.to, copy.bytes, warp.index * kWarp + lane,
                    block.chronology.now(), copy.line, false);
}

// src: destination, source; src[2]: bytes that are copied, the rest is zero.
// mode[0]: predicate src[3] says that nothing is copied.
void runCopy(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "an address") ||
      !warp.require(instr, mask, instr.src[1], "an address"))
    return;
  Block &block = warp.block;
  uint32_t bytes = instr.width;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t to = sharedAddress(warp, instr.src[0], lane, instr.immediate);
    if (!block.access(warp, instr, lane, to, bytes, false, true))
      return;
    SmallCopy copy;
    copy.to = to;
    copy.bytes = bytes;
    copy.line = instr.line;
    copy.group = warp.copies[lane].committed;
    uint64_t valid =
        instr.src[2].isSink() ? bytes : warp.value(instr.src[2], lane);
    if (instr.mode[0] && warp.predicate(instr.src[3]) >> lane & 1)
      valid = 0;
    if (valid > bytes) {
      warp.fail(instr, lane,
                "cp.async of " + std::to_string(valid) + " bytes into " +
                    std::to_string(bytes));
      return;
    }
    if (valid) {
      uint64_t from = warp.value(instr.src[1], lane);
      if (from % bytes) {
        warp.fail(instr, lane,
                  "the source of cp.async is not aligned to " +
                      std::to_string(bytes) + " bytes");
        return;
      }
      for (uint64_t i = 0; i < valid; ++i) {
        // Bounds of the bytes that are read, not of the 16 around them.
        const uint8_t *byte =
            block.machine.global(warp, instr, lane, from + i, 1, 1);
        if (!byte)
          return;
        if (i == 0 &&
            block.machine.bounds[instr.memoryCache].end >= from + valid) {
          std::memcpy(copy.data, byte, valid);
          break;
        }
        copy.data[i] = *byte;
      }
    }
    std::memset(block.shared.data() + to, 0xff, bytes);
    block.shadow.setFlight(to, bytes, SharedShadow::Copy);
    warp.copies[lane].small.push_back(copy);
  }
}

void runCommit(Warp &warp, const Instr &, uint32_t mask) {
  forLanes(mask, [&](unsigned lane) { ++warp.copies[lane].committed; });
}

/// mode[0]: groups that may be left; all must be done if mode[1].
void runWait(Warp &warp, const Instr &instr, uint32_t mask) {
  forLanes(mask, [&](unsigned lane) {
    LaneCopies &copies = warp.copies[lane];
    auto &small = copies.small;
    size_t done = 0;
    // Group g has been committed if `committed` is above it.
    while (
        done < small.size() &&
        (instr.mode[1] || small[done].group + instr.mode[0] < copies.committed))
      land(warp, lane, small[done++]);
    small.erase(small.begin(), small.begin() + done);
  });
}

void decodeCopy(Decoder &d) {
  Instr &instr = d.instr;
  int level = d.takeOneOf({"ca", "cg"});
  if (!d.take("shared") && !d.take("shared::cta"))
    return d.fail("this form");
  d.take("global");
  d.takeOneOf({"L2::64B", "L2::128B", "L2::256B"});
  if (d.take("L2::cache_hint") && !d.operands.empty())
    d.operands.pop_back();
  if (level < 0 || !d.expect(3, 4))
    return d.fail("this form");
  instr.space = Space::Shared;
  d.address(0);
  int64_t offset = instr.immediate;
  const Operand &from = d.operands[1];
  if (from.kind != Operand::Address || from.value)
    return d.fail("a source with an offset");
  d.address(1, 1);
  instr.immediate = offset;
  instr.width = d.literal(2);
  if (instr.width != 16 &&
      (level == 1 || (instr.width != 4 && instr.width != 8)))
    return d.fail("a copy of this size");
  if (d.operands.size() == 4) {
    if (d.operands[3].kind == Operand::Predicate) {
      instr.mode[0] = 1;
      instr.src[3] = d.predicate(3);
    } else {
      instr.src[2] = d.source(3, kB32);
    }
  }
  instr.memoryCache = d.builder.getProgram().memoryInstrs++;
  instr.execute = runCopy;
}

//===----------------------------------------------------------------------===//
// mbarriers
//===----------------------------------------------------------------------===//

/// The mbarrier at `address`; null and the launch has failed if there is none,
/// or another thread has initialised it and nothing orders that before.
MBarrier *findBarrier(Warp &warp, const Instr &instr, unsigned lane,
                      uint64_t address) {
  Block &block = warp.block;
  if (!block.inShared(warp, instr, lane, address, 8, 8))
    return nullptr;
  auto found = block.mbarriers.find(address);
  if (found == block.mbarriers.end()) {
    warp.fail(instr, lane,
              "there is no mbarrier at shared address " +
                  std::to_string(address) + ": nobody has initialised it yet");
    return nullptr;
  }
  MBarrier &barrier = found->second;
  if (block.machine.options.checkRaces &&
      !block.chronology.knows(warp.index, lane, barrier.initAgent,
                              barrier.initEpoch)) {
    warp.fail(
        instr, lane,
        "race on the mbarrier at shared address " + std::to_string(address) +
            ": this use is not ordered after its initialisation by thread " +
            std::to_string(barrier.initAgent));
    return nullptr;
  }
  return &barrier;
}

/// Whether the asynchronous proxy sees that the mbarrier has been initialised.
bool checkInitFence(Warp &warp, const Instr &instr, unsigned lane,
                    const MBarrier &barrier) {
  Block &block = warp.block;
  if (!block.machine.options.checkRaces || barrier.initFenced ||
      block.chronology.isProxied(warp.index, lane, barrier.initAgent,
                                 barrier.initEpoch))
    return true;
  warp.fail(
      instr, lane,
      "no fence.mbarrier_init or fence.proxy.async between the initialisation "
      "of the mbarrier and its use by the asynchronous proxy");
  return false;
}

void completeIfDone(Block &block, MBarrier &barrier) {
  if (barrier.pending != 0 || barrier.bytes != 0)
    return;
  Chronology &clock = block.chronology;
  ++barrier.phase;
  ++block.progress;
  barrier.pending = barrier.count;
  for (SharedCopy &copy : barrier.flying) {
    if (copy.bulk) {
      copy.epoch = clock.now();
      barrier.arriving.seen.resize(
          std::max<size_t>(barrier.arriving.seen.size(), copy.agent + 1));
      barrier.arriving.seen[copy.agent] = copy.epoch;
    }
    barrier.delivered.push_back(std::move(copy));
  }
  barrier.flying.clear();
  barrier.complete = barrier.arriving;
  barrier.refused = false;
  clock.advance();
}

/// A completed phase has been observed: its data is there.
void deliver(Block &block, MBarrier &barrier) {
  for (const SharedCopy &copy : barrier.delivered) {
    std::memcpy(block.shared.data() + copy.to, copy.data.data(),
                copy.data.size());
    block.shadow.land(copy.to, copy.data.size(), copy.agent, copy.epoch,
                      copy.line, copy.bulk);
  }
  barrier.delivered.clear();
}

/// Calls function(mbarrier, lane) for each lane, and before it
/// perBarrier(mbarrier, lanes) for each mbarrier that they name.
template <typename PerBarrierT, typename FunctionT>
void forBarriers(Warp &warp, const Instr &instr, uint32_t mask,
                 PerBarrierT perBarrier, FunctionT function) {
  if (!warp.require(instr, mask, instr.src[0], "an address"))
    return;
  while (mask) {
    unsigned first = std::countr_zero(mask);
    uint64_t address =
        sharedAddress(warp, instr.src[0], first, instr.immediate);
    uint32_t same = 0;
    MBarrier *barrier = nullptr;
    for (uint32_t rest = mask; rest; rest &= rest - 1) {
      unsigned lane = std::countr_zero(rest);
      if (sharedAddress(warp, instr.src[0], lane, instr.immediate) != address)
        continue;
      same |= 1u << lane;
      barrier = findBarrier(warp, instr, lane, address);
      if (!barrier)
        return;
    }
    perBarrier(*barrier, same);
    for (uint32_t rest = same; rest && !warp.failed(); rest &= rest - 1)
      function(*barrier, unsigned(std::countr_zero(rest)));
    mask &= ~same;
  }
}

void runInit(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "an address"))
    return;
  Block &block = warp.block;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t address = sharedAddress(warp, instr.src[0], lane, instr.immediate);
    if (!block.access(warp, instr, lane, address, 8, false, true))
      return;
    MBarrier barrier;
    barrier.count = warp.value(instr.src[1], lane);
    if (barrier.count == 0 || barrier.count >= 1u << 20) {
      warp.fail(instr, lane,
                "an mbarrier of " + std::to_string(barrier.count) +
                    " arrivals");
      return;
    }
    barrier.pending = barrier.count;
    barrier.initAgent = warp.index * kWarp + lane;
    barrier.initEpoch = block.chronology.now();
    block.shadow.setFlight(address, 8, SharedShadow::Barrier);
    block.mbarriers[address] = std::move(barrier);
  }
}

void runInval(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t address = sharedAddress(warp, instr.src[0], lane, instr.immediate);
    if (!findBarrier(warp, instr, lane, address))
      return;
    block.mbarriers.erase(address);
    block.shadow.setFlight(address, 8, SharedShadow::None);
    if (!block.access(warp, instr, lane, address, 8, false, true))
      return;
  }
}

// src: address, arrivals (none: 1), bytes to expect. mode[0]: drops out of
// later phases as well.
void runArrive(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  forBarriers(
      warp, instr, mask,
      [&](MBarrier &barrier, uint32_t lanes) {
        if (block.machine.options.checkRaces)
          block.chronology.release(warp.index, lanes, barrier.arriving);
      },
      [&](MBarrier &barrier, unsigned lane) {
        if (!instr.src[2].isSink())
          barrier.bytes += uint32_t(warp.value(instr.src[2], lane));
        int64_t arrivals =
            instr.src[1].isSink() ? 1 : warp.value(instr.src[1], lane);
        if (!instr.dst.isSink())
          warp.setValue(instr.dst, lane, barrier.phase << 1 | 1);
        warp.define(instr.dst, 1u << lane);
        barrier.pending -= arrivals;
        if (instr.mode[0])
          barrier.count -= arrivals;
        if (barrier.pending < 0) {
          warp.fail(instr, lane,
                    "more arrivals at the mbarrier than the " +
                        std::to_string(barrier.count) + " of a phase");
          return;
        }
        completeIfDone(block, barrier);
      });
}

/// mode[0]: 1 adds to the bytes that a phase waits for, 2 takes them away.
void runBytes(Warp &warp, const Instr &instr, uint32_t mask) {
  forBarriers(
      warp, instr, mask, [](MBarrier &, uint32_t) {},
      [&](MBarrier &barrier, unsigned lane) {
        int64_t bytes = uint32_t(warp.value(instr.src[1], lane));
        barrier.bytes += instr.mode[0] == 1 ? bytes : -bytes;
        completeIfDone(warp.block, barrier);
      });
}

// src: address, state or parity. mode[0]: parity.
void runTestWait(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  warp.pollFailed = 0;
  uint32_t passed = 0;
  if (!warp.require(instr, mask, instr.src[1], "the phase to wait for"))
    return;
  forBarriers(
      warp, instr, mask,
      [&](MBarrier &barrier, uint32_t lanes) {
        uint32_t now = 0;
        for (uint32_t rest = lanes; rest; rest &= rest - 1) {
          unsigned lane = std::countr_zero(rest);
          uint64_t asked = warp.value(instr.src[1], lane);
          bool done = instr.mode[0] ? (barrier.phase & 1) != (asked & 1)
                                    : barrier.phase > asked >> 1;
          now |= uint32_t(done) << lane;
        }
        // Copies take their time: whoever asks first is too early, and must
        // ask again.
        if (now && !barrier.delivered.empty() && !barrier.refused) {
          barrier.refused = true;
          now = 0;
        }
        if (now) {
          deliver(block, barrier);
          if (block.machine.options.checkRaces)
            block.chronology.acquire(warp.index, now, barrier.complete);
        }
        passed |= now;
      },
      [](MBarrier &, unsigned) {});
  warp.setPredicate(instr.dst, mask, passed);
  warp.pollFailed = mask & ~passed;
}

/// cp.async.mbarrier.arrive: the lane's cp.async so far arrive together.
void runCopyArrive(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  forBarriers(
      warp, instr, mask,
      [&](MBarrier &barrier, uint32_t lanes) {
        for (uint32_t rest = lanes; rest; rest &= rest - 1) {
          unsigned lane = std::countr_zero(rest);
          for (SmallCopy &copy : warp.copies[lane].small) {
            SharedCopy flying;
            flying.to = copy.to;
            flying.line = copy.line;
            flying.data.assign(copy.data, copy.data + copy.bytes);
            flying.agent = warp.index * kWarp + lane;
            flying.epoch = block.chronology.now();
            barrier.flying.push_back(std::move(flying));
          }
          warp.copies[lane].small.clear();
        }
        if (block.machine.options.checkRaces)
          block.chronology.release(warp.index, lanes, barrier.arriving);
      },
      [&](MBarrier &barrier, unsigned lane) {
        // Without .noinc the arrival makes up for itself.
        if (!instr.mode[0])
          return;
        if (--barrier.pending < 0)
          warp.fail(instr, lane,
                    "more arrivals at the mbarrier than the " +
                        std::to_string(barrier.count) + " of a phase");
        else
          completeIfDone(block, barrier);
      });
}

bool takeSharedSpace(Decoder &d) {
  return d.takeOneOf({"shared", "shared::cta", "shared::cluster"}) >= 0;
}

void decodeMBarrier(Decoder &d) {
  Instr &instr = d.instr;
  int kind = d.takeOneOf({"init", "inval", "arrive", "arrive_drop", "expect_tx",
                          "complete_tx", "test_wait", "try_wait"});
  bool expects = (kind == 2 || kind == 3) && d.take("expect_tx");
  bool parity = d.take("parity");
  d.take("noComplete");
  d.takeOneOf({"release", "acquire", "relaxed"});
  d.takeOneOf({"cta", "cluster"});
  takeSharedSpace(d);
  d.take("b64");
  instr.space = Space::Shared;
  d.builder.getProgram().usesAsyncProxy = true;
  switch (kind) {
  case 0:
    if (!d.expect(2))
      return;
    d.address(0);
    instr.src[1] = d.source(1, kB32);
    instr.execute = runInit;
    return;
  case 1:
    if (!d.expect(1))
      return;
    d.address(0);
    instr.execute = runInval;
    return;
  case 4:
  case 5:
    if (!d.expect(2))
      return;
    d.address(0);
    instr.src[1] = d.source(1, kB32);
    instr.mode[0] = kind - 3;
    instr.execute = runBytes;
    return;
  case 2:
  case 3: {
    if (!d.expect(1, 3))
      return;
    // The state may be left away.
    unsigned first = d.operands[0].kind == Operand::Address ? 0 : 1;
    if (d.operands.size() < first + 1 + expects)
      return d.fail("wrong number of operands");
    if (first)
      instr.dst = d.destination(0, kB64);
    d.address(first);
    if (d.operands.size() > first + 1)
      instr.src[expects ? 2 : 1] = d.source(first + 1, kB32);
    instr.mode[0] = kind == 3;
    instr.execute = runArrive;
    return;
  }
  case 6:
  case 7:
    if (!d.expect(3, kind == 7 ? 4 : 3))
      return;
    instr.dst = d.predicate(0);
    d.address(1);
    instr.src[1] = d.source(2, parity ? kB32 : kB64);
    instr.mode[0] = parity;
    instr.flow = Flow::Poll;
    instr.execute = runTestWait;
    return;
  default:
    return d.fail("this form");
  }
}

//===----------------------------------------------------------------------===//
// Bulk copies
//===----------------------------------------------------------------------===//

/// Checks what all bulk copies ask for.
bool checkBulk(Warp &warp, const Instr &instr, unsigned lane, uint64_t shared,
               uint64_t global, uint64_t bytes) {
  if (bytes == 0 || bytes % 16 || bytes > kSharedLimit) {
    warp.fail(instr, lane,
              "a bulk copy of " + std::to_string(bytes) +
                  " bytes, which must be a multiple of 16");
    return false;
  }
  return warp.block.inShared(warp, instr, lane, shared, bytes, 16) &&
         warp.block.machine.global(warp, instr, lane, global, bytes, 16);
}

// src: shared address, global address, bytes, mbarrier.
void runBulkLoad(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  for (unsigned i = 0; i < 4; ++i)
    if (!warp.require(instr, mask, instr.src[i], "an operand of a bulk copy"))
      return;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t to = sharedAddress(warp, instr.src[0], lane, instr.immediate);
    uint64_t from = warp.value(instr.src[1], lane),
             bytes = warp.value(instr.src[2], lane);
    if (!checkBulk(warp, instr, lane, to, from, bytes))
      return;
    MBarrier *barrier =
        findBarrier(warp, instr, lane, sharedAddress(warp, instr.src[3], lane));
    if (!barrier || !checkInitFence(warp, instr, lane, *barrier))
      return;
    Access who{warp.index, lane, instr.line, false, true};
    if (std::string wrong = block.shadow.write(
            who, to, bytes, block.machine.options.checkRaces);
        !wrong.empty())
      return warp.fail(instr, lane, wrong);
    SharedCopy copy;
    copy.to = to;
    copy.line = instr.line;
    copy.data.assign(reinterpret_cast<const uint8_t *>(from),
                     reinterpret_cast<const uint8_t *>(from) + bytes);
    copy.agent = block.chronology.engine();
    copy.bulk = true;
    std::memset(block.shared.data() + to, 0xff, bytes);
    block.shadow.setFlight(to, bytes, SharedShadow::Bulk);
    barrier->flying.push_back(std::move(copy));
    barrier->bytes -= bytes;
    completeIfDone(block, *barrier);
  }
}

// src: shared address, global address, bytes.
void runBulkStore(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  Machine &machine = block.machine;
  for (unsigned i = 0; i < 3; ++i)
    if (!warp.require(instr, mask, instr.src[i], "an operand of a bulk copy"))
      return;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint64_t from = sharedAddress(warp, instr.src[0], lane);
    uint64_t to =
        warp.value(instr.src[1], lane) + static_cast<uint64_t>(instr.immediate);
    uint64_t bytes = warp.value(instr.src[2], lane);
    if (!checkBulk(warp, instr, lane, from, to, bytes))
      return;
    Access who{warp.index, lane, instr.line, false, true};
    if (std::string wrong =
            block.shadow.read(who, from, bytes, machine.options.checkRaces);
        !wrong.empty())
      return warp.fail(instr, lane, wrong);
    block.shadow.addAsyncReader(from, bytes, 1);
    GlobalCopy copy;
    copy.to = to;
    copy.from = from;
    copy.line = instr.line;
    copy.group = warp.copies[lane].bulkCommitted;
    copy.data.assign(block.shared.data() + from,
                     block.shared.data() + from + bytes);
    std::memset(reinterpret_cast<uint8_t *>(to), 0xff, bytes);
    machine.pendingGlobal.push_back({to, to + bytes});
    warp.copies[lane].bulk.push_back(std::move(copy));
  }
}

void runBulkCommit(Warp &warp, const Instr &, uint32_t mask) {
  forLanes(mask, [&](unsigned lane) { ++warp.copies[lane].bulkCommitted; });
}

/// mode[0]: groups that may be left; mode[1]: only their source is waited for.
void runBulkWait(Warp &warp, const Instr &instr, uint32_t mask) {
  Block &block = warp.block;
  forLanes(mask, [&](unsigned lane) {
    LaneCopies &copies = warp.copies[lane];
    std::vector<GlobalCopy> left;
    for (GlobalCopy &copy : copies.bulk) {
      if (copy.group + instr.mode[0] >= copies.bulkCommitted) {
        left.push_back(std::move(copy));
        continue;
      }
      uint32_t bytes = copy.data.size();
      if (!copy.readDone) {
        copy.readDone = true;
        block.shadow.addAsyncReader(copy.from, bytes, -1);
        // From now on it counts as a read of this thread.
        Access who{warp.index, lane, instr.line};
        block.shadow.read(who, copy.from, bytes,
                          block.machine.options.checkRaces);
      }
      if (instr.mode[1]) {
        left.push_back(std::move(copy));
        continue;
      }
      std::memcpy(reinterpret_cast<uint8_t *>(copy.to), copy.data.data(),
                  bytes);
      std::erase_if(
          block.machine.pendingGlobal,
          [&](const Machine::Range &range) { return range.begin == copy.to; });
    }
    copies.bulk = std::move(left);
  });
}

void decodeBulk(Decoder &d) {
  Instr &instr = d.instr;
  d.builder.getProgram().usesAsyncProxy = true;
  if (d.take("commit_group")) {
    d.expect(0);
    instr.execute = runBulkCommit;
    return;
  }
  if (d.take("wait_group")) {
    instr.mode[1] = d.take("read");
    instr.mode[0] = d.literal(0);
    d.expect(1);
    instr.execute = runBulkWait;
    return;
  }
  if (d.take("L2::cache_hint") && !d.operands.empty())
    d.operands.pop_back();
  instr.memoryCache = d.builder.getProgram().memoryInstrs++;
  bool complete = d.take("mbarrier::complete_tx::bytes"),
       group = d.take("bulk_group");
  // Destination first: the modifiers stand in that order.
  bool toShared = d.modifiers.size() == 2 &&
                  d.modifiers[0].starts_with("shared") &&
                  d.modifiers[1] == "global";
  bool toGlobal = d.modifiers.size() == 2 && d.modifiers[0] == "global" &&
                  d.modifiers[1].starts_with("shared");
  if (toShared && complete) {
    d.modifiers.clear();
    if (!d.expect(4))
      return;
    d.address(0);
    int64_t offset = instr.immediate;
    d.address(1, 1);
    instr.src[2] = d.source(2, kB32);
    d.address(3, 3);
    instr.immediate = offset;
    instr.execute = runBulkLoad;
  } else if (toGlobal && group) {
    d.modifiers.clear();
    if (!d.expect(3))
      return;
    d.address(0, 0);
    int64_t offset = instr.immediate;
    Ref global = instr.src[0];
    d.address(1, 1);
    instr.src[0] = instr.src[1];
    instr.src[1] = global;
    instr.immediate = offset;
    instr.src[2] = d.source(2, kB32);
    instr.execute = runBulkStore;
  } else {
    d.fail("this form");
  }
}

void decodeCp(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("async"))
    return d.fail("this form");
  if (d.take("bulk"))
    return decodeBulk(d);
  if (d.take("mbarrier")) {
    instr.mode[0] = d.take("noinc");
    bool known = d.take("arrive");
    takeSharedSpace(d);
    d.take("b64");
    if (!known || !d.expect(1))
      return d.fail("this form");
    d.address(0);
    instr.execute = runCopyArrive;
  } else if (d.take("commit_group")) {
    d.expect(0);
    instr.execute = runCommit;
  } else if (d.take("wait_group")) {
    instr.mode[0] = d.literal(0);
    d.expect(1);
    instr.execute = runWait;
  } else if (d.take("wait_all")) {
    d.expect(0);
    instr.mode[1] = 1;
    instr.execute = runWait;
  } else {
    decodeCopy(d);
  }
}

} // namespace

void quantopt::ptx::addAsynchronous(DecodeTable &table) {
  table["cp"] = decodeCp;
  table["mbarrier"] = decodeMBarrier;
}
