//===- Memory.cpp - Loads, stores and atomic operations -------------------===//
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

enum Kind : uint8_t { kRead = 1, kWrite = 2 };

std::string hex(uint64_t value) {
  char text[32];
  std::snprintf(text, sizeof(text), "0x%llx",
                static_cast<unsigned long long>(value));
  return text;
}

uint8_t *localMemory(Warp &warp, const Instr &instr, unsigned lane,
                     uint64_t address, uint32_t bytes) {
  if (address + bytes > warp.localBytes || address + bytes < address) {
    warp.fail(instr, lane,
              "local address " + hex(address) + ", " + std::to_string(bytes) +
                  " bytes, is out of bounds: the thread has " +
                  std::to_string(warp.localBytes));
    return nullptr;
  }
  if (address % bytes) {
    warp.fail(instr, lane,
              "local address " + hex(address) + " is not aligned to " +
                  std::to_string(bytes) + " bytes");
    return nullptr;
  }
  return warp.local.data() + size_t(lane) * warp.localBytes + address;
}

uint8_t *paramMemory(Warp &warp, const Instr &instr, unsigned lane,
                     uint64_t address, uint32_t bytes, uint8_t kind) {
  auto parameters = warp.block.machine.launch.parameters;
  if (kind & kWrite) {
    warp.fail(instr, lane, "a write to the parameters of a kernel");
    return nullptr;
  }
  if (address + bytes > parameters.size() || address + bytes < address) {
    warp.fail(instr, lane,
              "parameter offset " + std::to_string(address) + ", " +
                  std::to_string(bytes) +
                  " bytes, is out of bounds: there are " +
                  std::to_string(parameters.size()));
    return nullptr;
  }
  if (address % bytes) {
    warp.fail(instr, lane,
              "parameter offset " + std::to_string(address) +
                  " is not aligned to " + std::to_string(bytes) + " bytes");
    return nullptr;
  }
  // Only read: see above.
  return const_cast<uint8_t *>(parameters.data()) + address;
}

/// Where one lane's access goes; null if it has failed.
uint8_t *locate(Warp &warp, const Instr &instr, unsigned lane, uint64_t address,
                uint32_t bytes, uint8_t kind) {
  Space space = instr.space;
  if (space == Space::Generic) {
    space = Space::Global;
    switch (address & kWindowMask) {
    case kSharedWindow:
      space = Space::Shared;
      break;
    case kLocalWindow:
      space = Space::Local;
      break;
    case kParamWindow:
      space = Space::Param;
      break;
    }
    if (space != Space::Global)
      address &= ~kWindowMask;
  }
  switch (space) {
  case Space::Shared:
    return warp.block.access(warp, instr, lane, address, bytes, kind & kRead,
                             kind & kWrite, instr.mode[3]);
  case Space::Local:
    return localMemory(warp, instr, lane, address, bytes);
  case Space::Param:
    return paramMemory(warp, instr, lane, address, bytes, kind);
  default:
    return warp.block.machine.global(warp, instr, lane, address, bytes, bytes);
  }
}

uint64_t addressOf(Warp &warp, const Instr &instr, unsigned lane) {
  uint64_t base = warp.value(instr.src[0], lane);
  uint64_t address = base + static_cast<uint64_t>(instr.immediate);
  return instr.src[0].wide ? address : uint32_t(address);
}

uint64_t loadBytes(const uint8_t *from, unsigned width) {
  switch (width) {
  case 1:
    return *from;
  case 2: {
    uint16_t value;
    std::memcpy(&value, from, 2);
    return value;
  }
  case 4: {
    uint32_t value;
    std::memcpy(&value, from, 4);
    return value;
  }
  default: {
    uint64_t value;
    std::memcpy(&value, from, 8);
    return value;
  }
  }
}

