//===- Integer.cpp - Bits of integers -------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "LaneLoops.h"

#include <algorithm>

using namespace quantopt::ptx;

namespace {

struct And {
  template <typename T> T operator()(T a, T b) const { return a & b; }
};
struct Or {
  template <typename T> T operator()(T a, T b) const { return a | b; }
};
struct Xor {
  template <typename T> T operator()(T a, T b) const { return a ^ b; }
};
struct Not {
  template <typename T> T operator()(T a) const { return ~a; }
};
struct CNot {
  template <typename T> T operator()(T a) const { return a == 0; }
};

// Shifts by more than the width give what shifting bit by bit would.
struct Shl {
  template <typename T> T operator()(T a, uint32_t n) const {
    return n >= 8 * sizeof(T) ? 0 : T(std::make_unsigned_t<T>(a) << n);
  }
};
struct Shr {
  template <typename T> T operator()(T a, uint32_t n) const {
    if (n >= 8 * sizeof(T))
      return std::is_signed_v<T> && a < 0 ? T(-1) : T(0);
    return T(a >> n);
  }
};

template <bool Left, bool Clamp> struct Funnel {
  uint32_t operator()(uint32_t lo, uint32_t hi, uint32_t n) const {
    n = Clamp ? std::min(n, 32u) : n & 31;
    uint64_t both = uint64_t(hi) << 32 | lo;
    return Left ? uint32_t((both << n) >> 32) : uint32_t(both >> n);
  }
};

struct BitExtract {
  template <typename T>
  T operator()(T a, uint32_t position, uint32_t length) const {
    using U = std::make_unsigned_t<T>;
    constexpr unsigned width = 8 * sizeof(T);
    position &= 0xff;
    length &= 0xff;
    U value = position < width ? U(U(a) >> position) : U(0);
    if (length >= width)
      return position >= width && std::is_signed_v<T> && a < 0
                 ? T(-1)
                 : shifted(a, position);
    U mask = (U(1) << length) - 1;
    bool sign = false;
    if (std::is_signed_v<T> && length) {
      unsigned top = std::min(position + length - 1, width - 1);
      sign = U(a) >> top & 1;
    }
    value &= mask;
    if (sign) {
      // Bits beyond the top of a are copies of its sign.
      unsigned have = position < width ? std::min(length, width - position) : 0;
      value |= have < width ? U(~U(0)) << have : U(0);
    }
    return T(value);
  }
  template <typename T> static T shifted(T a, uint32_t n) {
    return Shr()(a, n);
  }
};
struct BitInsert {
  template <typename T>
  T operator()(T a, T b, uint32_t position, uint32_t length) const {
    constexpr unsigned width = 8 * sizeof(T);
    position &= 0xff;
    length &= 0xff;
    if (position >= width || length == 0)
      return b;
    T mask = length >= width ? T(~T(0)) : T((T(1) << length) - 1);
    mask <<= position;
    return (b & ~mask) | (T(a << position) & mask);
  }
};
template <bool ShiftAmount> struct BitFind {
  template <typename T> uint32_t operator()(T a) const {
    using U = std::make_unsigned_t<T>;
    U bits = std::is_signed_v<T> && a < 0 ? U(~U(a)) : U(a);
    if (!bits)
      return ~0u;
    unsigned top = std::bit_width(bits) - 1;
    return ShiftAmount ? 8 * sizeof(T) - 1 - top : top;
  }
};
struct CountLeadingZeros {
  template <typename T> uint32_t operator()(T a) const {
    return std::countl_zero(a);
  }
};
struct PopCount {
  template <typename T> uint32_t operator()(T a) const {
    return std::popcount(a);
  }
};
struct Reverse {
  template <typename T> T operator()(T a) const {
    T result = 0;
    for (unsigned i = 0; i < 8 * sizeof(T); ++i)
      result |= T(a >> i & 1) << (8 * sizeof(T) - 1 - i);
    return result;
  }
};
struct Lop3 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c,
                      uint32_t table) const {
    uint32_t result = 0;
    for (unsigned i = 0; i < 8; ++i)
      if (table >> i & 1)
        result |= (i & 4 ? a : ~a) & (i & 2 ? b : ~b) & (i & 1 ? c : ~c);
    return result;
  }
};
uint32_t byteOf(uint32_t a, uint32_t b, uint32_t selector) {
  uint64_t both = uint64_t(b) << 32 | a;
  uint32_t byte = both >> (8 * (selector & 7)) & 0xff;
  return selector & 8 ? (byte & 0x80 ? 0xff : 0) : byte;
}
struct Permute {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t selector) const {
    uint32_t result = 0;
    for (unsigned i = 0; i < 4; ++i)
      result |= byteOf(a, b, selector >> (4 * i) & 15) << (8 * i);
    return result;
  }
};
/// The named modes: selectors of the four bytes for each value of c.
template <unsigned Mode> struct PermuteMode {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    static constexpr uint16_t selectors[6][4] = {
        {0x3210, 0x4321, 0x5432, 0x6543}, // f4e
        {0x5670, 0x6701, 0x7012, 0x0123}, // b4e
        {0x0000, 0x1111, 0x2222, 0x3333}, // rc8
        {0x3210, 0x3211, 0x3222, 0x3333}, // ecl
        {0x0000, 0x1110, 0x2210, 0x3210}, // ecr
        {0x1010, 0x3232, 0x1010, 0x3232}, // rc16
    };
    return Permute()(a, b, selectors[Mode][c & 3]);
  }
};
template <bool Wrap> struct SignExtend {
  template <typename T> T operator()(T a, uint32_t width) const {
    width = Wrap ? width & 31 : std::min(width, 32u);
    if (width == 0)
      return 0;
    return T(T(uint32_t(a) << (32 - width)) >> (32 - width));
  }
};
template <bool Wrap> struct BitMask {
  uint32_t operator()(uint32_t position, uint32_t width) const {
    position = Wrap ? position & 31 : std::min(position, 32u);
    width = Wrap ? width & 31 : std::min(width, 32u);
    uint64_t mask = ((uint64_t(1) << width) - 1) << position;
    return uint32_t(mask);
  }
};
struct Sad {
  template <typename T> T operator()(T a, T b, T c) const {
    using U = std::make_unsigned_t<T>;
    U difference = a < b ? U(b) - U(a) : U(a) - U(b);
    return T(U(c) + difference);
  }
};
/// Dot product of four bytes each, added to c.
template <bool SignedA, bool SignedB> struct Dot4 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    for (unsigned i = 0; i < 4; ++i) {
      int32_t x = SignedA ? int8_t(a >> 8 * i) : uint8_t(a >> 8 * i);
      int32_t y = SignedB ? int8_t(b >> 8 * i) : uint8_t(b >> 8 * i);
      c += uint32_t(x * y);
    }
    return c;
  }
};
template <bool SignedA, bool SignedB, bool High> struct Dot2 {
  uint32_t operator()(uint32_t a, uint32_t b, uint32_t c) const {
    for (unsigned i = 0; i < 2; ++i) {
      int32_t x = SignedA ? int16_t(a >> 16 * i) : uint16_t(a >> 16 * i);
      unsigned shift = 8 * i + (High ? 16 : 0);
      int32_t y = SignedB ? int8_t(b >> shift) : uint8_t(b >> shift);
      c += uint32_t(x * y);
    }
    return c;
  }
};

