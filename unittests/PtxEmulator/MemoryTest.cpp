//===- MemoryTest.cpp - State spaces, accesses and atomics ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestKernel.h"

using namespace quantopt::ptx;

namespace {

std::string errorOf(const std::string &body, uint64_t bytes = 64) {
  auto module = parseKernel(kernelText(body, 1));
  if (!module)
    return "not parsed";
  DeviceMemory memory;
  Buffer<uint8_t> buffer(memory, bytes);
  return runKernel(*module, memory, {1}, {1}, {buffer.address});
}

bool contains(const std::string &text, const std::string &part) {
  return text.find(part) != std::string::npos;
}

TEST(PtxMemoryTest, DeviceMemoryKnowsItsAllocations) {
  DeviceMemory memory;
  uint64_t a = memory.allocate(100), b = memory.allocate(1);
  EXPECT_EQ(a % 256, 0u);
  ASSERT_TRUE(memory.data(a, 100));
  EXPECT_EQ(*memory.data(a, 100), 0xff);
  EXPECT_FALSE(memory.data(a, 101));
  EXPECT_FALSE(memory.data(a - 1, 1));
  EXPECT_TRUE(memory.data(a + 99, 1));
  EXPECT_EQ(memory.bounds(b).second, b + 1);
  EXPECT_FALSE(memory.free(a + 1));
  EXPECT_TRUE(memory.free(a));
  EXPECT_FALSE(memory.free(a));
  EXPECT_FALSE(memory.data(a, 1));
}

TEST(PtxMemoryTest, BoundsAndAlignmentOfEachSpace) {
  const std::string load = "ld.param.u64 %rd1, [p0];\n";
  EXPECT_EQ(errorOf(load + "ld.global.u32 %r1, [%rd1+60];"), "");
  EXPECT_TRUE(contains(errorOf(load + "ld.global.u32 %r1, [%rd1+64];"),
                       "0 bytes behind"));
  EXPECT_TRUE(contains(errorOf(load + "ld.global.u32 %r1, [%rd1+-4];"),
                       "out of bounds"));
  EXPECT_TRUE(
      contains(errorOf(load + "ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%rd1+8];"),
               "not aligned to 16"));
  EXPECT_TRUE(
      contains(errorOf(load + "ld.global.v2.u64 {%rd2,%rd3}, [%rd1+48];", 56),
               "over the end"));
  EXPECT_TRUE(contains(errorOf(load + "st.global.u16 [%rd1+1], 7;"),
                       "not aligned to 2"));
  EXPECT_TRUE(contains(errorOf("ld.global.u8 %r1, [0];"), "out of bounds"));
  EXPECT_TRUE(contains(errorOf("ld.shared.u8 %r1, [1024];"), "out of bounds"));
  EXPECT_TRUE(contains(errorOf(".local .b8 l[8];\nld.local.u32 %r1, [l+16];"),
                       "out of bounds"));
  EXPECT_TRUE(contains(errorOf("ld.param.u64 %rd1, [p0+8];"), "out of bounds"));
  EXPECT_TRUE(contains(errorOf("ld.global.u8 %r1, [%rd1];"), "never written"));
}

TEST(PtxMemoryTest, TheMessageNamesThreadAndLine) {
  auto module = parseKernel(
      kernelText("mov.u32 %r1, %tid.x;\nmul.wide.u32 %rd1, %r1, 4;\n"
                 "ld.param.u64 %rd2, [p0];\nadd.s64 %rd2, %rd2, %rd1;\n"
                 "st.global.u32 [%rd2], %r1;",
                 1));
  DeviceMemory memory;
  Buffer<uint32_t> buffer(memory, 40);
  std::string error = runKernel(*module, memory, {1}, {64}, {buffer.address});
  EXPECT_TRUE(contains(error, "thread 40")) << error;
  EXPECT_TRUE(contains(error, "st.global.u32 [%rd2], %r1;")) << error;
}

// Copies through every space, with vectors, sub-words and generic addresses.
TEST(PtxMemoryTest, SpacesAndVectors) {
  std::string text = kernelText(R"(
  .local .align 16 .b8 l[32];
  .shared .align 16 .b8 s[64];
  ld.param.u64 %rd1, [p0];
  ld.global.nc.L1::no_allocate.v4.u32 {%r1, %r2, %r3, %r4}, [%rd1];
  mov.u64 %rd2, l;
  cvta.local.u64 %rd3, %rd2;
  st.v2.u32 [%rd3+8], {%r1, %r2};
  ld.local.u64 %rd4, [%rd2+8];
  st.shared.u64 [s+16], %rd4;
  mov.u64 %rd5, s;
  cvta.shared.u64 %rd6, %rd5;
  ld.s8 %r5, [%rd6+19];
  ld.shared.u16 %h1, [s+16];
  cvt.u32.u16 %r6, %h1;
  ld.const.u32 %r7, [table+4];
  ld.global.s32 %rd7, [counter];
  mov.u64 %rd8, counter;
  cvta.global.u64 %rd9, %rd8;
  isspacep.shared %p1, %rd6;
  isspacep.global %p2, %rd9;
  selp.u32 %r8, 1, 0, %p1;
  selp.u32 %r9, 2, 0, %p2;
  add.s32 %r8, %r8, %r9;
  cvta.to.shared.u64 %rd10, %rd6;
  sub.s64 %rd11, %rd10, %rd5;
  cvt.u32.u64 %r10, %rd11;
  st.global.v4.u32 [%rd1], {%r5, %r6, %r7, %r8};
  st.global.u64 [%rd1+16], %rd7;
  st.global.u32 [%rd1+24], %r10;
)",
                                1,
                                ".const .align 4 .u32 table[3] = {5, 6, 7};\n"
                                ".global .align 4 .s32 counter = -3;\n");
  auto module = parseKernel(text);
  ASSERT_TRUE(module);
  DeviceMemory memory;
  Buffer<uint32_t> buffer(memory, {0x84030201, 0x08070605, 3, 4, 0, 0, 9});
  EXPECT_EQ(runKernel(*module, memory, {1}, {1}, {buffer.address}), "");
  EXPECT_EQ(buffer[0], 0xffffff84u);
  EXPECT_EQ(buffer[1], 0x0201u);
  EXPECT_EQ(buffer[2], 6u);
  EXPECT_EQ(buffer[3], 3u);
  EXPECT_EQ(int32_t(buffer[4]), -3);
  EXPECT_EQ(buffer[5], 0xffffffffu); // sign-extended
  EXPECT_EQ(buffer[6], 0u);
}