void runLoad(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "an address"))
    return;
  const Ref *refs = warp.program.lists.data() + instr.list;
  unsigned width = instr.width, total = width * instr.count;
  bool isSigned = instr.type.isSigned() && width < 8;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    const uint8_t *from =
        locate(warp, instr, lane, addressOf(warp, instr, lane), total, kRead);
    if (!from)
      return;
    for (unsigned i = 0; i < instr.count; ++i) {
      uint64_t value = loadBytes(from + i * width, width);
      if (isSigned && value >> (8 * width - 1) & 1)
        value |= ~uint64_t(0) << (8 * width);
      warp.setValue(refs[i], lane, value);
    }
  }
  for (unsigned i = 0; i < instr.count; ++i)
    warp.define(refs[i], mask);
}

void runStore(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "an address"))
    return;
  const Ref *refs = warp.program.lists.data() + instr.list;
  unsigned width = instr.width, total = width * instr.count;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint8_t *to =
        locate(warp, instr, lane, addressOf(warp, instr, lane), total, kWrite);
    if (!to)
      return;
    for (unsigned i = 0; i < instr.count; ++i) {
      uint64_t value = warp.value(refs[i], lane);
      // What was never computed is poison in memory too.
      if (!(warp.isDefined(refs[i]) >> lane & 1))
        value = ~uint64_t(0);
      std::memcpy(to + i * width, &value, width);
    }
  }
}

//===----------------------------------------------------------------------===//
// Atomic operations
//===----------------------------------------------------------------------===//

enum class AtomicOp : uint8_t {
  Add,
  Min,
  Max,
  Inc,
  Dec,
  And,
  Or,
  Xor,
  Exch,
  Cas
};

template <typename T> uint64_t atomicInteger(AtomicOp op, T old, T a, T b) {
  using U = std::make_unsigned_t<T>;
  switch (op) {
  case AtomicOp::Add:
    return U(U(old) + U(a));
  case AtomicOp::Min:
    return U(std::min(old, a));
  case AtomicOp::Max:
    return U(std::max(old, a));
  case AtomicOp::Inc:
    return old >= a ? 0 : U(old + 1);
  case AtomicOp::Dec:
    return old == 0 || old > a ? U(a) : U(old - 1);
  case AtomicOp::And:
    return U(old & a);
  case AtomicOp::Or:
    return U(old | a);
  case AtomicOp::Xor:
    return U(old ^ a);
  case AtomicOp::Exch:
    return U(a);
  case AtomicOp::Cas:
    return U(old == a ? b : old);
  }
  return 0;
}

template <typename T> uint64_t atomicFloat(AtomicOp op, T old, T a) {
  auto x = static_cast<double>(
      static_cast<std::conditional_t<sizeof(T) == 2, float, T>>(old));
  auto y = static_cast<double>(
      static_cast<std::conditional_t<sizeof(T) == 2, float, T>>(a));
  switch (op) {
  case AtomicOp::Min:
    return toWord(x < y || std::isnan(y) ? old : a);
  case AtomicOp::Max:
    return toWord(x > y || std::isnan(y) ? old : a);
  default:
    if constexpr (sizeof(T) == 8)
      return toWord(old + a);
    else if constexpr (sizeof(T) == 4)
      return toWord(T(old + a));
    else
      return toWord(T(float(old) + float(a)));
  }
}

template <typename T>
uint64_t atomicPacked(AtomicOp op, uint32_t old, uint32_t a) {
  return atomicFloat(op, fromWord<T>(old & 0xffff), fromWord<T>(a & 0xffff)) |
         atomicFloat(op, fromWord<T>(old >> 16), fromWord<T>(a >> 16)) << 16;
}