//===----------------------------------------------------------------------===//
// Decoding
//===----------------------------------------------------------------------===//

constexpr Type kU32{Type::Unsigned, 32};

/// Result of `type`, sources of the types given.
void finish(Decoder &d, Execute *execute, Type type,
            std::initializer_list<Type> sources) {
  if (!execute)
    return d.fail("no such operation on this type");
  if (!d.expect(sources.size() + 1))
    return;
  d.instr.execute = execute;
  d.instr.dst = d.destination(0, type);
  unsigned i = 0;
  for (Type source : sources) {
    d.instr.src[i] = d.source(i + 1, source);
    ++i;
  }
}

/// and, or, xor of predicates.
template <typename F>
void runPredicates(Warp &warp, const Instr &instr, uint32_t mask) {
  uint32_t good = warp.isPredicateDefined(instr.src[0]) &
                  warp.isPredicateDefined(instr.src[1]);
  warp.setPredicate(
      instr.dst, mask,
      F()(warp.predicate(instr.src[0]), warp.predicate(instr.src[1])), good);
}
void runNotPredicate(Warp &warp, const Instr &instr, uint32_t mask) {
  warp.setPredicate(instr.dst, mask, ~warp.predicate(instr.src[0]),
                    warp.isPredicateDefined(instr.src[0]));
}

