//===- Arithmetic.cpp - Arithmetic of PTX ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What integers and floats share by name (add, mul, min), floats alone (fma,
// sqrt, ex2), and comparisons.
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>

using namespace quantopt::ptx;

namespace {

template <typename T>
inline constexpr bool isNarrow =
    std::is_same_v<T, Half> || std::is_same_v<T, BHalf>;
template <typename T>
inline constexpr bool isFloat = isNarrow<T> || std::is_floating_point_v<T>;

/// Narrow floats as f32, all else as it is.
template <typename T> auto wide(T value) {
  if constexpr (isNarrow<T>)
    return static_cast<float>(value);
  else
    return value;
}

/// Integers as unsigned of at least int's width, where sums wrap.
template <typename T> auto wrapping(T value) {
  return static_cast<std::common_type_t<std::make_unsigned_t<T>, unsigned>>(
      value);
}

struct Add {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>)
      return T(wide(a) + wide(b));
    else
      return T(wrapping(a) + wrapping(b));
  }
};
struct Sub {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>)
      return T(wide(a) - wide(b));
    else
      return T(wrapping(a) - wrapping(b));
  }
};
struct Mul {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>)
      return T(wide(a) * wide(b));
    else
      return T(wrapping(a) * wrapping(b));
  }
};
struct Div {
  template <typename T> T operator()(T a, T b) const {
    if constexpr (isFloat<T>)
      return T(wide(a) / wide(b));
    else if (b == 0)
      return T(~T(0)); // unspecified
    else if (std::is_signed_v<T> && b == T(-1))
      return T(0 - wrapping(a));
    else
      return T(a / b);
  }
};
struct Rem {
  template <typename T> T operator()(T a, T b) const {
    if (b == 0)
      return a; // unspecified
    if (std::is_signed_v<T> && b == T(-1))
      return 0;
    return T(a % b);
  }
};

struct Fma {
  template <typename T> T operator()(T a, T b, T c) const {
    if constexpr (isNarrow<T>) {
      // The product is exact in f64; the sum is kept as an exact pair.
      ExactSum s(double(float(a)) * double(float(b)), double(float(c)));
      T result;
      if (std::isfinite(s.sum))
        result.bits =
            encodeFloat(s.sum, s.rest, T::format, Round::NearestEven, false);
      else
        result = T(static_cast<float>(s.sum));
      return result;
    } else {
      return std::fma(a, b, c);
    }
  }
};

// A directed rounding of f32, from the exact value as a pair of f64.
float roundPair(double value, double rest, Round round) {
  if (!std::isfinite(value) || value == 0)
    return static_cast<float>(value);
  return std::bit_cast<float>(encodeFloat(value, rest, kF32, round, false));
}
template <Round R> struct AddRound {
  float operator()(float a, float b) const {
    ExactSum s(a, b);
    return roundPair(s.sum, s.rest, R);
  }
};
template <Round R> struct SubRound {
  float operator()(float a, float b) const { return AddRound<R>()(a, -b); }
};
template <Round R> struct MulRound {
  float operator()(float a, float b) const {
    return roundPair(double(a) * double(b), 0, R);
  }
};
template <Round R> struct FmaRound {
  float operator()(float a, float b, float c) const {
    ExactSum s(double(a) * double(b), c);
    return roundPair(s.sum, std::isfinite(s.sum) ? s.rest : 0, R);
  }
};
template <Round R> struct DivRound {
  float operator()(float a, float b) const {
    double q = double(a) / double(b);
    if (!std::isfinite(q))
      return static_cast<float>(q);
    // Only the sign of the rest counts.
    double rest = std::fma(-q, double(b), double(a)) / double(b);
    return roundPair(q, rest, R);
  }
};
template <Round R> struct SqrtRound {
  float operator()(float a) const {
    double root = std::sqrt(double(a));
    if (!std::isfinite(root) || root == 0)
      return static_cast<float>(root);
    return roundPair(root, std::fma(-root, root, double(a)), R);
  }
};
template <Round R> struct RcpRound {
  float operator()(float a) const { return DivRound<R>()(1.0f, a); }
};