uint64_t atomicResult(const Instr &instr, uint64_t old, uint64_t a,
                      uint64_t b) {
  AtomicOp op = static_cast<AtomicOp>(instr.mode[0]);
  Type type = instr.type;
  if (type == Type{Type::Float, 32})
    return atomicFloat(op, fromWord<float>(old), fromWord<float>(a));
  if (type == Type{Type::Float, 64})
    return atomicFloat(op, fromWord<double>(old), fromWord<double>(a));
  if (type == Type{Type::Float, 16})
    return atomicFloat(op, fromWord<Half>(old), fromWord<Half>(a));
  if (type == Type{Type::BFloat, 16})
    return atomicFloat(op, fromWord<BHalf>(old), fromWord<BHalf>(a));
  if (type == Type{Type::Float, 16, 2})
    return atomicPacked<Half>(op, old, a);
  if (type == Type{Type::BFloat, 16, 2})
    return atomicPacked<BHalf>(op, old, a);
  if (type.bits == 64)
    return type.isSigned() ? atomicInteger<int64_t>(op, old, a, b)
                           : atomicInteger<uint64_t>(op, old, a, b);
  if (type.bits == 16)
    return atomicInteger<uint16_t>(op, old, a, b);
  return type.isSigned()
             ? atomicInteger<int32_t>(op, int32_t(old), int32_t(a), int32_t(b))
             : atomicInteger<uint32_t>(op, old, a, b);
}

void runAtomic(Warp &warp, const Instr &instr, uint32_t mask) {
  if (!warp.require(instr, mask, instr.src[0], "an address") ||
      !warp.require(instr, mask, instr.src[1],
                    "an operand of an atomic operation"))
    return;
  unsigned width = instr.width;
  for (uint32_t rest = mask; rest; rest &= rest - 1) {
    unsigned lane = std::countr_zero(rest);
    uint8_t *at = locate(warp, instr, lane, addressOf(warp, instr, lane), width,
                         kRead | kWrite);
    if (!at)
      return;
    uint64_t old = loadBytes(at, width);
    uint64_t b = instr.src[2].isSink() ? 0 : warp.value(instr.src[2], lane);
    uint64_t result =
        atomicResult(instr, old, warp.value(instr.src[1], lane), b);
    std::memcpy(at, &result, width);
    if (!instr.dst.isSink())
      warp.setValue(instr.dst, lane, old);
  }
  warp.define(instr.dst, mask);
}

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

Space takeDataSpace(Decoder &d) {
  return d.take("param::func") ? Space::Param : takeSpace(d);
}

/// .relaxed.gpu and so on; true if it is ordered in any way.
bool takeOrdering(Decoder &d) {
  int order = d.takeOneOf({"weak", "volatile", "relaxed", "acquire", "release",
                           "acq_rel", "mmio", "sc"});
  d.takeOneOf({"cta", "cluster", "gpu", "sys"});
  return order > 0;
}

/// Takes away a cache policy, the last operand of an instruction that says
/// L2::cache_hint.
void takePolicy(Decoder &d) {
  if (!d.take("L2::cache_hint"))
    return;
  if (d.operands.empty())
    return d.fail("no cache policy");
  d.source(d.operands.back(), {Type::Bits, 64});
  d.operands.pop_back();
}

unsigned takeVector(Decoder &d) {
  int vector = d.takeOneOf({"v2", "v4", "v8"});
  return vector < 0 ? 1 : 2u << vector;
}

void decodeAccess(Decoder &d, bool isLoad) {
  Instr &instr = d.instr;
  instr.mode[3] = takeOrdering(d);
  d.take("unified");
  bool readOnly = d.take("nc");
  instr.space = takeDataSpace(d);
  if (readOnly && instr.space != Space::Global)
    return d.fail(".nc outside global memory");
  d.takeCacheHints();
  takePolicy(d);
  instr.count = takeVector(d);
  instr.type = d.takeType();
  instr.width = instr.type.bytes();
  if (instr.type.bits < 8 || instr.width * instr.count > 32)
    return d.fail("an access of this size");
  if (!d.expect(2))
    return;
  std::vector<Operand> elements = d.elements(isLoad ? 0 : 1);
  if (elements.size() != instr.count)
    return d.fail("wrong number of vector elements");
  d.address(isLoad ? 1 : 0);
  std::vector<Ref> refs;
  for (const Operand &element : elements)
    refs.push_back(d.anyWidth(element, instr.type.width(), isLoad));
  d.setList(refs);
  instr.listResults = isLoad ? refs.size() : 0;
  instr.memoryCache = d.builder.getProgram().memoryInstrs++;
  instr.execute = isLoad ? runLoad : runStore;
}

