//===- Warpgroup.h - wgmma --------------------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_WARPGROUP_H
#define QUANTOPT_LIB_PTXEMULATOR_WARPGROUP_H

#include "Machine.h"

namespace quantopt::ptx {

enum class RegisterUse : uint8_t {
  Fine,
  Deferred, ///< a copy of an accumulator in flight: done when it lands
  Wrong,    ///< the launch has failed
};

/// Whether an instruction may touch its registers while the warp has wgmma in
/// flight. Copies of accumulators are: compilers put them between wgmma, where
/// the same register is meant.
RegisterUse checkPendingRegisters(Warp &warp, const Instr &instr,
                                  uint32_t mask);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_WARPGROUP_H