template <bool PropagateNaN> struct MinMaxBase {
  template <bool IsMin, typename T> static T pick(T a, T b) {
    if constexpr (isFloat<T>) {
      auto x = wide(a), y = wide(b);
      if (std::isnan(x) || std::isnan(y)) {
        if (PropagateNaN || (std::isnan(x) && std::isnan(y)))
          return T(decltype(x)(NAN));
        return std::isnan(x) ? b : a;
      }
      if (x == y) // zeros of different sign
        return std::signbit(x) == IsMin ? a : b;
      return (x < y) == IsMin ? a : b;
    } else {
      return (a < b) == IsMin ? a : b;
    }
  }
};
template <bool NaN> struct Min {
  template <typename T> T operator()(T a, T b) const {
    return MinMaxBase<NaN>::template pick<true>(a, b);
  }
};
template <bool NaN> struct Max {
  template <typename T> T operator()(T a, T b) const {
    return MinMaxBase<NaN>::template pick<false>(a, b);
  }
};
/// The same on three values.
template <typename F> struct Twice {
  template <typename T> T operator()(T a, T b, T c) const {
    return F()(F()(a, b), c);
  }
};

template <typename T>
using BitsOf =
    std::conditional_t<sizeof(T) == 2, uint16_t,
                       std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>>;
template <typename T> constexpr BitsOf<T> signBit() {
  return static_cast<BitsOf<T>>(BitsOf<T>(1) << (8 * sizeof(T) - 1));
}

struct Neg {
  template <typename T> T operator()(T a) const {
    if constexpr (isFloat<T>)
      return std::bit_cast<T>(
          BitsOf<T>(std::bit_cast<BitsOf<T>>(a) ^ signBit<T>()));
    else
      return T(0 - wrapping(a));
  }
};
struct Abs {
  template <typename T> T operator()(T a) const {
    if constexpr (isFloat<T>)
      return std::bit_cast<T>(
          BitsOf<T>(std::bit_cast<BitsOf<T>>(a) & ~signBit<T>()));
    else
      return a < 0 ? T(0 - wrapping(a)) : a;
  }
};
struct CopySign {
  /// The sign of a, the rest of b.
  template <typename T> T operator()(T a, T b) const {
    return std::copysign(b, a);
  }
};

// Approximations: as good as f32 allows.
struct Sqrt {
  template <typename T> T operator()(T a) const { return std::sqrt(a); }
};
struct Rsqrt {
  template <typename T> T operator()(T a) const {
    return T(1.0 / std::sqrt(double(a)));
  }
};
struct Rcp {
  template <typename T> T operator()(T a) const { return T(1) / a; }
};
struct Sin {
  float operator()(float a) const {
    return static_cast<float>(std::sin(double(a)));
  }
};
struct Cos {
  float operator()(float a) const {
    return static_cast<float>(std::cos(double(a)));
  }
};
struct Lg2 {
  float operator()(float a) const {
    return static_cast<float>(std::log2(double(a)));
  }
};
struct Ex2 {
  template <typename T> T operator()(T a) const {
    return T(static_cast<float>(std::exp2(double(wide(a)))));
  }
};
struct Tanh {
  template <typename T> T operator()(T a) const {
    return T(static_cast<float>(std::tanh(double(wide(a)))));
  }
};

/// Subnormal operands and results become zeros of their sign.
template <typename F> struct Ftz {
  template <typename T> static T flush(T a) {
    if constexpr (std::is_same_v<T, float>) {
      uint32_t bits = std::bit_cast<uint32_t>(a);
      return (bits & 0x7f800000) ? a : std::bit_cast<float>(bits & 0x80000000);
    } else if constexpr (std::is_same_v<T, Half>) {
      if (!(a.bits & 0x7c00))
        a.bits &= 0x8000;
    }
    return a;
  }
  template <typename T, typename... Rest>
  T operator()(T a, Rest... rest) const {
    return flush(F()(flush(a), flush(rest)...));
  }
};
/// Clamps to [0, 1]; NaN becomes 0.
template <typename F> struct Sat {
  template <typename T, typename... Rest>
  T operator()(T a, Rest... rest) const {
    T value = F()(a, rest...);
    auto x = wide(value);
    if (!(x > 0))
      return T(decltype(x)(0));
    return x > 1 ? T(decltype(x)(1)) : value;
  }
};
/// Clamps to 0 from below; NaN stays.
template <typename F> struct Relu {
  template <typename T, typename... Rest>
  T operator()(T a, Rest... rest) const {
    T value = F()(a, rest...);
    return wide(value) < 0 || wide(value) == 0 ? T(decltype(wide(value))(0))
                                               : value;
  }
};

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

