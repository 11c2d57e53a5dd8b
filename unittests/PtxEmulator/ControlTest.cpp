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

// Collatz steps of each thread's number: loops of different lengths, a call,
// and a branch table.
TEST(PtxControlTest, DivergenceCallsAndTables) {
  std::string text = kernelText(R"(
  .reg .b32 %n;
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %tid.x;
  mad.wide.u32 %rd1, %r1, 4, %rd1;
  add.s32 %n, %r1, 1;
  mov.u32 %r2, 0;
$loop:
  setp.eq.u32 %p1, %n, 1;
  @%p1 bra $done;
  {
  .param .b32 argument;
  .param .b32 result;
  st.param.b32 [argument], %n;
  call.uni (result), next, (argument);
  ld.param.b32 %n, [result];
  }
  add.s32 %r2, %r2, 1;
  bra.uni $loop;
$done:
  rem.u32 %r3, %r2, 3;
$table: .branchtargets $zero, $one, $two;
  brx.idx %r3, $table;
$zero:
  mov.u32 %r4, 1000;
  bra $join;
$one:
  mov.u32 %r4, 2000;
  bra $join;
$two:
  mov.u32 %r4, 3000;
$join:
  activemask.b32 %r6;
  vote.sync.ballot.b32 %r7, %p1, 0xffffffff;
  add.s32 %r5, %r2, %r4;
  popc.b32 %r8, %r7;
  mad.lo.s32 %r5, %r8, 10000, %r5;
  st.global.u32 [%rd1], %r5;
)",
                                1, R"(
.func (.param .b32 r) next(.param .b32 a)
{
  .reg .b32 %r<4>;
  .reg .pred %p;
  ld.param.b32 %r1, [a];
  and.b32 %r2, %r1, 1;
  setp.eq.u32 %p, %r2, 0;
  @%p bra $even;
  mad.lo.u32 %r3, %r1, 3, 1;
  st.param.b32 [r], %r3;
  ret;
$even:
  shr.u32 %r3, %r1, 1;
  st.param.b32 [r], %r3;
  ret;
}
)");
  auto module = parseKernel(text);
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> out(memory, 64);
    ASSERT_EQ(
        runKernel(*module, memory, {1}, {64}, {out.address}, schedule.options),
        "");
    for (unsigned i = 0; i < 64; ++i) {
      unsigned steps = 0;
      for (unsigned n = i + 1; n != 1; ++steps)
        n = n % 2 ? 3 * n + 1 : n / 2;
      EXPECT_EQ(out[i], 320000 + 1000 * (steps % 3 + 1) + steps);
    }
  }
}

TEST(PtxControlTest, LanesMustBeInTheirMask) {
  auto faulty = parseKernel(kernelText("elect.sync %r1|%p1, 0xfffffff0;", 1));
  auto good = parseKernel(kernelText("elect.sync _|%p1, 0xffffffff;", 1));
  ASSERT_TRUE(faulty && good);
  DeviceMemory memory;
  EXPECT_NE(runKernel(*faulty, memory, {1}, {32}, {0}).find("not in the mask"),
            std::string::npos);
  EXPECT_EQ(runKernel(*good, memory, {1}, {32}, {0}), "");
}

TEST(PtxControlTest, Shuffles) {
  auto module = parseKernel(kernelText(R"(
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %laneid;
  mad.wide.u32 %rd1, %r1, 32, %rd1;
  mul.lo.u32 %r2, %r1, %r1;
  shfl.sync.bfly.b32 %r3, %r2, 5, 0x1f, 0xffffffff;
  shfl.sync.down.b32 %r4|%p1, %r2, 3, 0x1f, 0xffffffff;
  shfl.sync.up.b32 %r5, %r2, 2, 0x0, 0xffffffff;
  shfl.sync.idx.b32 %r6, %r2, 1, 0x181f, 0xffffffff;
  redux.sync.add.u32 %r7, %r2, 0xffffffff;
  and.b32 %r8, %r1, 3;
  match.any.sync.b32 %r9, %r8, 0xffffffff;
  selp.u32 %r10, 1, 0, %p1;
  st.global.v4.u32 [%rd1], {%r3, %r4, %r5, %r6};
  st.global.v4.u32 [%rd1+16], {%r7, %r9, %r10, 0};
)",
                                       1));
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> out(memory, 256);
    ASSERT_EQ(
        runKernel(*module, memory, {1}, {32}, {out.address}, schedule.options),
        "");
    for (unsigned i = 0; i < 32; ++i) {
      auto square = [](unsigned lane) { return lane * lane; };
      EXPECT_EQ(out[8 * i], square(i ^ 5));
      EXPECT_EQ(out[8 * i + 1], square(i + 3 < 32 ? i + 3 : i));
      EXPECT_EQ(out[8 * i + 2], square(i >= 2 ? i - 2 : i));
      EXPECT_EQ(out[8 * i + 3], square(i / 8 * 8 + 1));
      EXPECT_EQ(out[8 * i + 4], 10416u);
      EXPECT_EQ(out[8 * i + 5], 0x11111111u << (i % 4));
      EXPECT_EQ(out[8 * i + 6], i + 3 < 32 ? 1u : 0u);
    }
  }
}

