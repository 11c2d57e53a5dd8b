//===- CopyAsync.cpp - cp.async -------------------------------------------===//
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

void decodeCp(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("async"))
    return d.fail("this form");
  if (d.take("bulk"))
    return decodeBulk(d);
  if (d.take("mbarrier"))
    return decodeCopyArrive(d);
  if (d.take("commit_group")) {
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

void quantopt::ptx::addCopyAsync(DecodeTable &table) { table["cp"] = decodeCp; }