template <typename F> void decodeLogic(Decoder &d) {
  Type type = d.takeType();
  if (type.kind != Type::Pred)
    return finish(d, chooseLanes<F, 2, uint16_t, uint32_t, uint64_t>(type),
                  type, {type, type});
  if (!d.expect(3))
    return;
  d.instr.execute = runPredicates<F>;
  d.instr.dst = d.predicate(0);
  d.instr.src[0] = d.predicate(1);
  d.instr.src[1] = d.predicate(2);
}
void decodeNot(Decoder &d) {
  Type type = d.takeType();
  if (type.kind != Type::Pred)
    return finish(d, chooseLanes<Not, 1, uint16_t, uint32_t, uint64_t>(type),
                  type, {type});
  if (!d.expect(2))
    return;
  d.instr.execute = runNotPredicate;
  d.instr.dst = d.predicate(0);
  d.instr.src[0] = d.predicate(1);
}
void decodeCNot(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseLanes<CNot, 1, uint16_t, uint32_t, uint64_t>(type), type,
         {type});
}

/// F on a value and further 32-bit numbers: shifts, bit fields.
template <typename F, unsigned Numbers, typename... Ts>
Execute *chooseWithNumbers(Type type) {
  Execute *found = nullptr;
  auto consider = [&]<typename T>(T *) {
    if (!isTypeOf<T>(type))
      return;
    if constexpr (Numbers == 1)
      found = mapLanes<F, T, T, uint32_t>;
    else
      found = mapLanes<F, T, T, uint32_t, uint32_t>;
  };
  (consider(static_cast<Ts *>(nullptr)), ...);
  return found;
}

void decodeShl(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseWithNumbers<Shl, 1, uint16_t, uint32_t, uint64_t>(type), type,
         {type, kU32});
}
void decodeShr(Decoder &d) {
  Type type = d.takeType();
  finish(d,
         chooseWithNumbers<Shr, 1, uint16_t, uint32_t, uint64_t, int16_t,
                           int32_t, int64_t>(type),
         type, {type, kU32});
}
void decodeShf(Decoder &d) {
  int left = d.takeOneOf({"l", "r"}), clamp = d.takeOneOf({"clamp", "wrap"});
  Type type = d.takeType();
  Execute *codes[2][2] = {
      {mapLanes<Funnel<true, true>, uint32_t, uint32_t, uint32_t, uint32_t>,
       mapLanes<Funnel<true, false>, uint32_t, uint32_t, uint32_t, uint32_t>},
      {mapLanes<Funnel<false, true>, uint32_t, uint32_t, uint32_t, uint32_t>,
       mapLanes<Funnel<false, false>, uint32_t, uint32_t, uint32_t, uint32_t>}};
  bool known = left >= 0 && clamp >= 0 && type.width() == 32;
  finish(d, known ? codes[left][clamp] : nullptr, type, {kU32, kU32, kU32});
}
void decodeBfe(Decoder &d) {
  Type type = d.takeType();
  finish(d,
         chooseWithNumbers<BitExtract, 2, uint32_t, uint64_t, int32_t, int64_t>(
             type),
         type, {type, kU32, kU32});
}
void decodeBfi(Decoder &d) {
  Type type = d.takeType();
  Execute *execute =
      type.width() == 32   ? mapLanes<BitInsert, uint32_t, uint32_t, uint32_t,
                                      uint32_t, uint32_t>
      : type.width() == 64 ? mapLanes<BitInsert, uint64_t, uint64_t, uint64_t,
                                      uint32_t, uint32_t>
                           : nullptr;
  finish(d, execute, type, {type, type, kU32, kU32});
}

