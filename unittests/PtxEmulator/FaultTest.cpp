//===- FaultTest.cpp - Planted faults are caught --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Each kernel runs right in every schedule; with one line changed, every
// schedule says what is wrong.
//
//===----------------------------------------------------------------------===//

#include "TestKernel.h"

#include <functional>
#include <random>

using namespace quantopt::ptx;

namespace {

/// `text` with the one place where `from` stands changed to `to`.
std::string changed(std::string text, const std::string &from,
                    const std::string &to) {
  size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  EXPECT_EQ(text.find(from, at + 1), std::string::npos)
      << from << " stands there twice";
  return text.replace(at, from.size(), to);
}

struct Kernel {
  std::string body, globals;
  unsigned threads;
  uint32_t dynamicShared = 0;
  std::function<void(const Buffer<uint32_t> &in)> fill;
  std::function<void(const Buffer<uint32_t> &out)> check;
};

constexpr unsigned kWords = 4096;

std::string runOnce(const Kernel &kernel, const std::string &body,
                    const RunOptions &options, bool check) {
  auto module = parseKernel(kernelText(body, 2, kernel.globals));
  if (!module)
    return "not parsed";
  DeviceMemory memory;
  Buffer<uint32_t> in(memory, kWords), out(memory, kWords);
  for (unsigned i = 0; i < kWords; ++i)
    in[i] = i;
  if (kernel.fill)
    kernel.fill(in);
  std::string error =
      runKernel(*module, memory, {1}, {kernel.threads},
                {in.address, out.address}, options, kernel.dynamicShared);
  if (error.empty() && check)
    kernel.check(out);
  return error;
}

void runsRight(const Kernel &kernel) {
  for (const Schedules &schedule : allSchedules())
    EXPECT_EQ(runOnce(kernel, kernel.body, schedule.options, true), "")
        << schedule.name;
}

/// With `from` changed to `to`, every schedule must report one of `words`,
/// separated by |.
void isCaught(const Kernel &kernel, const std::string &from,
              const std::string &to, const std::string &words) {
  std::string body = changed(kernel.body, from, to);
  for (const Schedules &schedule : allSchedules()) {
    std::string error = runOnce(kernel, body, schedule.options, false);
    bool found = false;
    for (size_t begin = 0; begin <= words.size();) {
      size_t end = std::min(words.find('|', begin), words.size());
      found |=
          error.find(words.substr(begin, end - begin)) != std::string::npos;
      begin = end + 1;
    }
    EXPECT_TRUE(found) << schedule.name << ", '" << from << "' -> '" << to
                       << "': " << error;
  }
}

//===----------------------------------------------------------------------===//
// A ring of two stages filled by cp.async
//===----------------------------------------------------------------------===//

// Thread t copies 16 bytes of each of 8 tiles of 2 KiB into stage i % 2, and
// adds up word 4 * (127 - t) of each.
Kernel ringKernel() {
  Kernel kernel;
  kernel.threads = 128;
  kernel.body = R"(
  .shared .align 16 .b8 s[4096];
  ld.param.u64 %rd1, [p0];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  shl.b32 %r2, %r1, 4;
  mov.u32 %r3, s;
  add.s32 %r4, %r3, %r2;
  cvt.u64.u32 %rd3, %r2;
  add.s64 %rd4, %rd1, %rd3;
  sub.s32 %r5, %r3, %r2;
  mov.u32 %r6, 0;
  mov.u32 %r7, 0;
  cp.async.cg.shared.global [%r4], [%rd4], 16;
  cp.async.commit_group;
$loop:
  add.s32 %r8, %r7, 1;
  and.b32 %r9, %r8, 1;
  shl.b32 %r10, %r9, 11;
  add.s32 %r11, %r4, %r10;
  setp.eq.s32 %p1, %r8, 8;
  mul.wide.u32 %rd5, %r8, 2048;
  add.s64 %rd6, %rd4, %rd5;
  @%p1 bra $skip;
  cp.async.cg.shared.global [%r11], [%rd6], 16;
$skip:
  cp.async.commit_group;
  cp.async.wait_group 1;
  bar.sync 0; // full
  and.b32 %r12, %r7, 1;
  shl.b32 %r13, %r12, 11;
  add.s32 %r14, %r5, %r13;
  ld.shared.u32 %r15, [%r14+2032];
  add.s32 %r6, %r6, %r15;
  bar.sync 1; // empty
  mov.u32 %r7, %r8;
  setp.lt.s32 %p2, %r7, 8;
  @%p2 bra $loop;
  mul.wide.u32 %rd7, %r1, 4;
  add.s64 %rd8, %rd2, %rd7;
  st.global.u32 [%rd8], %r6;
)";
  kernel.check = [](const Buffer<uint32_t> &out) {
    for (unsigned t = 0; t < 128; ++t) {
      uint32_t sum = 0;
      for (unsigned tile = 0; tile < 8; ++tile)
        sum += tile * 512 + 4 * (127 - t);
      EXPECT_EQ(out[t], sum);
    }
  };
  return kernel;
}

