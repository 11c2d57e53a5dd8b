//===- TensorCoreTest.cpp - Fragments of mma, ldmatrix and wgmma ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Fragment layouts are written down here as the figures of the PTX ISA show
// them. Operands are small integers, so that every order of sums is exact.
//
//===----------------------------------------------------------------------===//

#include "TestKernel.h"

#include <bit>
#include <cmath>

using namespace quantopt::ptx;

namespace {

/// Bits of a small integer in a format of so many exponent and mantissa bits.
uint32_t encode(int value, unsigned exponentBits, unsigned mantissaBits) {
  if (value == 0)
    return 0;
  int exponent = std::ilogb(double(value));
  auto mantissa =
      uint32_t(std::ldexp(std::abs(value), int(mantissaBits) - exponent));
  uint32_t bias = (1u << (exponentBits - 1)) - 1;
  return uint32_t(value < 0) << (exponentBits + mantissaBits) |
         ((exponent + bias - 1) << mantissaBits) + mantissa;
}

struct Shape {
  const char *name; ///< shape and types
  unsigned k, bits, exponentBits, mantissaBits;
  bool halfSums = false, isInteger = false;
};

/// One warp: registers of A, B and C come from memory, word r * 32 + lane.
void checkMma(const Shape &shape) {
  unsigned perWord = 32 / shape.bits, wordsA = 16 * shape.k / perWord / 32,
           wordsB = wordsA / 2;
  unsigned wordsC = shape.halfSums ? 2 : 4;
  std::string body = "ld.param.u64 %rd1, [p0];\nmov.u32 %r40, %laneid;\n"
                     "mad.wide.u32 %rd1, %r40, 4, %rd1;\n";
  std::string lists[4];
  unsigned words = 0;
  for (unsigned part = 0; part < 3; ++part)
    for (unsigned i = 0; i < (part == 0   ? wordsA
                              : part == 1 ? wordsB
                                          : wordsC);
         ++i, ++words) {
      std::string name = "%r" + std::to_string(words);
      body += "ld.global.b32 " + name + ", [%rd1+" +
              std::to_string(128 * words) + "];\n";
      lists[part] += (i ? "," : "") + name;
    }
  for (unsigned i = 0; i < wordsC; ++i)
    lists[3] += (i ? ",%r" : "%r") + std::to_string(50 + i);
  body += "mma.sync.aligned." + std::string(shape.name) + " {" + lists[3] +
          "}, {" + lists[0] + "}, {" + lists[1] + "}, {" + lists[2] +
          "};\nld.param.u64 %rd2, [p1];\n" +
          "mad.wide.u32 %rd2, %r40, 4, %rd2;\n";
  for (unsigned i = 0; i < wordsC; ++i)
    body += "st.global.b32 [%rd2+" + std::to_string(128 * i) + "], %r" +
            std::to_string(50 + i) + ";\n";
  auto module = parseKernel(kernelText(body));
  ASSERT_TRUE(module) << shape.name;
  DeviceMemory memory;
  Buffer<uint32_t> in(memory, words * 32), out(memory, wordsC * 32);
  auto valueA = [](unsigned row, unsigned k) {
    return int(row * 7 + k * 5) % 13 - 6;
  };
  auto valueB = [](unsigned k, unsigned column) {
    return int(k * 3 + column * 11) % 9 - 4;
  };
  auto valueC = [](unsigned row, unsigned column) {
    return int(row + 2 * column) % 5;
  };
  auto element = [&](int value) {
    return shape.isInteger
               ? uint32_t(value) & 0xff
               : encode(value, shape.exponentBits, shape.mantissaBits);
  };
  auto sumBits = [&](int value) {
    return shape.isInteger  ? uint32_t(value)
           : shape.halfSums ? encode(value, 5, 10)
                            : std::bit_cast<uint32_t>(float(value));
  };
  std::memset(in.data(), 0, in.count * 4);
  for (unsigned lane = 0; lane < 32; ++lane) {
    unsigned group = lane / 4, thread = lane % 4;
    for (unsigned r = 0; r < wordsA; ++r)
      for (unsigned i = 0; i < perWord; ++i)
        in[r * 32 + lane] |=
            element(valueA(group + (r % 2 ? 8 : 0),
                           thread * perWord + i + (r / 2 ? 4 * perWord : 0)))
            << (shape.bits * i);
    for (unsigned r = 0; r < wordsB; ++r)
      for (unsigned i = 0; i < perWord; ++i)
        in[(wordsA + r) * 32 + lane] |=
            element(valueB(thread * perWord + i + r * 4 * perWord, group))
            << (shape.bits * i);
    for (unsigned i = 0; i < 4; ++i) {
      uint32_t bits =
          sumBits(valueC(group + (i / 2 ? 8 : 0), thread * 2 + i % 2));
      unsigned word = shape.halfSums ? i / 2 : i;
      in[(wordsA + wordsB + word) * 32 + lane] |=
          bits << (shape.halfSums ? 16 * (i % 2) : 0);
    }
  }
  ASSERT_EQ(runKernel(*module, memory, {1}, {32}, {in.address, out.address}),
            "")
      << shape.name;
  for (unsigned lane = 0; lane < 32; ++lane)
    for (unsigned i = 0; i < 4; ++i) {
      unsigned row = lane / 4 + (i / 2 ? 8 : 0), column = lane % 4 * 2 + i % 2;
      int sum = valueC(row, column);
      for (unsigned k = 0; k < shape.k; ++k)
        sum += valueA(row, k) * valueB(k, column);
      uint32_t got = shape.halfSums
                         ? out[i / 2 * 32 + lane] >> 16 * (i % 2) & 0xffff
                         : out[i * 32 + lane];
      EXPECT_EQ(got, sumBits(sum))
          << shape.name << ", row " << row << ", column " << column;
    }
}

TEST(PtxTensorCoreTest, MmaFragments) {
  checkMma({"m16n8k16.row.col.f32.f16.f16.f32", 16, 16, 5, 10});
  checkMma({"m16n8k16.row.col.f32.bf16.bf16.f32", 16, 16, 8, 7});
  checkMma({"m16n8k16.row.col.f16.f16.f16.f16", 16, 16, 5, 10, true});
  checkMma({"m16n8k8.row.col.f32.f16.f16.f32", 8, 16, 5, 10});
  checkMma({"m16n8k8.row.col.f32.bf16.bf16.f32", 8, 16, 8, 7});
  checkMma({"m16n8k8.row.col.f32.tf32.tf32.f32", 8, 32, 8, 23});
  checkMma({"m16n8k32.row.col.f32.e4m3.e4m3.f32", 32, 8, 4, 3});
  checkMma({"m16n8k32.row.col.f32.e5m2.e5m2.f32", 32, 8, 5, 2});
  checkMma({"m16n8k32.row.col.s32.s8.s8.s32", 32, 8, 0, 0, false, true});
  checkMma({"m16n8k16.row.col.s32.s8.s8.s32", 16, 8, 0, 0, false, true});
}

// Four 8x8 matrices: lane l names row l % 8 of matrix l / 8; they go back by
// stmatrix, transposed if they were loaded so.
TEST(PtxTensorCoreTest, LdmatrixAndStmatrix) {
  for (bool transposed : {false, true}) {
    std::string trans = transposed ? ".trans" : "";
    auto module = parseKernel(
        kernelText(R"(
  .shared .align 16 .b8 s[1024];
  ld.param.u64 %rd1, [p0];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %laneid;
  mov.u32 %r2, s;
  mad.lo.u32 %r3, %r1, 16, %r2;
  mad.wide.u32 %rd1, %r1, 16, %rd1;
  ld.global.v4.u32 {%r4,%r5,%r6,%r7}, [%rd1];
  st.shared.v4.u32 [%r3], {%r4,%r5,%r6,%r7};
  bar.warp.sync 0xffffffff;
  ldmatrix.sync.aligned.m8n8.x4)" +
                   trans + R"(.shared.b16 {%r10,%r11,%r12,%r13}, [%r3];
  stmatrix.sync.aligned.m8n8.x4)" +
                   trans + R"(.shared.b16 [%r3+512], {%r10,%r11,%r12,%r13};
  bar.warp.sync 0xffffffff;
  ld.shared.v4.u32 {%r20,%r21,%r22,%r23}, [%r3+512];
  mad.wide.u32 %rd2, %r1, 32, %rd2;
  st.global.v4.u32 [%rd2], {%r10,%r11,%r12,%r13};
  st.global.v4.u32 [%rd2+16], {%r20,%r21,%r22,%r23};
)"));
    ASSERT_TRUE(module);
    DeviceMemory memory;
    Buffer<uint16_t> in(memory, 256), out(memory, 512);
    for (unsigned i = 0; i < 256; ++i)
      in[i] = i;
    ASSERT_EQ(runKernel(*module, memory, {1}, {32}, {in.address, out.address}),
              "");
    for (unsigned lane = 0; lane < 32; ++lane) {
      for (unsigned matrix = 0; matrix < 4; ++matrix)
        for (unsigned i = 0; i < 2; ++i) {
          unsigned row = lane / 4, column = lane % 4 * 2 + i;
          if (transposed)
            std::swap(row, column);
          EXPECT_EQ(out[lane * 16 + 2 * matrix + i],
                    matrix * 64 + row * 8 + column);
        }
      for (unsigned i = 0; i < 8; ++i)
        EXPECT_EQ(out[lane * 16 + 8 + i], lane * 8 + i);
    }
  }
}