template <typename F, unsigned Arity>
Execute *chooseFloat(Type type, bool ftz, bool sat) {
  if (ftz && sat)
    return chooseLanes<Sat<Ftz<F>>, Arity, float>(type);
  if (ftz)
    return chooseLanes<Ftz<F>, Arity, Half, Packed<Half>, float>(type);
  if (sat)
    return chooseLanes<Sat<F>, Arity, Half, Packed<Half>, float, Packed<float>>(
        type);
  return chooseLanes<F, Arity, Half, BHalf, Packed<Half>, Packed<BHalf>, float,
                     double, Packed<float>>(type);
}

template <typename F, unsigned Arity> Execute *chooseInteger(Type type) {
  return chooseLanes<F, Arity, uint16_t, uint32_t, uint64_t, int16_t, int32_t,
                     int64_t>(type);
}

/// Sets what runs, result and sources.
void finish(Decoder &d, Execute *execute, Type type, unsigned arity) {
  if (!execute)
    return d.fail("no such operation on this type");
  if (!d.expect(arity + 1))
    return;
  d.instr.execute = execute;
  d.instr.type = type;
  d.instr.dst = d.destination(0, type);
  for (unsigned i = 0; i < arity; ++i)
    d.instr.src[i] = d.source(i + 1, type);
}

Round takeRound(Decoder &d) {
  switch (d.takeOneOf({"rn", "rz", "rm", "rp"})) {
  case 1:
    return Round::Zero;
  case 2:
    return Round::Down;
  case 3:
    return Round::Up;
  default:
    return Round::NearestEven;
  }
}

/// F for rounding to nearest, Directed for f32 in other directions.
template <typename F, template <Round> typename Directed, unsigned Arity>
Execute *chooseRounded(Type type, Round round, bool ftz, bool sat) {
  auto directed = [&]<typename G>(G *) -> Execute * {
    if (ftz && sat)
      return chooseLanes<Sat<Ftz<G>>, Arity, float>(type);
    if (ftz)
      return chooseLanes<Ftz<G>, Arity, float>(type);
    if (sat)
      return chooseLanes<Sat<G>, Arity, float>(type);
    return chooseLanes<G, Arity, float>(type);
  };
  switch (round) {
  case Round::Zero:
    return directed(static_cast<Directed<Round::Zero> *>(nullptr));
  case Round::Down:
    return directed(static_cast<Directed<Round::Down> *>(nullptr));
  case Round::Up:
    return directed(static_cast<Directed<Round::Up> *>(nullptr));
  default:
    if constexpr (std::is_same_v<F, Sqrt> || std::is_same_v<F, Rcp>)
      return ftz ? chooseLanes<Ftz<F>, Arity, float>(type)
                 : chooseLanes<F, Arity, float, double>(type);
    else
      return chooseFloat<F, Arity>(type, ftz, sat);
  }
}

template <typename F, template <Round> typename Directed>
void decodeAddLike(Decoder &d) {
  Round round = takeRound(d);
  bool ftz = d.take("ftz"), sat = d.take("sat");
  Type type = d.takeType();
  if (type.isInteger()) {
    if (sat || ftz)
      return d.fail("a saturating integer operation");
    return finish(d, chooseInteger<F, 2>(type), type, 2);
  }
  finish(d, chooseRounded<F, Directed, 2>(type, round, ftz, sat), type, 2);
}