TEST(PtxFaultTest, RingOfCpAsync) {
  Kernel ring = ringKernel();
  runsRight(ring);
  isCaught(ring, "bar.sync 0; // full", "", "race|cp.async that writes it");
  isCaught(ring, "bar.sync 1; // empty", "", "race|cp.async that writes it");
  isCaught(ring, "bar.sync 0; // full", "bar.warp.sync -1;",
           "race|cp.async that writes it");
  isCaught(ring, "cp.async.wait_group 1;", "", "cp.async that writes it");
  isCaught(ring, "cp.async.wait_group 1;", "cp.async.wait_group 2;",
           "cp.async that writes it");
  isCaught(ring, "and.b32 %r9, %r8, 1;", "and.b32 %r9, %r8, 0;",
           "cp.async that writes it|race");
  isCaught(ring, "[%r14+2032]", "[%r14+8192]", "out of bounds");
  isCaught(ring, "[%r14+2032]", "[%r14+2033]", "not aligned");
  isCaught(ring, "shl.b32 %r10, %r9, 11;", "shl.b32 %r10, %r9, 12;",
           "out of bounds");
  isCaught(ring, "mul.wide.u32 %rd5, %r8, 2048;",
           "mul.wide.u32 %rd5, %r8, 4096;", "out of bounds");
  isCaught(ring, "mul.wide.u32 %rd7, %r1, 4;", "mul.wide.u32 %rd7, %r1, 2;",
           "not aligned");
  isCaught(ring, "setp.lt.s32 %p2, %r7, 8;", "setp.le.s32 %p2, 0, 8;",
           "endless loop|out of bounds");
}

TEST(PtxFaultTest, UninitialisedRegisters) {
  Kernel ring = ringKernel();
  isCaught(ring, "shl.b32 %r13, %r12, 11;", "", "never written");
  isCaught(ring, "setp.eq.s32 %p1, %r8, 8;", "", "never written");
  // Arithmetic goes on with poison, which reaches memory as NaN.
  ring.body = changed(ring.body, "mov.u32 %r6, 0;", "");
  ring.check = [](const Buffer<uint32_t> &out) {
    EXPECT_EQ(out[5], 0xffffffffu);
  };
  runsRight(ring);
}

//===----------------------------------------------------------------------===//
// mma.sync and its results through shared memory
//===----------------------------------------------------------------------===//

Kernel mmaKernel() {
  Kernel kernel;
  kernel.threads = 64;
  // Ones times ones; warp 1 - w reads what warp w has summed.
  kernel.body = R"(
  .shared .align 16 .b8 s[1024];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, %laneid;
  mov.b32 %r3, 0x3c003c00;
  mov.f32 %f1, 0f00000000;
  setp.lt.u32 %p1, %r2, 32;
  @%p1 mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f2,%f3,%f4,%f5}, {%r3,%r3,%r3,%r3}, {%r3,%r3}, {%f1,%f1,%f1,%f1};
  shl.b32 %r4, %r1, 4;
  mov.u32 %r5, s;
  add.s32 %r6, %r5, %r4;
  st.shared.v4.f32 [%r6], {%f2,%f3,%f4,%f5};
  bar.sync 0;
  xor.b32 %r7, %r4, 512;
  add.s32 %r8, %r5, %r7;
  ld.shared.f32 %f6, [%r8+4];
  mul.wide.u32 %rd7, %r1, 4;
  add.s64 %rd8, %rd2, %rd7;
  st.global.f32 [%rd8], %f6;
)";
  kernel.check = [](const Buffer<uint32_t> &out) {
    for (unsigned t = 0; t < 64; ++t)
      EXPECT_EQ(out[t], 0x41800000u); // 16
  };
  return kernel;
}

