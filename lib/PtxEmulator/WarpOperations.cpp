//===- WarpOperations.cpp - Lanes that talk to each other -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The scheduler has assembled the lanes of the member mask, src[4], before any
// of these runs.
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>

using namespace quantopt::ptx;

namespace {

constexpr Type kB32{Type::Bits, 32};

enum class Shuffle : uint8_t { Up, Down, Butterfly, Index };

// src: value, lane or distance, clamp.
void runShuffle(Warp &warp, const Instr &instr, uint32_t mask) {
  const uint32_t *value = warp.read<uint32_t>(instr.src[0]);
  const uint32_t *b = warp.read<uint32_t>(instr.src[1]),
                 *c = warp.read<uint32_t>(instr.src[2]);
  uint32_t good = warp.isDefined(instr.src[0]), from[kWarp], inRange = 0,
           known = 0;
  if (!warp.require(instr, mask, instr.src[1], "a lane number") ||
      !warp.require(instr, mask, instr.src[2], "a clamp"))
    return;
  forLanes(mask, [&](unsigned lane) {
    uint32_t by = b[lane] & 31, clamp = c[lane] & 31,
             segment = c[lane] >> 8 & 31;
    uint32_t highest = (lane & segment) | (clamp & ~segment),
             lowest = lane & segment;
    int source = 0;
    bool in = false;
    switch (static_cast<Shuffle>(instr.mode[0])) {
    case Shuffle::Up:
      source = int(lane) - int(by);
      in = source >= int(highest);
      break;
    case Shuffle::Down:
      source = lane + by;
      in = source <= int(highest);
      break;
    case Shuffle::Butterfly:
      source = lane ^ by;
      in = source <= int(highest);
      break;
    case Shuffle::Index:
      source = lowest | (by & ~segment);
      in = source <= int(highest);
      break;
    }
    if (!in)
      source = lane;
    inRange |= uint32_t(in) << lane;
    // What a lane outside the mask holds is not defined.
    bool there = mask >> source & 1;
    from[lane] = there ? value[source] : ~0u;
    known |= uint32_t(there && (good >> source & 1)) << lane;
  });
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) { to[lane] = from[lane]; });
  warp.define(instr.dst, mask, known);
  warp.setPredicate(instr.dst2, mask, inRange);
}

void decodeShfl(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("sync"))
    return d.fail("the form without .sync");
  int kind = d.takeOneOf({"up", "down", "bfly", "idx"});
  d.takeType();
  if (kind < 0 || !d.expect(5, 6))
    return d.fail("this form");
  bool both = d.operands.size() == 6;
  instr.flow = Flow::WarpSync;
  instr.execute = runShuffle;
  instr.mode[0] = kind;
  instr.dst = d.destination(0, kB32);
  if (both)
    instr.dst2 = d.predicate(1);
  for (unsigned i = 0; i < 3; ++i)
    instr.src[i] = d.source(1 + both + i, kB32);
  instr.src[4] = d.source(4 + both, kB32);
}

enum class Vote : uint8_t { All, Any, Uniform, Ballot };

void runVote(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "a vote"))
    return;
  uint32_t votes = warp.predicate(instr.src[0]) & mask;
  switch (static_cast<Vote>(instr.mode[0])) {
  case Vote::All:
    return warp.setPredicate(instr.dst, mask, votes == mask ? ~0u : 0);
  case Vote::Any:
    return warp.setPredicate(instr.dst, mask, votes ? ~0u : 0);
  case Vote::Uniform:
    return warp.setPredicate(instr.dst, mask,
                             votes == 0 || votes == mask ? ~0u : 0);
  case Vote::Ballot:
    break;
  }
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) { to[lane] = votes; });
  warp.define(instr.dst, mask);
}

void decodeVote(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("sync"))
    return d.fail("the form without .sync");
  int kind = d.takeOneOf({"all", "any", "uni", "ballot"});
  d.takeType();
  if (kind < 0 || !d.expect(3))
    return d.fail("this form");
  instr.flow = Flow::WarpSync;
  instr.execute = runVote;
  instr.mode[0] = kind;
  instr.dst = kind == 3 ? d.destination(0, kB32) : d.predicate(0);
  instr.src[0] = d.predicate(1);
  instr.src[4] = d.source(2, kB32);
}

/// mode[0]: all lanes alike, with a predicate; else which lanes are.
void runMatch(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "a value to match"))
    return;
  uint32_t same[kWarp];
  forLanes(mask, [&](unsigned lane) {
    same[lane] = 0;
    forLanes(mask, [&](unsigned other) {
      same[lane] |= uint32_t(warp.value(instr.src[0], lane) ==
                             warp.value(instr.src[0], other))
                    << other;
    });
  });
  bool all = same[std::countr_zero(mask)] == mask;
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) {
    to[lane] = instr.mode[0] ? (all ? mask : 0) : same[lane];
  });
  warp.define(instr.dst, mask);
  warp.setPredicate(instr.dst2, mask, all ? ~0u : 0);
}