// Two producer warps arrive at barrier 1, two consumer warps wait there.
TEST(PtxControlTest, NamedBarriers) {
  std::string body = R"(
  .shared .align 4 .b8 s[256];
  ld.param.u64 %rd1, [p0];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, s;
  and.b32 %r3, %r1, 63;
  mad.lo.u32 %r4, %r3, 4, %r2;
  setp.ge.u32 %p1, %r1, 64;
  @%p1 bra $consumer;
  st.shared.u32 [%r4], %r3;
  barrier.cta.arrive.aligned 1, 128;
  bra $end;
$consumer:
  barrier.cta.sync.aligned 1, 128;
  xor.b32 %r5, %r3, 63;
  mad.lo.u32 %r6, %r5, 4, %r2;
  ld.shared.u32 %r7, [%r6];
  mad.wide.u32 %rd1, %r3, 4, %rd1;
  st.global.u32 [%rd1], %r7;
$end:
)";
  auto module = parseKernel(kernelText(body, 1));
  std::string few = body;
  few.replace(few.find("sync.aligned 1, 128"), 19, "sync.aligned 1, 64 ");
  auto faulty = parseKernel(kernelText(few, 1));
  ASSERT_TRUE(module && faulty);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    Buffer<uint32_t> out(memory, 64);
    ASSERT_EQ(
        runKernel(*module, memory, {1}, {128}, {out.address}, schedule.options),
        "");
    for (unsigned i = 0; i < 64; ++i)
      EXPECT_EQ(out[i], 63 - i);
    EXPECT_NE(
        runKernel(*faulty, memory, {1}, {128}, {out.address}, schedule.options),
        "");
  }
}

// A lane waits for another lane of its warp in a loop: with threads scheduled
// independently that ends.
TEST(PtxControlTest, LanesOfAWarpMakeProgress) {
  auto module = parseKernel(kernelText(R"(
  .shared .align 4 .u32 flag;
  mov.u32 %r1, %laneid;
  setp.ne.u32 %p1, %r1, 0;
  @%p1 bra $other;
  st.volatile.shared.u32 [flag], 0;
$other:
  bar.warp.sync 0xffffffff;
  @%p1 bra $set;
$spin:
  ld.volatile.shared.u32 %r2, [flag];
  setp.eq.u32 %p2, %r2, 0;
  @%p2 bra $spin;
  bra $end;
$set:
  st.volatile.shared.u32 [flag], 1;
$end:
)",
                                       1));
  ASSERT_TRUE(module);
  for (const Schedules &schedule : allSchedules()) {
    DeviceMemory memory;
    EXPECT_EQ(runKernel(*module, memory, {1}, {32}, {0}, schedule.options), "")
        << schedule.name;
  }
}

TEST(PtxControlTest, EndlessLoopEnds) {
  auto module = parseKernel(kernelText("$l: bra $l;", 1));
  ASSERT_TRUE(module);
  DeviceMemory memory;
  RunOptions options;
  options.maxInstructions = 10000;
  EXPECT_NE(
      runKernel(*module, memory, {1}, {32}, {0}, options).find("endless loop"),
      std::string::npos);
}

TEST(PtxControlTest, WhatIsNotModelledIsAnError) {
  auto errorOf = [](const std::string &body) {
    std::string error;
    EXPECT_FALSE(Module::parse(kernelText(body), error)) << body;
    return error;
  };
  auto mentions = [&](const std::string &body, const std::string &part) {
    std::string error = errorOf(body);
    EXPECT_NE(error.find(part), std::string::npos) << error;
    EXPECT_EQ(error.rfind("line ", 0), 0u) << error;
  };
  mentions("tex.1d.v4.s32.s32 {%r1,%r2,%r3,%r4}, [%rd1, {%r1}];",
           "not modelled");
  mentions("add.warp.s32 %r1, %r2, %r3;", "'.warp'");
  mentions("add.s32 %r1, %r2;", "operands");
  mentions("add.s32 %r1, %rd2, %r3;", "64 bits");
  mentions("add.s32 %x, %r2, %r3;", "%x");
  mentions("bra $nowhere;", "$nowhere");
  mentions("mov.u32 %r1, %pm0;", "%pm0");
  mentions("{ add.s32 %r1, %r2, %r3;", "");
  mentions("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::"
           "complete_tx::bytes "
           "[%r1], [%rd1], [%r2];",
           "not modelled");
  mentions("wgmma.mma_async.sync.aligned.m64n12k16.f32.f16.f16 {%f1}, %rd1, "
           "%rd2, %p1, 1, 1, 0, 0;",
           "not modelled");
  std::string error;
  EXPECT_FALSE(Module::parse("hello", error));
  EXPECT_FALSE(Module::parse("", error));
  EXPECT_FALSE(Module::parse(".version 8.0\n.visible .entry k() {", error));
}

TEST(PtxControlTest, LaunchesThatCannotBe) {
  auto module = parseKernel(kernelText("", 1));
  ASSERT_TRUE(module);
  DeviceMemory memory;
  Launch launch;
  EXPECT_TRUE(module->run("none", launch, memory).has_value());
  EXPECT_TRUE(module->run("k", launch, memory).has_value()); // no parameters
  EXPECT_NE(runKernel(*module, memory, {1}, {1025}, {0}), "");
  EXPECT_NE(runKernel(*module, memory, {0}, {1}, {0}), "");
  EXPECT_EQ(runKernel(*module, memory, {1}, {1024}, {0}), "");
  ASSERT_TRUE(module->parameters("k"));
  EXPECT_EQ(module->parameters("k")->size(), 1u);
  EXPECT_FALSE(module->parameters("none"));
}

} // namespace