TEST(PtxFaultTest, MmaOfDivergedLanes) {
  Kernel kernel = mmaKernel();
  runsRight(kernel);
  isCaught(kernel, "setp.lt.u32 %p1, %r2, 32;", "setp.lt.u32 %p1, %r2, 31;",
           "deadlock");
  isCaught(kernel, "bar.sync 0;", "", "race");
  isCaught(kernel, "bar.sync 0;", "@%p1 bra $x; bar.sync 0; $x:", "race");
  isCaught(kernel, "bar.sync 0;", "setp.ne.u32 %p2, %r1, 0; @%p2 bar.sync 0;",
           "race|deadlock");
}

//===----------------------------------------------------------------------===//
// Bulk copies and mbarriers
//===----------------------------------------------------------------------===//

// Thread 0 copies 4 tiles of 1 KiB, each into the same stage; all threads wait
// for it and add up their words.
Kernel bulkKernel() {
  Kernel kernel;
  kernel.threads = 128;
  kernel.body = R"(
  .shared .align 128 .b8 s[1024];
  .shared .align 8 .b64 full;
  .shared .align 8 .b64 empty;
  ld.param.u64 %rd1, [p0];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, s;
  mov.u32 %r3, full;
  mov.u32 %r4, empty;
  setp.ne.s32 %p1, %r1, 0;
  @%p1 bra $ready;
  mbarrier.init.shared::cta.b64 [%r3], 1;
  mbarrier.init.shared::cta.b64 [%r4], 128;
  fence.mbarrier_init.release.cluster;
$ready:
  bar.sync 0;
  mov.u32 %r5, 0;
  mov.u32 %r6, 0;
  shl.b32 %r7, %r1, 2;
  add.s32 %r8, %r2, %r7;
$loop:
  and.b32 %r9, %r5, 1;
  @%p1 bra $consume;
  mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], 1024;
  cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd1], 1024, [%r3];
  add.s64 %rd1, %rd1, 1024;
$consume:
$wait1:
  mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r3], %r9;
  @!%p2 bra $wait1;
  ld.shared.u32 %r10, [%r8];
  add.s32 %r6, %r6, %r10;
  mbarrier.arrive.shared::cta.b64 %rd9, [%r4];
$wait2:
  mbarrier.test_wait.shared::cta.b64 %p2, [%r4], %rd9;
  @!%p2 bra $wait2;
  add.s32 %r5, %r5, 1;
  setp.lt.s32 %p3, %r5, 4;
  @%p3 bra $loop;
  mul.wide.u32 %rd7, %r1, 4;
  add.s64 %rd8, %rd2, %rd7;
  st.global.u32 [%rd8], %r6;
)";
  kernel.check = [](const Buffer<uint32_t> &out) {
    for (unsigned t = 0; t < 128; ++t)
      EXPECT_EQ(out[t], 4 * t + 256 * (1 + 2 + 3));
  };
  return kernel;
}

TEST(PtxFaultTest, BulkCopies) {
  Kernel kernel = bulkKernel();
  runsRight(kernel);
  isCaught(kernel, "@!%p2 bra $wait1;", "", "bulk copy that writes it|race");
  isCaught(kernel, "@!%p2 bra $wait2;", "",
           "race|bulk copy that writes it|deadlock");
  isCaught(kernel, "b64 _, [%r3], 1024;", "b64 _, [%r3], 1040;", "deadlock");
  isCaught(kernel, "b64 _, [%r3], 1024;", "b64 _, [%r3], 512;", "deadlock");
  isCaught(kernel, "bar.sync 0;", "", "initialise|initialisation");
  isCaught(kernel, "@%p1 bra $ready;", "", "mbarrier|race");
  isCaught(kernel, "fence.mbarrier_init.release.cluster;", "",
           "no fence.mbarrier_init");
  isCaught(kernel, "[%r4], 128;", "[%r4], 127;", "more arrivals|race|deadlock");
  isCaught(kernel, "[%r4], 128;", "[%r4], 129;", "deadlock");
  isCaught(kernel, "and.b32 %r9, %r5, 1;", "mov.u32 %r9, 0;",
           "bulk copy that writes it|race|deadlock");
  isCaught(kernel, "[%r2], [%rd1], 1024, [%r3]", "[%r2], [%rd1], 1000, [%r3]",
           "multiple of 16");
  isCaught(kernel, "add.s64 %rd1, %rd1, 1024;", "add.s64 %rd1, %rd1, 8;",
           "not aligned");
  isCaught(kernel, "add.s64 %rd1, %rd1, 1024;", "add.s64 %rd1, %rd1, 8192;",
           "out of bounds");
}

