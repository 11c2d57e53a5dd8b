//===- ArithmeticTest.cpp - Instructions on registers ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each instruction on many operands, against what the host computes. Narrow
// floats are looked up among all values of their format.
//
//===----------------------------------------------------------------------===//

#include "TestKernel.h"

#include <bit>
#include <cmath>
#include <functional>
#include <random>

using namespace quantopt::ptx;

namespace {

constexpr unsigned kThreads = 256;

/// Runs `code` on registers %rdN, %rN, %hN, %fN and %dN (N = 1 to 3) that hold
/// the low bits of operand N; the result is `out`, a register of any kind.
std::vector<uint64_t> evaluate(const std::string &code, const std::string &out,
                               const std::vector<uint64_t> operands[3]) {
  std::string body = "mov.u32 %r60, %tid.x;\n";
  for (unsigned i = 1; i <= 3; ++i) {
    std::string n = std::to_string(i);
    body += "ld.param.u64 %rd60, [p" + n +
            "];\nmad.wide.u32 %rd60, %r60, 8, %rd60;\n" + "ld.global.u64 %rd" +
            n + ", [%rd60];\ncvt.u32.u64 %r" + n + ", %rd" + n +
            ";\ncvt.u16.u64 %h" + n + ", %rd" + n + ";\nmov.b32 %f" + n +
            ", %r" + n + ";\nmov.b64 %d" + n + ", %rd" + n + ";\n";
  }
  body += code +
          "\nld.param.u64 %rd60, [p0];\nmad.wide.u32 %rd60, %r60, 8, %rd60;\n";
  if (out[1] == 'p')
    body += "selp.u64 %rd59, 1, 0, " + out + ";\n";
  else if (out.substr(1, 2) == "rd")
    body += "mov.u64 %rd59, " + out + ";\n";
  else if (out[1] == 'd')
    body += "mov.b64 %rd59, " + out + ";\n";
  else if (out[1] == 'f')
    body += "mov.b32 %r59, " + out + ";\ncvt.u64.u32 %rd59, %r59;\n";
  else
    body += std::string(out[1] == 'h' ? "cvt.u64.u16" : "cvt.u64.u32") +
            " %rd59, " + out + ";\n";
  auto module =
      parseKernel(kernelText(body + "st.global.u64 [%rd60], %rd59;\n", 4));
  if (!module)
    return {};
  DeviceMemory memory;
  Buffer<uint64_t> result(memory, kThreads);
  std::vector<uint64_t> arguments = {result.address};
  for (unsigned i = 0; i < 3; ++i)
    arguments.push_back(Buffer<uint64_t>(memory, operands[i]).address);
  EXPECT_EQ(runKernel(*module, memory, {1}, {kThreads}, arguments), "") << code;
  return {result.data(), result.data() + kThreads};
}

class Operands {
public:
  std::vector<uint64_t> values[3];

