//===- BulkCopies.cpp - Bulk copies ---------------------------------------===//
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

namespace {

constexpr Type kB32{Type::Bits, 32};

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

} // namespace

void quantopt::ptx::decodeBulk(Decoder &d) {
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