// Every instruction must be the same in all lanes of a warp.
TEST(PtxTensorCoreTest, LdmatrixOutOfBounds) {
  auto module = parseKernel(kernelText(R"(
  .shared .align 16 .b8 s[496];
  mov.u32 %r1, %laneid;
  mov.u32 %r2, s;
  mad.lo.u32 %r3, %r1, 16, %r2;
  ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r10,%r11,%r12,%r13}, [%r3];
)"));
  DeviceMemory memory;
  EXPECT_NE(runKernel(*module, memory, {1}, {32}, {0, 0}).find("out of bounds"),
            std::string::npos);
}

// D [64, 24] of wgmma with A from shared memory, without swizzle, K-major; the
// accumulators start at 1 and the second product is subtracted.
TEST(PtxTensorCoreTest, WgmmaWithoutSwizzle) {
  std::string sums, body = R"(
  .shared .align 128 .b8 a[2048];
  .shared .align 128 .b8 b[768];
  ld.param.u64 %rd1, [p0];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, a;
  mov.u32 %r3, b;
  mad.lo.u32 %r4, %r1, 16, %r2;
  mad.wide.u32 %rd3, %r1, 16, %rd1;
  ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%rd3];
  st.shared.v4.u32 [%r4], {%r5,%r6,%r7,%r8};
  setp.lt.u32 %p1, %r1, 48;
  mad.lo.u32 %r4, %r1, 16, %r3;
  @%p1 ld.global.v4.u32 {%r5,%r6,%r7,%r8}, [%rd3+2048];
  @%p1 st.shared.v4.u32 [%r4], {%r5,%r6,%r7,%r8};
  fence.proxy.async.shared::cta;
  bar.sync 0;
  shr.u32 %r9, %r2, 4;
  cvt.u64.u32 %rd4, %r9;
  or.b64 %rd4, %rd4, 0x800400000;
  shr.u32 %r9, %r3, 4;
  cvt.u64.u32 %rd5, %r9;
  or.b64 %rd5, %rd5, 0x800180000;
  setp.ne.b32 %p2, 1, 0;
)";
  for (unsigned i = 0; i < 12; ++i) {
    body += "mov.f32 %f" + std::to_string(i) + ", 0f3F800000;\n";
    sums += (i ? ",%f" : "%f") + std::to_string(i);
  }
  body +=
      "wgmma.fence.sync.aligned;\nwgmma.mma_async.sync.aligned.m64n24k16.f32."
      "f16.f16 {" +
      sums +
      "}, %rd4, %rd5, %p2, -1, 1, 0, 0;\nwgmma.commit_group.sync.aligned;\n"
      "wgmma.wait_group.sync.aligned 0;\nmad.wide.u32 %rd6, %r1, 48, %rd2;\n";
  for (unsigned i = 0; i < 12; ++i)
    body += "st.global.f32 [%rd6+" + std::to_string(4 * i) + "], %f" +
            std::to_string(i) + ";\n";
  auto module = parseKernel(kernelText(body));
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint16_t> in(memory, 1024 + 384);
    Buffer<float> out(memory, 128 * 12);
    auto valueA = [](unsigned row, unsigned k) {
      return int(row * 7 + k * 5) % 13 - 6;
    };
    auto valueB = [](unsigned n, unsigned k) {
      return int(k * 3 + n * 11) % 9 - 4;
    };
    // Blocks of 8 rows and 8 columns, 128 bytes each: first all rows of the
    // first 8 columns (stride 128 bytes), then the others.
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned row = 0; row < 64; ++row)
        in[k / 8 * 512 + row * 8 + k % 8] = encode(valueA(row, k), 5, 10);
      for (unsigned n = 0; n < 24; ++n)
        in[1024 + k / 8 * 192 + n * 8 + k % 8] = encode(valueB(n, k), 5, 10);
    }
    ASSERT_EQ(runKernel(*module, memory, {1}, {128}, {in.address, out.address},
                        schedule.options),
              "");
    for (unsigned thread = 0; thread < 128; ++thread)
      for (unsigned i = 0; i < 12; ++i) {
        unsigned row = thread / 32 * 16 + thread % 32 / 4 + (i / 2 % 2 ? 8 : 0);
        unsigned column = i / 4 * 8 + thread % 4 * 2 + i % 2;
        int sum = 1;
        for (unsigned k = 0; k < 16; ++k)
          sum -= valueA(row, k) * valueB(column, k);
        EXPECT_EQ(out[thread * 12 + i], float(sum)) << row << ", " << column;
      }
  }
}

} // namespace