template <typename F, typename... Ts> Execute *chooseCount(Type type) {
  Execute *found = nullptr;
  auto consider = [&]<typename T>(T *) {
    if (isTypeOf<T>(type))
      found = mapLanes<F, uint32_t, T>;
  };
  (consider(static_cast<Ts *>(nullptr)), ...);
  return found;
}
void decodeBfind(Decoder &d) {
  bool amount = d.take("shiftamt");
  Type type = d.takeType();
  finish(
      d,
      amount
          ? chooseCount<BitFind<true>, uint32_t, uint64_t, int32_t, int64_t>(
                type)
          : chooseCount<BitFind<false>, uint32_t, uint64_t, int32_t, int64_t>(
                type),
      kU32, {type});
}
template <typename F> void decodeCount(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseCount<F, uint32_t, uint64_t>(type), kU32, {type});
}
void decodeBrev(Decoder &d) {
  Type type = d.takeType();
  finish(d, chooseLanes<Reverse, 1, uint32_t, uint64_t>(type), type, {type});
}
void decodeLop3(Decoder &d) {
  d.takeType();
  finish(d, mapLanes<Lop3, uint32_t, uint32_t, uint32_t, uint32_t, uint32_t>,
         kU32, {kU32, kU32, kU32, kU32});
}
void decodePrmt(Decoder &d) {
  d.takeType();
  int mode = d.takeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  Execute *modes[] = {
      mapLanes<Permute, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<0>, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<1>, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<2>, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<3>, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<4>, uint32_t, uint32_t, uint32_t, uint32_t>,
      mapLanes<PermuteMode<5>, uint32_t, uint32_t, uint32_t, uint32_t>};
  finish(d, modes[mode + 1], kU32, {kU32, kU32, kU32});
}
void decodeSzext(Decoder &d) {
  int wrap = d.takeOneOf({"clamp", "wrap"});
  Type type = d.takeType();
  finish(d,
         wrap < 0 ? nullptr
         : wrap
             ? chooseWithNumbers<SignExtend<true>, 1, uint32_t, int32_t>(type)
             : chooseWithNumbers<SignExtend<false>, 1, uint32_t, int32_t>(type),
         type, {type, kU32});
}
void decodeBmsk(Decoder &d) {
  int wrap = d.takeOneOf({"clamp", "wrap"});
  Type type = d.takeType();
  finish(d,
         wrap ? mapLanes<BitMask<true>, uint32_t, uint32_t, uint32_t>
              : mapLanes<BitMask<false>, uint32_t, uint32_t, uint32_t>,
         type, {kU32, kU32});
}
void decodeSad(Decoder &d) {
  Type type = d.takeType();
  finish(d,
         chooseLanes<Sad, 3, uint16_t, uint32_t, uint64_t, int16_t, int32_t,
                     int64_t>(type),
         type, {type, type, type});
}
template <typename F> Execute *dotCode() {
  return mapLanes<F, uint32_t, uint32_t, uint32_t, uint32_t>;
}
void decodeDp4a(Decoder &d) {
  bool a = d.takeType().isSigned(), b = d.takeType().isSigned();
  finish(d,
         a ? (b ? dotCode<Dot4<true, true>>() : dotCode<Dot4<true, false>>())
           : (b ? dotCode<Dot4<false, true>>() : dotCode<Dot4<false, false>>()),
         kU32, {kU32, kU32, kU32});
}
void decodeDp2a(Decoder &d) {
  int high = d.takeOneOf({"lo", "hi"});
  bool a = d.takeType().isSigned(), b = d.takeType().isSigned();
  Execute *codes[2][2][2] = {{{dotCode<Dot2<false, false, false>>(),
                               dotCode<Dot2<false, true, false>>()},
                              {dotCode<Dot2<true, false, false>>(),
                               dotCode<Dot2<true, true, false>>()}},
                             {{dotCode<Dot2<false, false, true>>(),
                               dotCode<Dot2<false, true, true>>()},
                              {dotCode<Dot2<true, false, true>>(),
                               dotCode<Dot2<true, true, true>>()}}};
  finish(d, high < 0 ? nullptr : codes[high][a][b], kU32, {kU32, kU32, kU32});
}

} // namespace

void quantopt::ptx::addInteger(DecodeTable &table) {
  table["and"] = decodeLogic<And>;
  table["or"] = decodeLogic<Or>;
  table["xor"] = decodeLogic<Xor>;
  table["not"] = decodeNot;
  table["cnot"] = decodeCNot;
  table["shl"] = decodeShl;
  table["shr"] = decodeShr;
  table["shf"] = decodeShf;
  table["bfe"] = decodeBfe;
  table["bfi"] = decodeBfi;
  table["bfind"] = decodeBfind;
  table["clz"] = decodeCount<CountLeadingZeros>;
  table["popc"] = decodeCount<PopCount>;
  table["brev"] = decodeBrev;
  table["lop3"] = decodeLop3;
  table["prmt"] = decodePrmt;
  table["szext"] = decodeSzext;
  table["bmsk"] = decodeBmsk;
  table["sad"] = decodeSad;
  table["dp4a"] = decodeDp4a;
  table["dp2a"] = decodeDp2a;
}
