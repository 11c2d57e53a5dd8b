//===- AsyncEngine.h - What lands later -------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The state of copies to shared memory, mbarriers, bulk groups and wgmma. Where
// a copy is to write is poisoned when it is issued; its data lands when
// somebody has waited for it, as late as PTX allows.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_ASYNCENGINE_H
#define QUANTOPT_LIB_PTXEMULATOR_ASYNCENGINE_H

#include "Knowledge.h"
#include "Program.h"

#include <map>

namespace quantopt::ptx {

/// Bytes on their way into shared memory.
struct SharedCopy {
  uint32_t to = 0;
  unsigned line = 0;
  std::vector<uint8_t> data;
  /// Who wrote them and when, as far as races go; the epoch of a bulk copy is
  /// that in which its phase completes.
  uint32_t agent = 0, epoch = 0;
  bool bulk = false;
};

/// A bulk copy out of shared memory.
struct GlobalCopy {
  uint64_t to = 0;
  uint32_t from = 0, group = 0;
  std::vector<uint8_t> data;
  bool readDone = false; ///< its source may be overwritten
};

/// One cp.async of a thread: at most 16 bytes.
struct SmallCopy {
  uint32_t to = 0, group = 0;
  unsigned line = 0;
  uint8_t bytes = 0;
  bool landed = false;
  uint8_t data[16] = {};
};

/// The cp.async and bulk copies that one thread waits for itself.
struct LaneCopies {
  uint32_t committed = 0; ///< groups of cp.async so far
  std::vector<SmallCopy> small;
  uint32_t bulkCommitted = 0;
  std::vector<GlobalCopy> bulk;
};

/// An mbarrier object.
struct MBarrier {
  uint32_t count = 0;  ///< arrivals of a phase
  int64_t pending = 0; ///< arrivals that are missing
  int64_t bytes = 0;   ///< that are missing
  uint64_t phase = 0;  ///< phases completed
  uint32_t initAgent = 0, initEpoch = 0;
  bool initFenced = false; ///< by fence.mbarrier_init
  Knowledge arriving;   ///< of those that have arrived in this phase and before
  Knowledge complete;   ///< of the phases completed
  bool refused = false; ///< a poll of data that is complete has failed once
  /// Lands when a completed phase is observed.
  std::vector<SharedCopy> flying, delivered;
};

/// One wgmma of a warp, or a copy of an accumulator that is not there yet.
struct PendingMma {
  const Instr *instr = nullptr; ///< null: a move
  uint32_t group = 0;
  Ref from, to;         ///< of a move
  std::vector<float> a; ///< [16, 16], the rows of this warp; empty: in memory
  uint64_t descriptorA = 0, descriptorB = 0;
  bool addsToD = true;
};

struct WarpgroupQueue {
  uint32_t committed = 0;   ///< groups so far
  bool fenced = false;      ///< wgmma.fence since the last wait
  bool fencedGroup = false; ///< the same since the last commit
  std::vector<PendingMma> pending;
  /// For each slot: 1 + group of the wgmma that writes it; or that reads it.
  std::vector<uint32_t> writing, reading;
  bool any() const { return !pending.empty(); }
};

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_ASYNCENGINE_H
