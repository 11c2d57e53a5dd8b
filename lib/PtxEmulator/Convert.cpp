//===- Convert.cpp - cvt --------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every conversion goes through one value: an integer, or an f64 that holds any
// f32 or f16 exactly. The common ones have loops of their own.
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>

using namespace quantopt::ptx;

namespace {

// How an instruction converts: bits of mode[0].
enum : uint32_t { kSaturate = 1, kFtz = 2, kRelu = 4, kToInteger = 8 };

struct HalfToFloat {
  float operator()(Half a) const { return float(a); }
};
struct BHalfToFloat {
  float operator()(BHalf a) const { return float(a); }
};
struct FloatToHalf {
  Half operator()(float a) const { return Half(a); }
};
struct FloatToBHalf {
  BHalf operator()(float a) const { return BHalf(a); }
};
template <typename T> struct PackFloats {
  /// The first source becomes the upper half.
  Packed<T> operator()(float high, float low) const {
    return {T(low), T(high)};
  }
};
template <typename D> struct IntegerTo {
  template <typename T> D operator()(T a) const { return static_cast<D>(a); }
};

const FloatFormat &formatOf(Type type) {
  switch (type.kind) {
  case Type::BFloat:
    return kBF16;
  case Type::TF32:
    return kTF32;
  case Type::E4M3:
    return kE4M3;
  case Type::E5M2:
    return kE5M2;
  default:
    return type.bits == 16 ? kF16 : kF32;
  }
}

double readFloat(Type type, uint64_t bits) {
  if (type.bits == 64)
    return std::bit_cast<double>(bits);
  if (type.bits == 32)
    return std::bit_cast<float>(uint32_t(bits));
  return decodeFloat(bits, formatOf(type));
}

uint64_t writeFloat(Type type, double value, Round round, uint32_t flags) {
  if (flags & kRelu && (value < 0 || value == 0))
    value = 0;
  if (type.bits == 64)
    return std::bit_cast<uint64_t>(value);
  if (type.kind == Type::TF32) {
    // Lies in the upper bits of an f32.
    if (!std::isfinite(value))
      return std::bit_cast<uint32_t>(float(value));
    return std::bit_cast<uint32_t>(
        static_cast<float>(roundToFormat(value, kTF32, round)));
  }
  return encodeFloat(value, 0, formatOf(type), round, flags & kSaturate);
}

double roundToIntegral(double value, Round round) {
  switch (round) {
  case Round::Zero:
    return std::trunc(value);
  case Round::Down:
    return std::floor(value);
  case Round::Up:
    return std::ceil(value);
  case Round::NearestAway:
    return std::round(value);
  case Round::NearestEven:
    return std::nearbyint(value);
  }
  return value;
}

bool isFlushed(Type type, uint64_t bits) {
  return type == Type{Type::Float, 32} && !(bits & 0x7f800000);
}

uint64_t floatToInteger(Type type, double value, Round round) {
  // PTX clamps always; NaN becomes 0, or the top bit in 64 bits.
  if (std::isnan(value))
    return type.bits == 64 ? uint64_t(1) << 63 : 0;
  value = roundToIntegral(value, round);
  if (type.isSigned()) {
    double limit = std::ldexp(1.0, type.bits - 1);
    if (value >= limit)
      return (uint64_t(1) << (type.bits - 1)) - 1;
    if (value < -limit)
      return ~uint64_t(0) << (type.bits - 1);
    return static_cast<uint64_t>(static_cast<int64_t>(value));
  }
  double limit = std::ldexp(1.0, type.bits);
  if (value >= limit)
    return type.bits == 64 ? ~uint64_t(0) : (uint64_t(1) << type.bits) - 1;
  return value <= 0 ? 0 : static_cast<uint64_t>(value);
}

/// A value of `type` from the low bits of a register, sign- or zero-extended.
uint64_t extend(Type type, uint64_t bits) {
  if (type.bits == 64)
    return bits;
  bits &= (uint64_t(1) << type.bits) - 1;
  if (type.isSigned() && bits >> (type.bits - 1) & 1)
    bits |= ~uint64_t(0) << type.bits;
  return bits;
}

uint64_t saturateInteger(Type to, Type from, uint64_t value) {
  bool negative = from.isSigned() && int64_t(value) < 0;
  if (to.isSigned()) {
    uint64_t largest = (uint64_t(1) << (to.bits - 1)) - 1;
    if (negative)
      return int64_t(value) < -int64_t(largest) - 1 ? ~largest : value;
    return std::min(value, largest);
  }
  uint64_t largest =
      to.bits == 64 ? ~uint64_t(0) : (uint64_t(1) << to.bits) - 1;
  return negative ? 0 : std::min(value, largest);
}

double integerToDouble(Type from, uint64_t value, double &rest) {
  // Of 64 bits, what an f64 does not hold is the rest.
  if (from.isSigned()) {
    double result = static_cast<double>(int64_t(value));
    rest = static_cast<double>(static_cast<__int128>(int64_t(value)) -
                               static_cast<__int128>(result));
    return result;
  }
  double result = static_cast<double>(value);
  rest = static_cast<double>(static_cast<__int128>(value) -
                             static_cast<__int128>(result));
  return result;
}

uint64_t convert(const Instr &instr, uint64_t bits) {
  Type to = instr.type, from = instr.from;
  uint32_t flags = instr.mode[0];
  Round round = static_cast<Round>(instr.mode[1]);
  bool toInteger = to.isInteger(), fromInteger = from.isInteger();
  if (fromInteger) {
    uint64_t value = extend(from, bits);
    if (toInteger)
      return flags & kSaturate ? saturateInteger(to, from, value) : value;
    double rest = 0, x = integerToDouble(from, value, rest);
    if (to.bits == 64)
      return std::bit_cast<uint64_t>(x);
    return encodeFloat(x, rest, formatOf(to), round, false);
  }
  double value = readFloat(from, bits);
  if (flags & kFtz && isFlushed(from, bits))
    value = std::copysign(0.0, value);
  if (toInteger)
    return floatToInteger(to, value, round);
  if (flags & kToInteger)
    value = roundToIntegral(value, round);
  // .sat clamps to [0, 1]; .satfinite of narrow formats to their range.
  if (flags & kSaturate && to.bits >= 16 && to.kind == Type::Float &&
      to.packed == 1)
    value = value > 0 ? std::min(value, 1.0) : 0.0;
  uint64_t result = writeFloat(to, value, round, flags);
  if (flags & kFtz && isFlushed(to, result))
    result &= 0x80000000;
  return result;
}

void runConvert(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = warp.isDefined(instr.src[0]);
  unsigned bits = instr.type.bits;
  // Into a wider register: sign-extended if the type is signed.
  bool signExtend = instr.type.isSigned() && bits < 32;
  forLanes(mask, [&](unsigned lane) {
    uint64_t value = convert(instr, warp.value(instr.src[0], lane));
    if (bits < 64)
      value &= (uint64_t(1) << bits) - 1;
    if (signExtend)
      value = uint32_t(extend(instr.type, value));
    warp.setValue(instr.dst, lane, value);
  });
  warp.define(instr.dst, mask, good);
}

/// Two f32 into one register; the first source is the upper half.
void runConvertPair(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = warp.isDefined(instr.src[0]) & warp.isDefined(instr.src[1]);
  Type one = {instr.type.kind, instr.type.bits, 1};
  Round round = static_cast<Round>(instr.mode[1]);
  forLanes(mask, [&](unsigned lane) {
    double high =
        std::bit_cast<float>(uint32_t(warp.value(instr.src[0], lane)));
    double low = std::bit_cast<float>(uint32_t(warp.value(instr.src[1], lane)));
    warp.setValue(instr.dst, lane,
                  writeFloat(one, high, round, instr.mode[0]) << one.bits |
                      writeFloat(one, low, round, instr.mode[0]));
  });
  warp.define(instr.dst, mask, good);
}

/// Both halves of a register: e4m3x2 and e5m2x2 from and to f16x2.
void runConvertHalves(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = warp.isDefined(instr.src[0]);
  Type to = {instr.type.kind, instr.type.bits, 1},
       from = {instr.from.kind, instr.from.bits, 1};
  forLanes(mask, [&](unsigned lane) {
    uint64_t bits = warp.value(instr.src[0], lane), result = 0;
    for (unsigned i = 0; i < 2; ++i) {
      double value =
          readFloat(from, bits >> (from.bits * i) & ((1u << from.bits) - 1));
      result |= writeFloat(to, value, Round::NearestEven, instr.mode[0])
                << (to.bits * i);
    }
    warp.setValue(instr.dst, lane, result);
  });
  warp.define(instr.dst, mask, good);
}

template <typename D> Execute *fromInteger(Type from) {
  Execute *found = nullptr;
  auto consider = [&]<typename T>(T *) {
    if (isTypeOf<T>(from))
      found = mapLanes<IntegerTo<D>, D, T>;
  };
  consider(static_cast<int16_t *>(nullptr));
  consider(static_cast<uint16_t *>(nullptr));
  consider(static_cast<int32_t *>(nullptr));
  consider(static_cast<uint32_t *>(nullptr));
  consider(static_cast<int64_t *>(nullptr));
  consider(static_cast<uint64_t *>(nullptr));
  return found;
}

/// A loop of its own, for what kernels do all the time.
Execute *chooseFast(Type to, Type from, Round round, uint32_t flags) {
  if (flags)
    return nullptr;
  const Type f32{Type::Float, 32}, f16{Type::Float, 16}, bf16{Type::BFloat, 16};
  bool nearest = round == Round::NearestEven;
  if (to == f32 && from == f16)
    return mapLanes<HalfToFloat, float, Half>;
  if (to == f32 && from == bf16)
    return mapLanes<BHalfToFloat, float, BHalf>;
  if (to == f16 && from == f32 && nearest)
    return mapLanes<FloatToHalf, Half, float>;
  if (to == bf16 && from == f32 && nearest)
    return mapLanes<FloatToBHalf, BHalf, float>;
  if (to == f32 && nearest && from.isInteger())
    return fromInteger<float>(from);
  if (to.isInteger() && from.isInteger() && to.bits == 64)
    return fromInteger<uint64_t>(from);
  if (to.isInteger() && from.isInteger() && to.bits == 32)
    return fromInteger<uint32_t>(from);
  return nullptr;
}

void decodeCvt(Decoder &d) {
  Instr &instr = d.instr;
  // .rni and so on round to an integer, .rn to the format.
  int integral = d.takeOneOf({"rni", "rzi", "rmi", "rpi"});
  int rounding = d.takeOneOf({"rn", "rz", "rm", "rp", "rna"});
  static constexpr Round rounds[] = {Round::NearestEven, Round::Zero,
                                     Round::Down, Round::Up,
                                     Round::NearestAway};
  Round round = integral >= 0   ? rounds[integral]
                : rounding >= 0 ? rounds[rounding]
                                : Round::NearestEven;
  uint32_t flags = integral >= 0 ? kToInteger : 0;
  if (d.take("ftz"))
    flags |= kFtz;
  bool sat = d.take("sat"), satfinite = d.take("satfinite");
  if (sat || satfinite)
    flags |= kSaturate;
  if (d.take("relu"))
    flags |= kRelu;
  instr.type = d.takeType();
  instr.from = d.takeType();
  Type &to = instr.type, &from = instr.from;
  if (d.failed())
    return;
  auto normalize = [](Type &type) {
    if (type.kind == Type::Bits)
      type.kind = Type::Unsigned;
  };
  normalize(to);
  normalize(from);
  instr.mode[0] = flags;
  instr.mode[1] = static_cast<uint32_t>(round);
  if (to.packed == 2 && from == Type{Type::Float, 32}) {
    if (!d.expect(3))
      return;
    bool nearest = round == Round::NearestEven && !flags;
    instr.execute =
        nearest && to.kind == Type::Float
            ? mapLanes<PackFloats<Half>, Packed<Half>, float, float>
        : nearest && to.kind == Type::BFloat
            ? mapLanes<PackFloats<BHalf>, Packed<BHalf>, float, float>
            : runConvertPair;
    instr.dst = d.anyWidth(d.operands[0], to.width(), true);
    instr.src[0] = d.source(1, from);
    instr.src[1] = d.source(2, from);
    return;
  }
  if (!d.expect(2))
    return;
  if (to.packed == 2 || from.packed == 2) {
    if (to.packed != from.packed)
      return d.fail("no such conversion");
    instr.execute = runConvertHalves;
    instr.dst = d.anyWidth(d.operands[0], to.width(), true);
    instr.src[0] = d.anyWidth(d.operands[1], from.width(), false);
    return;
  }
  instr.dst = d.anyWidth(d.operands[0], to.width(), true);
  instr.src[0] = d.anyWidth(d.operands[1], from.width(), false);
  if (d.operands[1].kind == Operand::Integer ||
      d.operands[1].kind == Operand::Single ||
      d.operands[1].kind == Operand::Double)
    instr.src[0] = d.source(1, from);
  bool sameWidth = instr.dst.wide == (to.bits == 64) &&
                   instr.src[0].wide == (from.bits == 64);
  if (!sat && from.isInteger() != to.isInteger() && to.isInteger() &&
      integral < 0)
    return d.fail("a float to an integer without a rounding");
  Execute *fast = sameWidth ? chooseFast(to, from, round, flags) : nullptr;
  instr.execute = fast ? fast : runConvert;
}

/// cvt.pack.sat.u8.s32.b32 d, a, b, c: two saturated numbers below c's.
void runCvtPack(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = mask;
  for (unsigned i = 0; i < instr.mode[0]; ++i)
    good &= warp.isDefined(instr.src[i]);
  unsigned bits = instr.type.bits;
  uint64_t ones = (uint64_t(1) << bits) - 1;
  forLanes(mask, [&](unsigned lane) {
    auto one = [&](Ref ref) {
      return saturateInteger(instr.type, instr.from,
                             extend(instr.from, warp.value(ref, lane))) &
             ones;
    };
    uint64_t rest =
        instr.mode[0] == 3 ? warp.value(instr.src[2], lane) << (2 * bits) : 0;
    warp.setValue(
        instr.dst, lane,
        uint32_t(rest | one(instr.src[0]) << bits | one(instr.src[1])));
  });
  warp.define(instr.dst, mask, good);
}

void decodeCvtOrPack(Decoder &d) {
  if (!d.take("pack"))
    return decodeCvt(d);
  d.take("sat");
  Instr &instr = d.instr;
  instr.type = d.takeType();
  instr.from = d.takeType();
  d.take("b32");
  if (instr.from != Type{Type::Signed, 32} || !instr.type.isInteger() ||
      !d.expect(3, 4))
    return d.fail("this form");
  instr.mode[0] = d.operands.size() - 1;
  instr.execute = runCvtPack;
  const Type b32{Type::Bits, 32};
  instr.dst = d.destination(0, b32);
  for (unsigned i = 0; i < instr.mode[0]; ++i)
    instr.src[i] = d.source(i + 1, b32);
}

} // namespace

void quantopt::ptx::addConversions(DecodeTable &table) {
  table["cvt"] = decodeCvtOrPack;
}