// Threads write shared memory, thread 0 copies it out.
Kernel bulkStoreKernel() {
  Kernel kernel;
  kernel.threads = 128;
  kernel.body = R"(
  .shared .align 128 .b8 s[512];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, s;
  shl.b32 %r3, %r1, 2;
  add.s32 %r4, %r2, %r3;
  st.shared.u32 [%r4], %r1;
  fence.proxy.async.shared::cta;
  bar.sync 0;
  setp.ne.s32 %p1, %r1, 0;
  @%p1 bra $stored;
  cp.async.bulk.global.shared::cta.bulk_group [%rd2], [%r2], 512;
  cp.async.bulk.commit_group;
  cp.async.bulk.wait_group.read 0;
$stored:
  bar.sync 0; // second
  st.shared.u32 [%r4], %r3;
  @%p1 bra $end;
  cp.async.bulk.wait_group 0;
$end:
)";
  kernel.check = [](const Buffer<uint32_t> &out) {
    for (unsigned t = 0; t < 128; ++t)
      EXPECT_EQ(out[t], t);
  };
  return kernel;
}

TEST(PtxFaultTest, BulkStores) {
  Kernel kernel = bulkStoreKernel();
  runsRight(kernel);
  isCaught(kernel, "fence.proxy.async.shared::cta;", "",
           "no fence.proxy.async");
  isCaught(kernel, "cp.async.bulk.wait_group.read 0;", "", "overwritten while");
  isCaught(kernel, "cp.async.bulk.wait_group.read 0;",
           "cp.async.bulk.wait_group.read 1;", "overwritten while");
  isCaught(kernel, "bar.sync 0; // second", "", "race|overwritten while");
  isCaught(kernel, "cp.async.bulk.wait_group 0;", "", "exits before");
  isCaught(kernel, "@%p1 bra $end;",
           "ld.global.u32 %r9, [%rd2]; @%p1 bra $end;", "before the bulk copy");
  // The reader may fence as well, after the barrier.
  Kernel byReader = kernel;
  byReader.body = changed(
      changed(kernel.body, "fence.proxy.async.shared::cta;", ""),
      "  cp.async.bulk.global", "fence.proxy.async;\n  cp.async.bulk.global");
  runsRight(byReader);
}

//===----------------------------------------------------------------------===//
// wgmma
//===----------------------------------------------------------------------===//

// B [8, 16] in shared memory without swizzle, filled by all threads with 2; A
// of ones in registers: every sum is 32, twice.
Kernel wgmmaKernel() {
  Kernel kernel;
  kernel.threads = 128;
  kernel.body = R"(
  .shared .align 128 .b8 s[256];
  ld.param.u64 %rd2, [p1];
  mov.u32 %r1, %tid.x;
  mov.u32 %r2, s;
  shl.b32 %r3, %r1, 1;
  add.s32 %r4, %r2, %r3;
  mov.b16 %h1, 0x4000;
  st.shared.b16 [%r4], %h1;
  fence.proxy.async;
  bar.sync 0;
  mov.b32 %r5, 0x3c003c00;
  mov.f32 %f1, 0f00000000;
  mov.f32 %f2, 0f00000000;
  mov.f32 %f3, 0f00000000;
  mov.f32 %f4, 0f00000000;
  // start >> 4, leading offset 128 bytes, stride 128
  shr.u32 %r6, %r2, 4;
  cvt.u64.u32 %rd3, %r6;
  or.b64 %rd4, %rd3, 0x800080000;
  setp.eq.u32 %p1, 0, 0;
  wgmma.fence.sync.aligned;
  setp.lt.u32 %p2, %r1, 128;
  @%p2 wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4}, {%r5,%r5,%r5,%r5}, %rd4, %p1, 1, 1, 0;
  mov.b32 %f5, %f1; // a copy of what is in flight
  mov.b32 %f1, %f5;
  wgmma.mma_async.sync.aligned.m64n8k16.f32.f16.f16 {%f1,%f2,%f3,%f4}, {%r5,%r5,%r5,%r5}, %rd4, %p1, 1, 1, 0;
  wgmma.commit_group.sync.aligned;
  wgmma.wait_group.sync.aligned 0;
  add.rn.f32 %f6, %f1, %f4;
  bar.sync 1;
  st.shared.b16 [%r4], %h1;
  mul.wide.u32 %rd7, %r1, 4;
  add.s64 %rd8, %rd2, %rd7;
  st.global.f32 [%rd8], %f6;
)";
  kernel.check = [](const Buffer<uint32_t> &out) {
    for (unsigned t = 0; t < 128; ++t)
      EXPECT_EQ(out[t], 0x43000000u); // 128
  };
  return kernel;
}