void decodeFma(Decoder &d) {
  Round round = takeRound(d);
  bool ftz = d.take("ftz"), sat = d.take("sat"), relu = d.take("relu");
  Type type = d.takeType();
  Execute *execute =
      relu
          ? chooseLanes<Relu<Fma>, 3, Half, BHalf, Packed<Half>, Packed<BHalf>>(
                type)
          : chooseRounded<Fma, FmaRound, 3>(type, round, ftz, sat);
  finish(d, execute, type, 3);
}

void decodeDiv(Decoder &d) {
  bool approximate = d.take("full") || d.take("approx");
  Round round = takeRound(d);
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  if (type.isInteger())
    return finish(d, approximate ? nullptr : chooseInteger<Div, 2>(type), type,
                  2);
  if (type.bits == 16)
    return d.fail("no such operation on this type");
  finish(d, chooseRounded<Div, DivRound, 2>(type, round, ftz, false), type, 2);
}

void decodeRem(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseInteger<Rem, 2>(type), type, 2);
}

template <template <bool> typename F> void decodeMinMax(Decoder &d) {
  bool ftz = d.take("ftz"), nan = d.take("NaN"), relu = d.take("relu");
  Type type = d.takeType();
  Execute *execute = nullptr;
  bool three = d.operands.size() == 4;
  if (type.isInteger())
    execute = relu ? chooseLanes<Relu<F<false>>, 2, int32_t>(type)
                   : chooseInteger<F<false>, 2>(type);
  else if (three)
    execute = ftz || relu ? nullptr
              : nan       ? chooseLanes<Twice<F<true>>, 3, float>(type)
                          : chooseLanes<Twice<F<false>>, 3, float>(type);
  else if (relu)
    execute = nullptr;
  else
    execute = nan ? chooseFloat<F<true>, 2>(type, ftz, false)
                  : chooseFloat<F<false>, 2>(type, ftz, false);
  finish(d, execute, type, three ? 3 : 2);
}

void decodeNeg(Decoder &d) {
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  finish(d,
         type.isInteger() ? chooseLanes<Neg, 1, int16_t, int32_t, int64_t>(type)
                          : chooseFloat<Neg, 1>(type, ftz, false),
         type, 1);
}
void decodeAbs(Decoder &d) {
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  finish(d,
         type.isInteger() ? chooseLanes<Abs, 1, int16_t, int32_t, int64_t>(type)
                          : chooseFloat<Abs, 1>(type, ftz, false),
         type, 1);
}
void decodeCopySign(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseLanes<CopySign, 2, float, double>(type), type, 2);
}

void decodeSqrt(Decoder &d) {
  d.take("approx");
  Round round = takeRound(d);
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  finish(d, chooseRounded<Sqrt, SqrtRound, 1>(type, round, ftz, false), type,
         1);
}
void decodeRcp(Decoder &d) {
  d.take("approx");
  Round round = takeRound(d);
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  if (type.bits == 64 && ftz)
    ftz = false; // rcp.approx.ftz.f64 is exact here, as all approximations
  finish(d, chooseRounded<Rcp, RcpRound, 1>(type, round, ftz, false), type, 1);
}

template <typename F, typename... Ts> void decodeApproximate(Decoder &d) {
  d.take("approx");
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  finish(d,
         ftz ? chooseLanes<Ftz<F>, 1, Ts...>(type)
             : chooseLanes<F, 1, Ts...>(type),
         type, 1);
}

//===----------------------------------------------------------------------===//
// Comparisons
//===----------------------------------------------------------------------===//

enum class Order : uint8_t { Eq, Ne, Lt, Le, Gt, Ge, Num, NaN };

/// With `Unordered`, true if one of them is NaN.
template <Order O, bool Unordered> struct Compare {
  template <typename T> bool operator()(T first, T second) const {
    auto a = wide(first);
    auto b = wide(second);
    if constexpr (isFloat<T>) {
      bool anyNaN = std::isnan(a) || std::isnan(b);
      if constexpr (O == Order::Num)
        return !anyNaN;
      if constexpr (O == Order::NaN)
        return anyNaN;
      if (anyNaN)
        return Unordered;
    }
    switch (O) {
    case Order::Eq:
      return a == b;
    case Order::Ne:
      return a != b;
    case Order::Lt:
      return a < b;
    case Order::Le:
      return a <= b;
    case Order::Gt:
      return a > b;
    case Order::Ge:
      return a >= b;
    default:
      return false;
    }
  }
};