  static Operands integers() {
    static const uint64_t special[] = {0,
                                       1,
                                       2,
                                       31,
                                       32,
                                       33,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       0x8000,
                                       0x7fff,
                                       0xffff,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       ~0ull};
    Operands operands;
    std::mt19937_64 random(7);
    for (auto &values : operands.values)
      for (unsigned i = 0; i < kThreads; ++i)
        values.push_back(random() % 4 == 0
                             ? special[random() % std::size(special)]
                         : random() % 2 ? random() >> (random() % 64)
                                        : random());
    return operands;
  }
  static Operands floats() {
    Operands operands;
    std::mt19937_64 random(11);
    static const float special[] = {0.0f,      -0.0f, 1.0f,   -1.0f,   INFINITY,
                                    -INFINITY, NAN,   1e-40f, -1e-42f, 65504.0f,
                                    65520.0f,  3e38f, 0.5f,   1.5f,    2.5f};
    for (auto &values : operands.values)
      for (unsigned i = 0; i < kThreads; ++i) {
        float value =
            std::ldexp(float(int64_t(random()) >> 40), int(random() % 40) - 40);
        if (random() % 4 == 0)
          value = special[random() % std::size(special)];
        values.push_back(std::bit_cast<uint32_t>(value));
      }
    return operands;
  }
  static Operands doubles() {
    Operands operands;
    std::mt19937_64 random(13);
    for (auto &values : operands.values)
      for (unsigned i = 0; i < kThreads; ++i)
        values.push_back(std::bit_cast<uint64_t>(
            std::ldexp(double(int64_t(random())), int(random() % 80) - 100)));
    return operands;
  }
};

uint64_t mask(unsigned bits) { return bits == 64 ? ~0ull : (1ull << bits) - 1; }

/// Compares with expected(a, b, c) on bits; NaNs of f32 and f64 are all alike.
void check(
    const std::string &code, const std::string &out, const Operands &operands,
    const std::function<uint64_t(uint64_t, uint64_t, uint64_t)> &expected) {
  std::vector<uint64_t> result = evaluate(code, out, operands.values);
  ASSERT_EQ(result.size(), kThreads) << code;
  unsigned bits = out[1] == 'h' ? 16 : out[1] == 'r' && out[2] != 'd' ? 32 : 64;
  for (unsigned i = 0; i < kThreads; ++i) {
    uint64_t want = expected(operands.values[0][i], operands.values[1][i],
                             operands.values[2][i]);
    if (out[1] == 'f' && std::isnan(std::bit_cast<float>(uint32_t(want))) &&
        std::isnan(std::bit_cast<float>(uint32_t(result[i]))))
      continue;
    if (out[1] == 'd' && std::isnan(std::bit_cast<double>(want)) &&
        std::isnan(std::bit_cast<double>(result[i])))
      continue;
    ASSERT_EQ(result[i], want & mask(bits))
        << code << " of " << std::hex << operands.values[0][i] << ", "
        << operands.values[1][i] << ", " << operands.values[2][i];
  }
}

float f32(uint64_t bits) { return std::bit_cast<float>(uint32_t(bits)); }
uint64_t bitsOf(float value) { return std::bit_cast<uint32_t>(value); }
double f64(uint64_t bits) { return std::bit_cast<double>(bits); }
uint64_t bitsOf(double value) { return std::bit_cast<uint64_t>(value); }

TEST(PtxArithmeticTest, Integers) {
  Operands o = Operands::integers();
  check("add.s32 %r9, %r1, %r2;", "%r9", o,
        [](auto a, auto b, auto) { return a + b; });
  check("sub.s64 %rd9, %rd1, %rd2;", "%rd9", o,
        [](auto a, auto b, auto) { return a - b; });
  check("mul.lo.u16 %h9, %h1, %h2;", "%h9", o,
        [](auto a, auto b, auto) { return (a & 0xffff) * (b & 0xffff); });
  check("mad.lo.s32 %r9, %r1, %r2, %r3;", "%r9", o,
        [](auto a, auto b, auto c) { return a * b + c; });
  check("mul.hi.s32 %r9, %r1, %r2;", "%r9", o, [](auto a, auto b, auto) {
    return uint64_t(int64_t(int32_t(a)) * int32_t(b)) >> 32;
  });
  check("mul.hi.u64 %rd9, %rd1, %rd2;", "%rd9", o, [](auto a, auto b, auto) {
    return uint64_t((static_cast<unsigned __int128>(a) * b) >> 64);
  });
  check("mul.wide.s16 %r9, %h1, %h2;", "%r9", o, [](auto a, auto b, auto) {
    return uint64_t(int32_t(int16_t(a)) * int16_t(b));
  });
  check("mad.wide.u32 %rd9, %r1, %r2, %rd3;", "%rd9", o,
        [](auto a, auto b, auto c) {
          return (a & mask(32)) * (b & mask(32)) + c;
        });
  check("or.b32 %r8, %r2, 1;\ndiv.s32 %r9, %r1, %r8;", "%r9", o,
        [](auto a, auto b, auto) {
          return uint64_t(int64_t(int32_t(a)) / int32_t(b | 1));
        });
  check("or.b64 %rd8, %rd2, 1;\nrem.u64 %rd9, %rd1, %rd8;", "%rd9", o,
        [](auto a, auto b, auto) { return a % (b | 1); });
  check("abs.s32 %r9, %r1;", "%r9", o,
        [](auto a, auto, auto) { return uint64_t(std::llabs(int32_t(a))); });
  check("neg.s64 %rd9, %rd1;", "%rd9", o,
        [](auto a, auto, auto) { return 0 - a; });
  check("min.s16 %h9, %h1, %h2;", "%h9", o, [](auto a, auto b, auto) {
    return uint64_t(std::min(int16_t(a), int16_t(b)));
  });
  check("max.u32 %r9, %r1, %r2;", "%r9", o, [](auto a, auto b, auto) {
    return std::max(uint32_t(a), uint32_t(b));
  });
  check("sad.s32 %r9, %r1, %r2, %r3;", "%r9", o, [](auto a, auto b, auto c) {
    return uint64_t(std::llabs(int64_t(int32_t(a)) - int32_t(b))) + c;
  });
}

TEST(PtxArithmeticTest, Bits) {
  Operands o = Operands::integers();
  check("and.b32 %r8, %r1, %r2;\nxor.b32 %r9, %r8, %r3;", "%r9", o,
        [](auto a, auto b, auto c) { return (a & b) ^ c; });
  check("not.b64 %rd9, %rd1;", "%rd9", o,
        [](auto a, auto, auto) { return ~a; });
  check("shl.b32 %r9, %r1, %r2;", "%r9", o, [](auto a, auto b, auto) {
    return (b & mask(32)) > 31 ? 0 : a << (b & 31);
  });
  check("shr.s32 %r9, %r1, %r2;", "%r9", o, [](auto a, auto b, auto) {
    return uint64_t(int64_t(int32_t(a)) >>
                    std::min<uint64_t>(b & mask(32), 31));
  });
  check("shr.u64 %rd9, %rd1, %r2;", "%rd9", o, [](auto a, auto b, auto) {
    return (b & mask(32)) > 63 ? 0 : a >> (b & 63);
  });
  check("shf.l.wrap.b32 %r9, %r1, %r2, %r3;", "%r9", o,
        [](auto a, auto b, auto c) {
          uint64_t both = b << 32 | (a & mask(32));
          return both << (c & 31) >> 32;
        });
  check("shf.r.clamp.b32 %r9, %r1, %r2, %r3;", "%r9", o,
        [](auto a, auto b, auto c) {
          uint64_t both = b << 32 | (a & mask(32));
          return both >> std::min<uint64_t>(c & mask(32), 32);
        });
  check("and.b32 %r8, %r2, 31;\nand.b32 %r7, %r3, 15;\nbfe.u32 %r9, %r1, %r8, "
        "%r7;",
        "%r9", o, [](auto a, auto b, auto c) {
          return (a & mask(32)) >> (b & 31) & mask(c & 15);
        });
  check("and.b32 %r8, %r2, 15;\nand.b32 %r7, %r3, 15;\nor.b32 %r7, %r7, 1;\n"
        "bfe.s32 %r9, %r1, %r8, %r7;",
        "%r9", o, [](auto a, auto b, auto c) {
          unsigned length = (c & 15) | 1;
          return uint64_t(
              int64_t((a & mask(32)) >> (b & 15) << (64 - length)) >>
              (64 - length));
        });
  check("and.b32 %r8, %r3, 15;\nbfi.b32 %r9, %r1, %r2, %r8, 7;", "%r9", o,
        [](auto a, auto b, auto c) {
          uint64_t field = 0x7full << (c & 15);
          return (b & ~field) | (a << (c & 15) & field);
        });
  check("clz.b32 %r9, %r1;", "%r9", o, [](auto a, auto, auto) {
    return uint64_t(std::countl_zero(uint32_t(a)));
  });
  check("popc.b64 %r9, %rd1;", "%r9", o,
        [](auto a, auto, auto) { return uint64_t(std::popcount(a)); });
  check("bfind.s32 %r9, %r1;", "%r9", o, [](auto a, auto, auto) {
    uint32_t bits = int32_t(a) < 0 ? ~uint32_t(a) : uint32_t(a);
    for (int i = 31; i >= 0; --i)
      if (bits >> i & 1)
        return uint64_t(i);
    return mask(32);
  });
  check("brev.b32 %r9, %r1;", "%r9", o, [](auto a, auto, auto) {
    uint64_t result = 0;
    for (unsigned i = 0; i < 32; ++i)
      result |= (a >> i & 1) << (31 - i);
    return result;
  });
  // 0xea is (a & b) | c for the table's order of operands.
  check("lop3.b32 %r9, %r1, %r2, %r3, 0xea;", "%r9", o,
        [](auto a, auto b, auto c) { return (a & b) | c; });
  check("prmt.b32 %r9, %r1, %r2, 0x7531;", "%r9", o, [](auto a, auto b, auto) {
    return (a >> 8 & 0xff) | (a >> 24 & 0xff) << 8 | (b >> 8 & 0xff) << 16 |
           (b >> 24 & 0xff) << 24;
  });
  check("prmt.b32 %r9, %r1, %r2, 0x0098;", "%r9", o, [](auto a, auto, auto) {
    auto sign = [&](unsigned i) {
      return uint64_t(a >> (8 * i + 7) & 1 ? 0xff : 0);
    };
    return sign(0) | sign(1) << 8 | (a & 0xff) << 16 | (a & 0xff) << 24;
  });
  check("szext.wrap.s32 %r9, %r1, 5;", "%r9", o, [](auto a, auto, auto) {
    return uint64_t(int32_t(uint32_t(a) << 27) >> 27);
  });
  check("dp4a.u32.s32 %r9, %r1, %r2, %r3;", "%r9", o,
        [](auto a, auto b, auto c) {
          int64_t sum = int32_t(c);
          for (unsigned i = 0; i < 4; ++i)
            sum += int64_t(uint8_t(a >> 8 * i)) * int8_t(b >> 8 * i);
          return uint64_t(sum);
        });
  check("mov.b64 {%r8, %r9}, %rd1;", "%r9", o,
        [](auto a, auto, auto) { return a >> 32; });
  check("mov.b32 {%h8, _}, %r1;\nmov.b32 %r9, {%h2, %h8};", "%r9", o,
        [](auto a, auto b, auto) { return (b & 0xffff) | (a & 0xffff) << 16; });
  check("{\n.reg .b32 %r9;\nadd.s32 %r9, %r1, 1;\nmov.b32 %r8, %r9;\n}", "%r8",
        o, [](auto a, auto, auto) { return a + 1; });
}

TEST(PtxArithmeticTest, Floats) {
  Operands o = Operands::floats();
  check("add.rn.f32 %f9, %f1, %f2;", "%f9", o,
        [](auto a, auto b, auto) { return bitsOf(f32(a) + f32(b)); });
  check("mul.f32 %f9, %f1, %f2;", "%f9", o,
        [](auto a, auto b, auto) { return bitsOf(f32(a) * f32(b)); });
  check("fma.rn.f32 %f9, %f1, %f2, %f3;", "%f9", o, [](auto a, auto b, auto c) {
    return bitsOf(std::fma(f32(a), f32(b), f32(c)));
  });
  check("div.rn.f32 %f9, %f1, %f2;", "%f9", o,
        [](auto a, auto b, auto) { return bitsOf(f32(a) / f32(b)); });
  check(
      "abs.f32 %f8, %f1;\nsqrt.rn.f32 %f9, %f8;", "%f9", o,
      [](auto a, auto, auto) { return bitsOf(std::sqrt(std::fabs(f32(a)))); });
  check("add.rn.ftz.f32 %f9, %f1, %f2;", "%f9", o, [](auto a, auto b, auto) {
    auto flush = [](float x) {
      return std::fpclassify(x) == FP_SUBNORMAL ? std::copysign(0.0f, x) : x;
    };
    return bitsOf(flush(flush(f32(a)) + flush(f32(b))));
  });
  check("add.rn.sat.f32 %f9, %f1, %f2;", "%f9", o, [](auto a, auto b, auto) {
    float sum = f32(a) + f32(b);
    return bitsOf(std::isnan(sum) || sum <= 0 ? 0.0f : std::min(sum, 1.0f));
  });
  check("max.f32 %f9, %f1, %f2;", "%f9", o, [](auto a, auto b, auto) {
    float x = f32(a), y = f32(b);
    if (x == 0 && y == 0)
      return bitsOf(std::signbit(x) && std::signbit(y) ? -0.0f : 0.0f);
    return bitsOf(std::fmax(x, y));
  });
  check("min.NaN.f32 %f9, %f1, %f2;", "%f9", o, [](auto a, auto b, auto) {
    float x = f32(a), y = f32(b);
    if (std::isnan(x) || std::isnan(y))
      return bitsOf(NAN);
    if (x == 0 && y == 0)
      return bitsOf(std::signbit(x) || std::signbit(y) ? -0.0f : 0.0f);
    return bitsOf(std::min(x, y));
  });
  check("neg.f32 %f9, %f1;", "%f9", o,
        [](auto a, auto, auto) { return a ^ 0x80000000; });
  check("setp.lt.f32 %p1, %f1, %f2;", "%p1", o,
        [](auto a, auto b, auto) { return uint64_t(f32(a) < f32(b)); });
  check("setp.geu.f32 %p1, %f1, %f2;", "%p1", o,
        [](auto a, auto b, auto) { return uint64_t(!(f32(a) < f32(b))); });
  check("setp.nan.f32 %p1, %f1, %f2;", "%p1", o, [](auto a, auto b, auto) {
    return uint64_t(std::isnan(f32(a)) || std::isnan(f32(b)));
  });
  check("setp.gt.f32 %p2|%p1, %f1, %f2;", "%p1", o,
        [](auto a, auto b, auto) { return uint64_t(!(f32(a) > f32(b))); });
  check("setp.eq.f32 %p2, %f1, %f1;\nsetp.lt.and.f32 %p1, %f1, %f2, !%p2;",
        "%p1", o, [](auto, auto, auto) { return uint64_t(0); });
  check("copysign.f32 %f9, %f1, %f2;", "%f9", o, [](auto a, auto b, auto) {
    return (b & 0x7fffffff) | (a & 0x80000000);
  });
  check("testp.finite.f32 %p1, %f1;", "%p1", o,
        [](auto a, auto, auto) { return uint64_t(std::isfinite(f32(a))); });
  check("set.gt.u32.f32 %r9, %f1, %f2;", "%r9", o,
        [](auto a, auto b, auto) { return f32(a) > f32(b) ? mask(32) : 0; });
  Operands d = Operands::doubles();
  check("fma.rn.f64 %d9, %d1, %d2, %d3;", "%d9", d, [](auto a, auto b, auto c) {
    return bitsOf(std::fma(f64(a), f64(b), f64(c)));
  });
  check("div.rn.f64 %d9, %d1, %d2;", "%d9", d,
        [](auto a, auto b, auto) { return bitsOf(f64(a) / f64(b)); });
}

/// x + y rounded to f32 in one direction, by stepping from the nearest.
float directed(long double exact, int direction) {
  float near = static_cast<float>(exact);
  if (direction == 0 && exact != 0) // to zero
    direction = exact > 0 ? -1 : 1;
  if (direction < 0 && static_cast<long double>(near) > exact)
    return std::nextafterf(near, -INFINITY);
  if (direction > 0 && static_cast<long double>(near) < exact)
    return std::nextafterf(near, INFINITY);
  return near;
}

TEST(PtxArithmeticTest, DirectedRounding) {
  // Of like magnitude, so that a long double holds the exact result.
  Operands o;
  std::mt19937_64 random(5);
  for (auto &values : o.values)
    for (unsigned i = 0; i < kThreads; ++i)
      values.push_back(bitsOf(
          std::ldexp(float(int64_t(random()) >> 40), -int(random() % 8))));
  for (auto [name, direction] : {std::pair{"rz", 0}, {"rm", -1}, {"rp", 1}}) {
    std::string mode = name;
    int way = direction;
    check("add." + mode + ".f32 %f9, %f1, %f2;", "%f9", o,
          [way](auto a, auto b, auto) {
            return bitsOf(
                directed(static_cast<long double>(f32(a)) + f32(b), way));
          });
    check("mul." + mode + ".f32 %f9, %f1, %f2;", "%f9", o,
          [way](auto a, auto b, auto) {
            return bitsOf(
                directed(static_cast<long double>(f32(a)) * f32(b), way));
          });
    check("fma." + mode + ".f32 %f9, %f1, %f2, %f3;", "%f9", o,
          [way](auto a, auto b, auto c) {
            return bitsOf(directed(
                static_cast<long double>(f32(a)) * f32(b) + f32(c), way));
          });
  }
}

TEST(PtxArithmeticTest, Approximations) {
  Operands o = Operands::floats();
  auto close = [&](const std::string &code, auto function) {
    std::vector<uint64_t> result = evaluate(code, "%f9", o.values);
    for (unsigned i = 0; i < kThreads; ++i) {
      float want = function(double(std::fabs(f32(o.values[0][i])))),
            got = f32(result[i]);
      if (std::isnan(want))
        EXPECT_TRUE(std::isnan(got)) << code;
      else if (std::isinf(want) || want == 0)
        EXPECT_EQ(got, want) << code;
      else
        EXPECT_NEAR(got / want, 1, 1e-6)
            << code << " of " << f32(o.values[0][i]);
    }
  };
  close("abs.f32 %f8, %f1;\nex2.approx.f32 %f9, %f8;",
        [](double x) { return std::exp2(x); });
  close("abs.f32 %f8, %f1;\nlg2.approx.f32 %f9, %f8;",
        [](double x) { return std::log2(x); });
  close("abs.f32 %f8, %f1;\nrsqrt.approx.f32 %f9, %f8;",
        [](double x) { return 1 / std::sqrt(x); });
  close("abs.f32 %f8, %f1;\nrcp.approx.f32 %f9, %f8;",
        [](double x) { return 1 / x; });
  close("abs.f32 %f8, %f1;\ntanh.approx.f32 %f9, %f8;",
        [](double x) { return std::tanh(x); });
}

//===----------------------------------------------------------------------===//
// Narrow floats
//===----------------------------------------------------------------------===//

struct Format {
  unsigned exponentBits, mantissaBits;
  bool infinity;
};
constexpr Format kHalf{5, 10, true}, kE4M3{4, 3, false}, kE5M2{5, 2, true};

double valueOf(Format format, unsigned bits) {
  int bias = (1 << (format.exponentBits - 1)) - 1;
  int exponent = bits >> format.mantissaBits & ((1 << format.exponentBits) - 1);
  unsigned mantissa = bits & ((1 << format.mantissaBits) - 1);
  double sign =
      bits >> (format.exponentBits + format.mantissaBits) & 1 ? -1 : 1;
  if (format.infinity && exponent == (1 << format.exponentBits) - 1)
    return mantissa ? NAN : sign * INFINITY;
  if (!format.infinity && (bits & 0x7f) == 0x7f)
    return NAN;
  double fraction = std::ldexp(double(mantissa), -int(format.mantissaBits));
  return sign * (exponent ? std::ldexp(1 + fraction, exponent - bias)
                          : std::ldexp(fraction, 1 - bias));
}

/// Nearest value of the format, ties to even; what is beyond the largest by
/// half a unit becomes infinite, or the largest if `saturate`.
uint64_t nearest(Format format, double x, bool saturate = false) {
  unsigned width = format.exponentBits + format.mantissaBits;
  uint64_t sign = uint64_t(std::signbit(x)) << width;
  if (std::isnan(x))
    return (1u << width) - 1;
  unsigned largest =
      format.infinity
          ? (((1u << format.exponentBits) - 1) << format.mantissaBits) - 1
          : (1u << width) - 2;
  double magnitude = std::fabs(x), best = INFINITY,
         top = valueOf(format, largest);
  if (magnitude >= top + (top - valueOf(format, largest - 1)) / 2)
    return sign | (saturate ? largest : largest + 1);
  // Magnitudes grow with their bits: only the two neighbours can be nearest.
  unsigned below = 0, above = largest;
  while (above - below > 1) {
    unsigned middle = (below + above) / 2;
    (valueOf(format, middle) <= magnitude ? below : above) = middle;
  }
  uint64_t found = 0;
  for (unsigned bits : {below, above}) {
    double distance = std::fabs(valueOf(format, bits) - magnitude);
    if (distance < best || (distance == best && bits % 2 == 0)) {
      best = distance;
      found = bits;
    }
  }
  return sign | found;
}

TEST(PtxArithmeticTest, ConversionsOfNarrowFloats) {
  Operands o = Operands::floats();
  check("cvt.rn.f16.f32 %h9, %f1;", "%h9", o,
        [](auto a, auto, auto) { return nearest(kHalf, f32(a)); });
  check("cvt.rn.bf16.f32 %h9, %f1;", "%h9", o, [](auto a, auto, auto) {
    // f32 has the same exponents.
    float x = f32(a);
    if (std::isnan(x))
      return uint64_t(0x7fff);
    uint64_t down = (a & mask(32)) >> 16, rest = a & 0xffff;
    return down + (rest > 0x8000 || (rest == 0x8000 && down % 2));
  });
  check("cvt.rn.f16x2.f32 %r9, %f1, %f2;", "%r9", o, [](auto a, auto b, auto) {
    return nearest(kHalf, f32(a)) << 16 | nearest(kHalf, f32(b));
  });
  check("cvt.rn.satfinite.e4m3x2.f32 %h9, %f1, %f2;", "%h9", o,
        [](auto a, auto b, auto) {
          return nearest(kE4M3, f32(a), true) << 8 |
                 nearest(kE4M3, f32(b), true);
        });
  check("cvt.rn.satfinite.e5m2x2.f32 %h9, %f1, %f2;", "%h9", o,
        [](auto a, auto b, auto) {
          return nearest(kE5M2, f32(a), true) << 8 |
                 nearest(kE5M2, f32(b), true);
        });
  Operands i = Operands::integers();
  check("cvt.f32.f16 %f9, %h1;", "%f9", i, [](auto a, auto, auto) {
    return bitsOf(float(valueOf(kHalf, a & 0xffff)));
  });
  check("cvt.rn.f16x2.e4m3x2 %r9, %h1;", "%r9", i, [](auto a, auto, auto) {
    return nearest(kHalf, valueOf(kE4M3, a & 0xff)) |
           nearest(kHalf, valueOf(kE4M3, a >> 8 & 0xff)) << 16;
  });
}

TEST(PtxArithmeticTest, Conversions) {
  Operands o = Operands::integers(), f = Operands::floats();
  check("cvt.s64.s32 %rd9, %r1;", "%rd9", o,
        [](auto a, auto, auto) { return uint64_t(int64_t(int32_t(a))); });
  check("cvt.s32.s8 %r9, %r1;", "%r9", o,
        [](auto a, auto, auto) { return uint64_t(int64_t(int8_t(a))); });
  check("cvt.u16.u32 %h9, %r1;", "%h9", o,
        [](auto a, auto, auto) { return a; });
  check("cvt.rn.f32.u32 %f9, %r1;", "%f9", o,
        [](auto a, auto, auto) { return bitsOf(float(uint32_t(a))); });
  check("cvt.rn.f32.s64 %f9, %rd1;", "%f9", o,
        [](auto a, auto, auto) { return bitsOf(float(int64_t(a))); });
  check("cvt.rz.f32.s64 %f9, %rd1;", "%f9", o, [](auto a, auto, auto) {
    return bitsOf(directed(static_cast<long double>(int64_t(a)), 0));
  });
  check("cvt.sat.u8.s32 %r9, %r1;", "%r9", o, [](auto a, auto, auto) {
    return uint64_t(std::clamp<int64_t>(int32_t(a), 0, 255));
  });
  check("cvt.rzi.s32.f32 %r9, %f1;", "%r9", f, [](auto a, auto, auto) {
    double x = f32(a);
    return std::isnan(x) ? 0
                         : uint64_t(int64_t(std::clamp(
                               std::trunc(x), -2147483648.0, 2147483647.0)));
  });
  check("cvt.rni.u32.f32 %r9, %f1;", "%r9", f, [](auto a, auto, auto) {
    double x = f32(a);
    return std::isnan(x)
               ? 0
               : uint64_t(std::clamp(std::nearbyint(x), 0.0, 4294967295.0));
  });
  check("cvt.rmi.f32.f32 %f9, %f1;", "%f9", f,
        [](auto a, auto, auto) { return bitsOf(std::floor(f32(a))); });
  check("cvt.f64.f32 %d9, %f1;", "%d9", f,
        [](auto a, auto, auto) { return bitsOf(double(f32(a))); });
  check("cvt.rn.f32.f64 %f9, %d1;", "%f9", Operands::doubles(),
        [](auto a, auto, auto) { return bitsOf(float(f64(a))); });
  check("cvt.rna.tf32.f32 %r9, %f1;\nmov.b32 %f9, %r9;", "%f9", f,
        [](auto a, auto, auto) {
          if (!std::isfinite(f32(a)))
            return a;
          return (a + 0x1000) & ~uint64_t(0x1fff) & mask(32);
        });
}

TEST(PtxArithmeticTest, HalfArithmetic) {
  // Finite f16 values in both halves.
  Operands o;
  std::mt19937_64 random(17);
  for (auto &values : o.values)
    for (unsigned i = 0; i < kThreads; ++i) {
      auto one = [&] {
        return (random() & 0x83ff) | (random() % 27 + 2) << 10;
      };
      values.push_back(one() | one() << 16);
    }
  auto half = [](uint64_t bits) { return valueOf(kHalf, bits & 0xffff); };
  check("add.rn.f16 %h9, %h1, %h2;", "%h9", o, [&](auto a, auto b, auto) {
    return nearest(kHalf, half(a) + half(b));
  });
  check("mul.rn.f16x2 %r9, %r1, %r2;", "%r9", o, [&](auto a, auto b, auto) {
    return nearest(kHalf, half(a) * half(b)) |
           nearest(kHalf, half(a >> 16) * half(b >> 16)) << 16;
  });
  check("fma.rn.f16 %h9, %h1, %h2, %h3;", "%h9", o,
        [&](auto a, auto b, auto c) {
          return nearest(kHalf, half(a) * half(b) + half(c));
        });
  check("sub.f16x2 %r9, %r1, %r2;", "%r9", o, [&](auto a, auto b, auto) {
    return nearest(kHalf, half(a) - half(b)) |
           nearest(kHalf, half(a >> 16) - half(b >> 16)) << 16;
  });
  check("max.f16x2 %r9, %r1, %r2;", "%r9", o, [&](auto a, auto b, auto) {
    auto larger = [&](uint64_t x, uint64_t y) {
      return (half(x) > half(y) ? x : y) & 0xffff;
    };
    return larger(a, b) | larger(a >> 16, b >> 16) << 16;
  });
  auto bfloat = [](uint64_t bits) { return double(f32(bits << 16)); };
  auto toBFloat = [](double exact) {
    // Both neighbours; the sums here are exact in f64.
    uint64_t bits = bitsOf(float(exact)), down = bits >> 16;
    if (std::isinf(float(exact)))
      return down;
    double low = f32(down << 16), high = f32((down + 1) << 16);
    // Beyond the largest number the next step counts, which is infinite.
    if (std::isinf(high))
      high = std::copysign(0x1p128, exact);
    double below = std::fabs(exact - low), above = std::fabs(exact - high);
    return below < above || (below == above && down % 2 == 0) ? down : down + 1;
  };
  check("fma.rn.bf16 %h9, %h1, %h2, %h3;", "%h9", o,
        [&](auto a, auto b, auto c) {
          return toBFloat(bfloat(a) * bfloat(b) + bfloat(c));
        });
  check("mul.rn.bf16x2 %r9, %r1, %r2;", "%r9", o, [&](auto a, auto b, auto) {
    return toBFloat(bfloat(a & 0xffff) * bfloat(b & 0xffff)) |
           toBFloat(bfloat(a >> 16 & 0xffff) * bfloat(b >> 16 & 0xffff)) << 16;
  });
}

} // namespace
