//===- ControlTest.cpp - Control flow, memory and barriers ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestKernel.h"

using namespace quantopt::ptx;

namespace {

// y[i] += x[i] for i below n = 100.
const char *const kAddBody = R"(
  ld.param.u64 %rd1, [p0];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %ctaid.x;
  mov.u32 %r3, %ntid.x;
  mad.lo.s32 %r4, %r2, %r3, %r1;
  setp.ge.s32 %p1, %r4, 100;
  @%p1 bra $done;
  mul.wide.s32 %rd3, %r4, 4;
  add.s64 %rd1, %rd1, %rd3;
  add.s64 %rd2, %rd2, %rd3;
  ld.global.f32 %f1, [%rd1];
  ld.global.f32 %f2, [%rd2];
  add.rn.f32 %f3, %f1, %f2;
  st.global.f32 [%rd2], %f3;
$done:
)";

TEST(PtxControlTest, AddsVectorsInEverySchedule) {
  auto module = parseKernel(kernelText(kAddBody));
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<float> x(memory, 100), y(memory, 100);
    for (unsigned i = 0; i < 100; ++i) {
      x[i] = i;
      y[i] = 0.5f * i;
    }
    EXPECT_EQ(runKernel(*module, memory, {4}, {32}, {x.address, y.address},
                        schedule.options),
              "")
        << schedule.name;
    for (unsigned i = 0; i < 100; ++i)
      EXPECT_EQ(y[i], 1.5f * i);
  }
}

// Threads reverse their numbers through shared memory; `%s` is the barrier.
std::string reverseKernel(const std::string &barrier) {
  return kernelText(R"(
  .shared .align 4 .b8 s[512];
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, s;
  shl.b32 %r3, %r1, 2;
  add.s32 %r4, %r2, %r3;
  st.shared.u32 [%r4], %r1;
)" + barrier + R"(
  sub.s32 %r5, %r2, %r3;
  ld.shared.u32 %r6, [%r5+508];
  mul.wide.u32 %rd2, %r1, 4;
  add.s64 %rd3, %rd1, %rd2;
  st.global.u32 [%rd3], %r6;
)",
                    1);
}

TEST(PtxControlTest, BarrierOrdersSharedMemory) {
  auto module = parseKernel(reverseKernel("bar.sync 0;"));
  auto faulty = parseKernel(reverseKernel(""));
  auto warpOnly = parseKernel(reverseKernel("bar.warp.sync -1;"));
  ASSERT_TRUE(module && faulty && warpOnly);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> out(memory, 128);
    EXPECT_EQ(
        runKernel(*module, memory, {1}, {128}, {out.address}, schedule.options),
        "");
    for (unsigned i = 0; i < 128; ++i)
      EXPECT_EQ(out[i], 127 - i);
    for (const Module *wrong : {faulty.get(), warpOnly.get()})
      EXPECT_NE(
          runKernel(*wrong, memory, {1}, {128}, {out.address}, schedule.options)
              .find("race"),
          std::string::npos);
  }
}

} // namespace