/// Lanes of `mask` for which F holds.
template <typename F, typename T>
uint32_t compareLanes(Warp &warp, const Instr &instr, uint32_t mask) {
  const Word<T> *a = warp.read<Word<T>>(instr.src[0]);
  const Word<T> *b = warp.read<Word<T>>(instr.src[1]);
  uint32_t bits = 0;
  forLanes(mask, [&](unsigned lane) {
    bits |= uint32_t(F()(fromWord<T>(a[lane]), fromWord<T>(b[lane]))) << lane;
  });
  return bits;
}

/// mode[0]: 0, or how the predicate src[2] is combined: and, or, xor.
uint32_t combine(Warp &warp, const Instr &instr, uint32_t bits) {
  switch (instr.mode[0]) {
  case 1:
    return bits & warp.predicate(instr.src[2]);
  case 2:
    return bits | warp.predicate(instr.src[2]);
  case 3:
    return bits ^ warp.predicate(instr.src[2]);
  default:
    return bits;
  }
}

uint32_t goodOperands(Warp &warp, const Instr &instr) {
  uint32_t good = warp.isDefined(instr.src[0]) & warp.isDefined(instr.src[1]);
  if (instr.mode[0])
    good &= warp.isPredicateDefined(instr.src[2]);
  return good;
}

template <typename F, typename T>
void runSetp(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = goodOperands(warp, instr);
  uint32_t bits = compareLanes<F, T>(warp, instr, mask);
  uint32_t result = combine(warp, instr, bits),
           inverse = combine(warp, instr, ~bits);
  warp.setPredicate(instr.dst, mask, result, good);
  warp.setPredicate(instr.dst2, mask, inverse, good);
}

/// Of both halves, for two predicates.
template <typename F, typename T>
void runSetpPacked(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = goodOperands(warp, instr), low = 0, high = 0;
  const uint32_t *a = warp.read<uint32_t>(instr.src[0]),
                 *b = warp.read<uint32_t>(instr.src[1]);
  forLanes(mask, [&](unsigned lane) {
    low |= uint32_t(F()(fromWord<T>(a[lane]), fromWord<T>(b[lane]))) << lane;
    high |=
        uint32_t(F()(fromWord<T>(a[lane] >> 16), fromWord<T>(b[lane] >> 16)))
        << lane;
  });
  uint32_t lowResult = combine(warp, instr, low),
           highResult = combine(warp, instr, high);
  warp.setPredicate(instr.dst, mask, lowResult, good);
  warp.setPredicate(instr.dst2, mask, highResult, good);
}

/// mode[1]: the result that stands for true.
template <typename F, typename T>
void runSet(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = goodOperands(warp, instr);
  uint32_t bits = combine(warp, instr, compareLanes<F, T>(warp, instr, mask));
  uint32_t *to = warp.write<uint32_t>(instr.dst);
  forLanes(mask, [&](unsigned lane) {
    to[lane] = bits >> lane & 1 ? instr.mode[1] : 0;
  });
  warp.define(instr.dst, mask, good);
}

template <typename F, typename T> struct FlushedCompare {
  bool operator()(T a, T b) const {
    return F()(Ftz<F>::flush(a), Ftz<F>::flush(b));
  }
};

struct CompareCode {
  Execute *setp = nullptr, *set = nullptr;
};

template <typename F, typename... Ts>
CompareCode chooseCompare(Type type, bool ftz) {
  CompareCode code;
  auto consider = [&]<typename T>(T *) {
    if (!isTypeOf<T>(type))
      return;
    if (ftz) {
      if constexpr (std::is_same_v<T, float> || std::is_same_v<T, Half>)
        code = {runSetp<FlushedCompare<F, T>, T>,
                runSet<FlushedCompare<F, T>, T>};
    } else {
      code = {runSetp<F, T>, runSet<F, T>};
    }
  };
  (consider(static_cast<Ts *>(nullptr)), ...);
  if (!ftz && type == Type{Type::Float, 16, 2})
    code.setp = runSetpPacked<F, Half>;
  if (!ftz && type == Type{Type::BFloat, 16, 2})
    code.setp = runSetpPacked<F, BHalf>;
  return code;
}