TEST(PtxFaultTest, Wgmma) {
  Kernel kernel = wgmmaKernel();
  runsRight(kernel);
  isCaught(kernel, "wgmma.wait_group.sync.aligned 0;", "",
           "accumulator is read");
  isCaught(kernel, "wgmma.wait_group.sync.aligned 0;",
           "wgmma.wait_group.sync.aligned 1;", "accumulator is read");
  isCaught(kernel, "wgmma.commit_group.sync.aligned;", "",
           "accumulator is read");
  isCaught(kernel, "wgmma.fence.sync.aligned;", "", "no wgmma.fence");
  isCaught(kernel, "fence.proxy.async;", "", "no fence.proxy.async");
  isCaught(kernel, "bar.sync 0;", "", "race");
  isCaught(kernel, "bar.sync 1;", "", "race|overwritten while");
  isCaught(kernel, "wgmma.wait_group.sync.aligned 0;",
           "st.shared.b16 [%r4], %h1; wgmma.wait_group.sync.aligned 0;",
           "overwritten while");
  isCaught(kernel, "wgmma.wait_group.sync.aligned 0;",
           "mov.b32 %r5, 0; wgmma.wait_group.sync.aligned 0;",
           "register of A is overwritten");
  isCaught(kernel, "setp.lt.u32 %p2, %r1, 128;", "setp.lt.u32 %p2, %r1, 96;",
           "deadlock");
  isCaught(kernel, "setp.lt.u32 %p2, %r1, 128;", "setp.lt.u32 %p2, %r1, 127;",
           "deadlock");
  isCaught(kernel, "0x800080000;", "0x800100000;", "out of bounds");
  isCaught(kernel, "or.b64 %rd4, %rd3, 0x800080000;",
           "cvt.u64.u32 %rd5, %r1; or.b64 %rd4, %rd3, %rd5;",
           "differ between lanes");
}

//===----------------------------------------------------------------------===//
// Any text
//===----------------------------------------------------------------------===//

// Words of the text are dropped, doubled, exchanged or cut: whatever comes of
// it is refused, fails or runs, but never harms the process.
TEST(PtxFaultTest, NoTextCrashes) {
  std::mt19937 random(1);
  unsigned parsed = 0;
  for (const Kernel &kernel : {ringKernel(), mmaKernel(), bulkKernel(),
                               bulkStoreKernel(), wgmmaKernel()}) {
    std::string text = kernelText(kernel.body);
    for (unsigned i = 0; i < 200; ++i) {
      std::string mutated = text;
      for (unsigned change = random() % 3 + 1; change; --change) {
        size_t at = random() % mutated.size(), length = random() % 12;
        switch (random() % 4) {
        case 0:
          mutated.erase(at, length);
          break;
        case 1:
          mutated.insert(at, mutated.substr(random() % mutated.size(), length));
          break;
        case 2:
          mutated[at] = "0123456789,.;{}[]%@!|-+"[random() % 23];
          break;
        default:
          if (random() % 8 == 0)
            mutated.resize(at + 1);
        }
      }
      std::string error;
      std::unique_ptr<Module> module = Module::parse(mutated, error);
      EXPECT_EQ(module == nullptr, !error.empty());
      if (!module)
        continue;
      ++parsed;
      DeviceMemory memory;
      Buffer<uint32_t> in(memory, kWords), out(memory, kWords);
      RunOptions options;
      options.maxInstructions = 20000;
      runKernel(*module, memory, {1}, {kernel.threads},
                {in.address, out.address}, options);
    }
  }
  EXPECT_GT(parsed, 50u);
}

} // namespace