// The last block to arrive adds up what all of them wrote.
TEST(PtxMemoryTest, LastArriverAcrossBlocks) {
  std::string text = kernelText(R"(
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %ctaid.x;
  mov.u32 %r2, %nctaid.x;
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  add.s32 %r3, %r1, 100;
  st.global.u32 [%rd3], %r3;
  membar.gl;
  atom.global.add.u32 %r4, [arrived], 1;
  sub.s32 %r5, %r2, 1;
  setp.ne.s32 %p1, %r4, %r5;
  @%p1 ret;
  mov.u32 %r6, 0;
  mov.u32 %r7, 0;
$sum:
  ld.global.u32 %r8, [%rd1];
  add.s32 %r6, %r6, %r8;
  add.s64 %rd1, %rd1, 4;
  add.s32 %r7, %r7, 1;
  setp.lt.u32 %p2, %r7, %r2;
  @%p2 bra $sum;
  ld.param.u64 %rd4, [p1];
  st.global.u32 [%rd4], %r6;
  st.global.u32 [arrived], 0;
)",
                                2, ".global .u32 arrived;\n");
  auto module = parseKernel(text);
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> parts(memory, 10), out(memory, 1);
    EXPECT_EQ(runKernel(*module, memory, {10}, {1},
                        {parts.address, out.address}, schedule.options),
              "");
    EXPECT_EQ(out[0], 1045u);
  }
}

TEST(PtxMemoryTest, AtomicsOnSharedMemory) {
  std::string text = kernelText(R"(
  .shared .align 8 .u32 s[4];
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %tid.x;
  setp.ne.s32 %p1, %r1, 0;
  @%p1 bra $start;
  st.shared.v4.u32 [s], {0, 0, 1000, 0};
$start:
  bar.sync 0;
  atom.shared.add.u32 %r2, [s], %r1;
  red.shared.max.s32 [s+4], %r1;
  atom.shared.min.u32 %r3, [s+8], %r1;
  cvt.rn.f32.u32 %f1, %r1;
  red.shared.add.f32 [s+12], %f1;
  bar.sync 0;
  @%p1 ret;
  ld.shared.v4.u32 {%r4, %r5, %r6, %r7}, [s];
  atom.shared.cas.b32 %r8, [s], %r4, 5;
  atom.shared.exch.b32 %r9, [s], 6;
  st.global.v4.u32 [%rd1], {%r4, %r5, %r6, %r7};
  st.global.v2.u32 [%rd1+16], {%r8, %r9};
)",
                                1);
  auto module = parseKernel(text);
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> out(memory, 8);
    EXPECT_EQ(
        runKernel(*module, memory, {1}, {100}, {out.address}, schedule.options),
        "");
    EXPECT_EQ(out[0], 4950u);
    EXPECT_EQ(out[1], 99u);
    EXPECT_EQ(out[2], 0u);
    EXPECT_EQ(out[3], 0x459ab000u); // 4950.0f
    EXPECT_EQ(out[4], 4950u);
    EXPECT_EQ(out[5], 5u);
  }
}

TEST(PtxMemoryTest, DynamicSharedMemoryFollowsStatic) {
  std::string text =
      kernelText(R"(
  .shared .align 4 .b8 s[20];
  mov.u32 %r1, s;
  mov.u32 %r2, dynamic;
  sub.s32 %r3, %r2, %r1;
  ld.param.u64 %rd1, [p0];
  st.global.u32 [%rd1], %r3;
  mov.u32 %r4, %dynamic_smem_size;
  st.global.u32 [%rd1+4], %r4;
  ld.param.u32 %r5, [p1];
  add.s32 %r6, %r2, %r5;
  st.shared.u32 [%r6], 1;
)",
                 2, ".extern .shared .align 128 .b8 dynamic[];\n");
  auto module = parseKernel(text);
  ASSERT_TRUE(module);
  DeviceMemory memory;
  Buffer<uint32_t> out(memory, 2);
  EXPECT_EQ(runKernel(*module, memory, {1}, {1}, {out.address, 252}, {}, 256),
            "");
  EXPECT_EQ(out[0], 128u);
  EXPECT_EQ(out[1], 256u);
  EXPECT_TRUE(contains(
      runKernel(*module, memory, {1}, {1}, {out.address, 256}, {}, 256),
      "out of bounds"));
  EXPECT_TRUE(contains(
      runKernel(*module, memory, {1}, {1}, {out.address, 0}, {}, 232448),
      "bytes of shared memory"));
}

} // namespace