template <typename F> CompareCode chooseAnyCompare(Type type, bool ftz) {
  return chooseCompare<F, uint16_t, uint32_t, uint64_t, int16_t, int32_t,
                       int64_t, Half, BHalf, float, double>(type, ftz);
}

CompareCode takeCompare(Decoder &d, Type type, std::string_view name,
                        bool ftz) {
  bool isInteger = type.isInteger();
  auto floatOnly = [&](CompareCode code) {
    return isInteger ? CompareCode() : code;
  };
  auto integerOnly = [&](CompareCode code) {
    return isInteger ? code : CompareCode();
  };
  if (name == "eq")
    return chooseAnyCompare<Compare<Order::Eq, false>>(type, ftz);
  if (name == "ne")
    return chooseAnyCompare<Compare<Order::Ne, false>>(type, ftz);
  if (name == "lt")
    return chooseAnyCompare<Compare<Order::Lt, false>>(type, ftz);
  if (name == "le")
    return chooseAnyCompare<Compare<Order::Le, false>>(type, ftz);
  if (name == "gt")
    return chooseAnyCompare<Compare<Order::Gt, false>>(type, ftz);
  if (name == "ge")
    return chooseAnyCompare<Compare<Order::Ge, false>>(type, ftz);
  if (name == "lo")
    return integerOnly(chooseAnyCompare<Compare<Order::Lt, false>>(type, ftz));
  if (name == "ls")
    return integerOnly(chooseAnyCompare<Compare<Order::Le, false>>(type, ftz));
  if (name == "hi")
    return integerOnly(chooseAnyCompare<Compare<Order::Gt, false>>(type, ftz));
  if (name == "hs")
    return integerOnly(chooseAnyCompare<Compare<Order::Ge, false>>(type, ftz));
  if (name == "equ")
    return floatOnly(chooseAnyCompare<Compare<Order::Eq, true>>(type, ftz));
  if (name == "neu")
    return floatOnly(chooseAnyCompare<Compare<Order::Ne, true>>(type, ftz));
  if (name == "ltu")
    return floatOnly(chooseAnyCompare<Compare<Order::Lt, true>>(type, ftz));
  if (name == "leu")
    return floatOnly(chooseAnyCompare<Compare<Order::Le, true>>(type, ftz));
  if (name == "gtu")
    return floatOnly(chooseAnyCompare<Compare<Order::Gt, true>>(type, ftz));
  if (name == "geu")
    return floatOnly(chooseAnyCompare<Compare<Order::Ge, true>>(type, ftz));
  if (name == "num")
    return floatOnly(chooseAnyCompare<Compare<Order::Num, false>>(type, ftz));
  if (name == "nan")
    return floatOnly(chooseAnyCompare<Compare<Order::NaN, false>>(type, ftz));
  d.fail("an unknown comparison");
  return {};
}

std::string_view takeName(Decoder &d) {
  if (d.modifiers.empty()) {
    d.fail("no comparison");
    return "";
  }
  std::string_view name = d.modifiers.front();
  d.modifiers.erase(d.modifiers.begin());
  return name;
}

void decodeSetp(Decoder &d) {
  std::string_view name = takeName(d);
  d.instr.mode[0] = 1 + d.takeOneOf({"and", "or", "xor"});
  bool ftz = d.take("ftz");
  Type type = d.takeType();
  d.instr.execute = takeCompare(d, type, name, ftz).setp;
  if (!d.instr.execute)
    return d.fail("no such comparison of this type");
  unsigned sources = d.instr.mode[0] ? 3 : 2;
  if (!d.expect(sources + 1, sources + 2))
    return;
  unsigned results = d.operands.size() - sources;
  d.instr.dst = d.predicate(0);
  if (results == 2)
    d.instr.dst2 = d.predicate(1);
  d.instr.src[0] = d.source(results, type);
  d.instr.src[1] = d.source(results + 1, type);
  if (sources == 3)
    d.instr.src[2] = d.predicate(results + 2);
}