void decodeMatch(Decoder &d) {
  Instr &instr = d.instr;
  int kind = d.takeOneOf({"any", "all"});
  if (kind < 0 || !d.take("sync"))
    return d.fail("this form");
  Type type = d.takeType();
  if (!d.expect(3, 4))
    return;
  bool both = d.operands.size() == 4;
  instr.flow = Flow::WarpSync;
  instr.execute = runMatch;
  instr.mode[0] = kind;
  instr.dst = d.destination(0, kB32);
  if (both)
    instr.dst2 = d.predicate(1);
  instr.src[0] = d.source(1 + both, type);
  instr.src[4] = d.source(2 + both, kB32);
}

template <typename T> T reduce(unsigned op, T a, T b) {
  switch (op) {
  case 0:
    return T(uint32_t(a) + uint32_t(b));
  case 1:
    return std::min(a, b);
  case 2:
    return std::max(a, b);
  case 3:
    return a & b;
  case 4:
    return a | b;
  default:
    return a ^ b;
  }
}

template <typename T>
void runReduce(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "a value to reduce"))
    return;
  const uint32_t *from = warp.read<uint32_t>(instr.src[0]);
  T result = T(from[std::countr_zero(mask)]);
  for (uint32_t rest = mask & (mask - 1); rest; rest &= rest - 1)
    result = reduce<T>(instr.mode[0], result, T(from[std::countr_zero(rest)]));
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) { to[lane] = uint32_t(result); });
  warp.define(instr.dst, mask);
}

/// mode[0]: 1 min, 2 max; mode[1]: NaN wins; mode[2]: of absolute values.
void runReduceFloat(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "a value to reduce"))
    return;
  const uint32_t *from = warp.read<uint32_t>(instr.src[0]);
  float result = NAN;
  bool anyNaN = false;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    float value = std::bit_cast<float>(from[std::countr_zero(rest)]);
    if (instr.mode[2])
      value = std::fabs(value);
    anyNaN |= std::isnan(value);
    if (std::isnan(result) ||
        (instr.mode[0] == 1 ? value < result : value > result))
      result = value;
  }
  if (instr.mode[1] && anyNaN)
    result = NAN;
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask,
           [&](unsigned lane) { to[lane] = std::bit_cast<uint32_t>(result); });
  warp.define(instr.dst, mask);
}

void decodeRedux(Decoder &d) {
  Instr &instr = d.instr;
  int op = d.takeOneOf({"add", "min", "max", "and", "or", "xor"});
  instr.mode[2] = d.take("abs");
  instr.mode[1] = d.take("NaN");
  if (op < 0 || !d.take("sync"))
    return d.fail("this form");
  Type type = d.takeType();
  bool isFloat = !type.isInteger();
  if (type.width() != 32 || (isFloat && op != 1 && op != 2) || !d.expect(3))
    return d.fail("no such operation on this type");
  instr.flow = Flow::WarpSync;
  instr.execute = isFloat           ? runReduceFloat
                  : type.isSigned() ? runReduce<int32_t>
                                    : runReduce<uint32_t>;
  instr.mode[0] = op;
  instr.dst = d.destination(0, type);
  instr.src[0] = d.source(1, type);
  instr.src[4] = d.source(2, kB32);
}

/// The lowest lane is the leader.
void runElect(Warp &warp, const Instr &instr, uint32_t mask) {
  unsigned leader = std::countr_zero(mask);
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) { to[lane] = leader; });
  warp.define(instr.dst, mask);
  warp.setPredicate(instr.dst2, mask, 1u << leader);
}

void decodeElect(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.take("sync") || !d.expect(3))
    return d.fail("this form");
  instr.flow = Flow::WarpSync;
  instr.execute = runElect;
  instr.dst = d.destination(0, kB32);
  instr.dst2 = d.predicate(1);
  instr.src[4] = d.source(2, kB32);
}

void runActiveMask(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) { to[lane] = mask; });
  warp.define(instr.dst, mask);
}

void decodeActiveMask(Decoder &d) {
  d.takeType();
  if (!d.expect(1))
    return;
  d.instr.execute = runActiveMask;
  d.instr.dst = d.destination(0, kB32);
}

} // namespace

void quantopt::ptx::addWarpOperations(DecodeTable &table) {
  table["shfl"] = decodeShfl;
  table["vote"] = decodeVote;
  table["match"] = decodeMatch;
  table["redux"] = decodeRedux;
  table["elect"] = decodeElect;
  table["activemask"] = decodeActiveMask;
}
