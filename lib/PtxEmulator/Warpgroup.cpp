//===- Warpgroup.cpp - wgmma ----------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Warpgroup.h"

#include "Decode.h"

using namespace quantopt::ptx;

RegisterUse quantopt::ptx::checkPendingRegisters(Warp &, const Instr &,
                                                 uint32_t) {
  return RegisterUse::Fine;
}

void quantopt::ptx::addWarpgroups(DecodeTable &) {}