void decodeSet(Decoder &d) {
  std::string_view name = takeName(d);
  d.instr.mode[0] = 1 + d.takeOneOf({"and", "or", "xor"});
  bool ftz = d.take("ftz");
  Type result = d.takeType(), type = d.takeType();
  d.instr.execute = takeCompare(d, type, name, ftz).set;
  if (!d.instr.execute || (result.width() != 32 && result.width() != 16) ||
      result.packed > 1)
    return d.fail("no such comparison of this type");
  d.instr.mode[1] = result.isInteger() ? (result.bits == 16 ? 0xffff : ~0u)
                    : result.kind == Type::BFloat ? 0x3f80
                    : result.bits == 16           ? 0x3c00
                                                  : 0x3f800000;
  unsigned sources = d.instr.mode[0] ? 3 : 2;
  if (!d.expect(sources + 1))
    return;
  d.instr.dst = d.destination(0, result);
  d.instr.src[0] = d.source(1, type);
  d.instr.src[1] = d.source(2, type);
  if (sources == 3)
    d.instr.src[2] = d.predicate(3);
}

/// testp.finite and so on.
template <typename T>
void runTestp(Warp &warp, const Instr &instr, uint32_t mask) {
  const Word<T> *a = warp.read<Word<T>>(instr.src[0]);
  uint32_t bits = 0;
  forLanes(mask, [&](unsigned lane) {
    T x = fromWord<T>(a[lane]);
    bool is[] = {std::isfinite(x), std::isinf(x),
                 !std::isnan(x),   std::isnan(x),
                 std::isnormal(x), std::fpclassify(x) == FP_SUBNORMAL};
    bits |= uint32_t(is[instr.mode[0]]) << lane;
  });
  warp.setPredicate(instr.dst, mask, bits, warp.isDefined(instr.src[0]));
}

