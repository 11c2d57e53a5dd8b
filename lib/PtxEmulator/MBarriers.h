//===- MBarriers.h - mbarrier objects ---------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the asynchronous copies share: addresses in shared memory and the
// mbarriers that bulk copies complete.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_MBARRIERS_H
#define QUANTOPT_LIB_PTXEMULATOR_MBARRIERS_H

#include "Machine.h"

namespace quantopt::ptx {

class Decoder;

/// An address in shared memory from a register, generic or not.
inline uint64_t sharedAddress(Warp &warp, Ref ref, unsigned lane,
                              int64_t offset = 0) {
  uint64_t address = warp.value(ref, lane) + static_cast<uint64_t>(offset);
  if (!ref.wide)
    return uint32_t(address);
  return (address & kWindowMask) == kSharedWindow ? address - kSharedWindow
                                                  : address;
}

/// The mbarrier at `address`; null and the launch has failed if there is none,
/// or another thread has initialised it and nothing orders that before.
MBarrier *findBarrier(Warp &warp, const Instr &instr, unsigned lane,
                      uint64_t address);

/// Whether the asynchronous proxy sees that the mbarrier has been initialised;
/// if not, the launch has failed.
bool checkInitFence(Warp &warp, const Instr &instr, unsigned lane,
                    const MBarrier &barrier);

/// Ends the phase if nothing is missing.
void completeIfDone(Block &block, MBarrier &barrier);

/// cp.async.mbarrier.arrive and cp.async.bulk, which share a name with
/// cp.async.
void decodeCopyArrive(Decoder &d);
void decodeBulk(Decoder &d);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_MBARRIERS_H
