//===- MBarriers.cpp - mbarrier objects -----------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MBarriers.h"

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>
#include <cstring>

using namespace quantopt::ptx;

MBarrier *quantopt::ptx::findBarrier(Warp &warp, const Instr &instr,
                                     unsigned lane, uint64_t address) {
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

bool quantopt::ptx::checkInitFence(Warp &warp, const Instr &instr,
                                   unsigned lane, const MBarrier &barrier) {
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

void quantopt::ptx::completeIfDone(Block &block, MBarrier &barrier) {
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

namespace {

constexpr Type kB32{Type::Bits, 32};
constexpr Type kB64{Type::Bits, 64};

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

} // namespace

void quantopt::ptx::decodeCopyArrive(Decoder &d) {
  d.instr.mode[0] = d.take("noinc");
  bool known = d.take("arrive");
  takeSharedSpace(d);
  d.take("b64");
  if (!known || !d.expect(1))
    return d.fail("this form");
  d.address(0);
  d.instr.execute = runCopyArrive;
}

void quantopt::ptx::addMBarriers(DecodeTable &table) {
  table["mbarrier"] = decodeMBarrier;
}
