//===- Control.cpp - Exits, barriers and fences ---------------------------===//
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

constexpr Type kB32{Type::Bits, 32};

void runNothing(Warp &, const Instr &, uint32_t) {}

void runTrap(Warp &warp, const Instr &instr, uint32_t mask) {
  warp.fail(instr, std::countr_zero(mask), "the kernel traps");
}

void runProxyFence(Warp &warp, const Instr &, uint32_t mask) {
  if (warp.block.machine.options.checkRaces)
    warp.block.chronology.fenceProxy(warp.index, mask);
}

void runBarrierInitFence(Warp &warp, const Instr &, uint32_t mask) {
  for (auto &[address, barrier] : warp.block.mbarriers)
    if (barrier.initAgent / kWarp == warp.index &&
        mask >> (barrier.initAgent % kWarp) & 1)
      barrier.initFenced = true;
}

/// bar and barrier: see Scheduler.cpp for the modes.
void decodeBarrier(Decoder &d) {
  Instr &instr = d.instr;
  if (d.take("warp")) {
    if (!d.take("sync") || !d.expect(1))
      return d.fail("this form");
    instr.flow = Flow::WarpBarrier;
    instr.src[4] = d.source(0, kB32);
    return;
  }
  d.take("cta");
  if (d.take("cluster"))
    return d.fail("clusters");
  bool aligned = d.take("aligned") || d.op == "bar";
  d.take("all"); // LLVM's name of it: all threads of the block
  d.take("count");
  int kind = d.takeOneOf({"sync", "arrive", "red"});
  if (kind < 0)
    return d.fail("this form");
  instr.flow = Flow::Barrier;
  instr.mode[0] = kind;
  instr.mode[1] = aligned;
  if (kind < 2) {
    if (!d.expect(kind == 1 ? 2 : 1, 2))
      return;
    instr.src[0] = d.source(0, kB32);
    if (d.operands.size() == 2)
      instr.src[1] = d.source(1, kB32);
    return;
  }
  int op = d.takeOneOf({"popc", "and", "or"});
  d.takeType();
  if (op < 0 || !d.expect(3, 4))
    return d.fail("this form");
  instr.mode[0] = 2 + op;
  instr.dst = op == 0 ? d.destination(0, kB32) : d.predicate(0);
  instr.src[0] = d.source(1, kB32);
  if (d.operands.size() == 4)
    instr.src[1] = d.source(2, kB32);
  instr.src[2] = d.predicate(d.operands.size() - 1);
}

void decodeFence(Decoder &d) {
  Instr &instr = d.instr;
  if (!d.expect(0))
    return;
  instr.execute = runNothing;
  if (d.take("mbarrier_init")) {
    d.take("release");
    d.take("cluster");
    instr.execute = runBarrierInitFence;
    d.builder.getProgram().usesAsyncProxy = true;
    return;
  }
  if (d.take("proxy")) {
    // The whole address space, or one of its windows.
    if (d.takeOneOf({"async", "async::generic", "async.shared::cta"}) < 0)
      return d.fail("this proxy");
    d.takeOneOf({"global", "shared::cta", "shared::cluster"});
    d.takeOneOf({"release", "acquire", "acq_rel"});
    d.takeOneOf(
        {"sync_restrict::shared::cta", "sync_restrict::shared::cluster"});
    d.take("cluster");
    instr.execute = runProxyFence;
    d.builder.getProgram().usesAsyncProxy = true;
    return;
  }
  // Memory is sequentially consistent here.
  d.takeOneOf({"sc", "acq_rel", "acquire", "release"});
  d.takeOneOf({"sync_restrict::shared::cta", "sync_restrict::shared::cluster"});
  if (d.takeOneOf({"cta", "cluster", "gpu", "sys", "gl"}) < 0)
    return d.fail("no scope");
}

void decodeReturn(Decoder &d) {
  d.take("uni");
  d.expect(0);
  d.instr.flow = Flow::Return;
}

void decodeExit(Decoder &d) {
  d.expect(0);
  d.instr.flow = Flow::Exit;
}

void decodeTrap(Decoder &d) {
  d.expect(0);
  d.instr.execute = runTrap;
}

void decodeNanosleep(Decoder &d) {
  d.takeType();
  d.expect(1);
  d.instr.flow = Flow::Yield;
}

/// Register counts are the hardware's business.
void decodeSetMaxNReg(Decoder &d) {
  if (d.takeOneOf({"inc", "dec"}) < 0)
    return d.fail("this form");
  d.take("sync");
  d.take("aligned");
  d.takeType();
  d.expect(1);
  d.instr.execute = runNothing;
}

/// Launches run one after another.
void decodeGridDependency(Decoder &d) {
  if (d.takeOneOf({"launch_dependents", "wait"}) < 0)
    return d.fail("this form");
  d.expect(0);
  d.instr.execute = runNothing;
}

} // namespace

void quantopt::ptx::addControl(DecodeTable &table) {
  table["bar"] = decodeBarrier;
  table["barrier"] = decodeBarrier;
  table["membar"] = decodeFence;
  table["fence"] = decodeFence;
  table["ret"] = decodeReturn;
  table["exit"] = decodeExit;
  table["trap"] = decodeTrap;
  table["nanosleep"] = decodeNanosleep;
  table["setmaxnreg"] = decodeSetMaxNReg;
  table["griddepcontrol"] = decodeGridDependency;
}