void decodeTestp(Decoder &d) {
  int which = d.takeOneOf(
      {"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  Type type = d.takeType();
  if (which < 0 || type.kind != Type::Float || type.bits < 32)
    return d.fail("no such test of this type");
  if (!d.expect(2))
    return;
  d.instr.mode[0] = which;
  d.instr.execute = type.bits == 32 ? runTestp<float> : runTestp<double>;
  d.instr.dst = d.predicate(0);
  d.instr.src[0] = d.source(1, type);
}

//===----------------------------------------------------------------------===//
// Products of integers
//===----------------------------------------------------------------------===//

template <typename T>
using Double = std::conditional_t<
    sizeof(T) == 2, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
    std::conditional_t<
        sizeof(T) == 4,
        std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
        std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>>;

struct MulHi {
  template <typename T> T operator()(T a, T b) const {
    return T((Double<T>(a) * Double<T>(b)) >> (8 * sizeof(T)));
  }
};
struct MulWide {
  template <typename T> Double<T> operator()(T a, T b) const {
    return Double<T>(a) * Double<T>(b);
  }
};
struct Mul24 {
  template <typename T> T operator()(T a, T b) const {
    auto low = [](T x) {
      return std::is_signed_v<T> ? T(int32_t(uint32_t(x) << 8) >> 8)
                                 : T(x & 0xffffff);
    };
    return T(wrapping(low(a)) * wrapping(low(b)));
  }
};
template <typename F> struct ThenAdd {
  template <typename T> T operator()(T a, T b, T c) const {
    return Add()(F()(a, b), c);
  }
};
struct MadWide {
  template <typename T> Double<T> operator()(T a, T b, Double<T> c) const {
    return Add()(Double<T>(a) * Double<T>(b), c);
  }
};

template <typename... Ts> Execute *chooseWide(Type type, bool adds) {
  Execute *found = nullptr;
  auto consider = [&]<typename T>(T *) {
    if (isTypeOf<T>(type))
      found = adds ? mapLanes<MadWide, Double<T>, T, T, Double<T>>
                   : mapLanes<MulWide, Double<T>, T, T>;
  };
  (consider(static_cast<Ts *>(nullptr)), ...);
  return found;
}

void decodeProduct(Decoder &d, bool adds) {
  int part = d.takeOneOf({"lo", "hi"});
  Round round = takeRound(d);
  bool ftz = d.take("ftz"), sat = d.take("sat");
  Type type = d.takeType();
  if (!type.isInteger()) {
    if (part >= 0)
      return d.fail("no such operation on this type");
    // mad on floats is fma.
    return finish(d,
                  adds ? chooseRounded<Fma, FmaRound, 3>(type, round, ftz, sat)
                       : chooseRounded<Mul, MulRound, 2>(type, round, ftz, sat),
                  type, adds ? 3 : 2);
  }
  if (ftz || sat || part < 0)
    return d.fail("no such operation on this type");
  if (part == 0)
    return finish(d,
                  adds ? chooseInteger<ThenAdd<Mul>, 3>(type)
                       : chooseInteger<Mul, 2>(type),
                  type, adds ? 3 : 2);
  finish(d,
         adds ? chooseInteger<ThenAdd<MulHi>, 3>(type)
              : chooseInteger<MulHi, 2>(type),
         type, adds ? 3 : 2);
}

} // namespace

// The result of .wide, and what mad.wide adds, is twice as wide as the factors.
static void decodeWideOrNot(Decoder &d, bool adds) {
  bool isWide = std::find(d.modifiers.begin(), d.modifiers.end(), "wide") !=
                d.modifiers.end();
  if (!isWide)
    return decodeProduct(d, adds);
  d.take("wide");
  Type type = d.takeType();
  Type twice = {type.kind, uint8_t(2 * type.bits)};
  d.instr.execute =
      chooseWide<uint16_t, uint32_t, int16_t, int32_t>(type, adds);
  if (!d.instr.execute)
    return d.fail("no such operation on this type");
  if (!d.expect(adds ? 4 : 3))
    return;
  d.instr.dst = d.destination(0, twice);
  d.instr.src[0] = d.source(1, type);
  d.instr.src[1] = d.source(2, type);
  if (adds)
    d.instr.src[2] = d.source(3, twice);
}

static void decodeMul24(Decoder &d) {
  if (!d.take("lo"))
    return d.fail("the high part");
  Type type = d.takeType();
  finish(d, chooseLanes<Mul24, 2, uint32_t, int32_t>(type), type, 2);
}

void quantopt::ptx::addArithmetic(DecodeTable &table) {
  table["add"] = decodeAddLike<Add, AddRound>;
  table["sub"] = decodeAddLike<Sub, SubRound>;
  table["mul"] = [](Decoder &d) { decodeWideOrNot(d, false); };
  table["mad"] = [](Decoder &d) { decodeWideOrNot(d, true); };
  table["mul24"] = decodeMul24;
  table["fma"] = decodeFma;
  table["div"] = decodeDiv;
  table["rem"] = decodeRem;
  table["min"] = decodeMinMax<Min>;
  table["max"] = decodeMinMax<Max>;
  table["neg"] = decodeNeg;
  table["abs"] = decodeAbs;
  table["copysign"] = decodeCopySign;
  table["sqrt"] = decodeSqrt;
  table["rcp"] = decodeRcp;
  table["rsqrt"] = decodeApproximate<Rsqrt, float, double>;
  table["sin"] = decodeApproximate<Sin, float>;
  table["cos"] = decodeApproximate<Cos, float>;
  table["lg2"] = decodeApproximate<Lg2, float>;
  table["ex2"] =
      decodeApproximate<Ex2, float, Half, BHalf, Packed<Half>, Packed<BHalf>>;
  table["tanh"] =
      decodeApproximate<Tanh, float, Half, BHalf, Packed<Half>, Packed<BHalf>>;
  table["setp"] = decodeSetp;
  table["set"] = decodeSet;
  table["testp"] = decodeTestp;
}
