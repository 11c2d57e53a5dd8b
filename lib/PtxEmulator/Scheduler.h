//===- Scheduler.h - Who runs next ------------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Runs the groups of a block until all threads have exited, and all that is
// control flow or waiting. In a warp the group with the lowest instruction runs
// first, so that lanes meet again where a program's branches join; now and then
// another one does, so that none starves.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_SCHEDULER_H
#define QUANTOPT_LIB_PTXEMULATOR_SCHEDULER_H

#include "Machine.h"

namespace quantopt::ptx {

class Scheduler {
public:
  explicit Scheduler(Block &block)
      : block(block), machine(block.machine), program(block.machine.program) {}

  void run();

private:
  /// What becomes of a group after an instruction.
  enum class Then { GoOn, Stop };

  Warp *pickWarp();
  size_t pickGroup(Warp &warp, bool &stay);
  void runGroup(Warp &warp, size_t index, uint32_t budget, bool stay);
  void absorb(Warp &warp, Group &group);
  Then control(Warp &warp, Group &group, const Instr &instr, uint32_t mask);
  Then leave(Warp &warp, Group &group);
  Then doReturn(Warp &warp, Group &group);
  void doCall(Warp &warp, Group &group, const Instr &instr);
  Then indexBranch(Warp &warp, Group &group, const Instr &instr);
  Then warpSync(Warp &warp, Group &group, const Instr &instr);
  Then warpgroup(Warp &warp, Group &group, const Instr &instr);
  Then barrier(Warp &warp, Group &group, const Instr &instr);
  Then poll(Warp &warp, Group &group, const Instr &instr);
  void completeBarrier(uint32_t id);
  void wakePolls();
  bool repoll();
  void reportDeadlock();
  Then wait(Warp &warp, Group &group, Group::State state);
  static void splitOff(Warp &warp, Group &group, uint32_t mask, uint32_t pc);

  Block &block;
  Machine &machine;
  const Program &program;
  unsigned last = 0;    ///< warp that ran last
  bool expired = false; ///< because its turn was over
  uint64_t turns = 0;
  uint64_t seenProgress = 0;
  unsigned idleRounds = 0;
};

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_SCHEDULER_H