void decodeAtomic(Decoder &d, bool hasResult) {
  Instr &instr = d.instr;
  takeOrdering(d);
  instr.mode[3] = true;
  instr.space = takeDataSpace(d);
  int op = d.takeOneOf(
      {"add", "min", "max", "inc", "dec", "and", "or", "xor", "exch", "cas"});
  d.takeCacheHints();
  takePolicy(d);
  d.take("noftz");
  instr.type = d.takeType();
  instr.width = instr.type.bytes();
  AtomicOp atomic = static_cast<AtomicOp>(op);
  instr.mode[0] = op;
  bool isFloat = !instr.type.isInteger();
  bool fits = op >= 0 && (!isFloat || atomic <= AtomicOp::Max) &&
              instr.width >= 2 &&
              (instr.width != 2 || isFloat || atomic == AtomicOp::Cas);
  if (!fits || (instr.space != Space::Generic && instr.space != Space::Global &&
                instr.space != Space::Shared))
    return d.fail("no such operation on this type");
  unsigned values = atomic == AtomicOp::Cas ? 2 : 1, first = hasResult ? 1 : 0;
  if (!d.expect(first + 1 + values))
    return;
  if (hasResult)
    instr.dst = d.destination(0, instr.type);
  d.address(first);
  for (unsigned i = 0; i < values; ++i)
    instr.src[1 + i] = d.source(first + 1 + i, instr.type);
  instr.memoryCache = d.builder.getProgram().memoryInstrs++;
  instr.execute = runAtomic;
}

void runNothing(Warp &, const Instr &, uint32_t) {}

void decodePrefetch(Decoder &d) {
  takeDataSpace(d);
  d.takeOneOf({"L1", "L2"});
  d.takeOneOf({"L2::evict_last", "L2::evict_normal"});
  if (d.expect(1))
    d.address(0);
  d.instr.execute = runNothing;
}

/// The policies themselves change nothing that is computed.
void runPolicy(Warp &warp, const Instr &instr, uint32_t mask) {
  forLanes(mask, [&](unsigned lane) { warp.setValue(instr.dst, lane, 0); });
  warp.define(instr.dst, mask);
}

void decodeCreatePolicy(Decoder &d) {
  if (!d.take("fractional"))
    return d.fail("this form");
  if (d.takeOneOf({"L2::evict_last", "L2::evict_normal", "L2::evict_first",
                   "L2::evict_unchanged"}) < 0)
    return d.fail("no primary priority");
  d.takeOneOf({"L2::evict_first", "L2::evict_unchanged"});
  Type type = d.takeType();
  if (!d.expect(1, 2))
    return;
  d.instr.dst = d.destination(0, type);
  d.instr.execute = runPolicy;
}

} // namespace

void quantopt::ptx::addMemory(DecodeTable &table) {
  table["ld"] = [](Decoder &d) { decodeAccess(d, true); };
  table["ldu"] = [](Decoder &d) { decodeAccess(d, true); };
  table["st"] = [](Decoder &d) { decodeAccess(d, false); };
  table["atom"] = [](Decoder &d) { decodeAtomic(d, true); };
  table["red"] = [](Decoder &d) { decodeAtomic(d, false); };
  table["prefetch"] = decodePrefetch;
  table["prefetchu"] = decodePrefetch;
  table["createpolicy"] = decodeCreatePolicy;
}
