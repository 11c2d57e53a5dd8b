//===- MatrixRegisters.cpp - Leave to use AMX -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/MatrixRegisters.h"

#if defined(__linux__) && defined(__x86_64__)
#include <sys/syscall.h>
#include <unistd.h>

bool quantopt::allowMatrixRegisters() {
  // Of Linux's asm/prctl.h, which older systems have without them.
  constexpr long requestPermission = 0x1023, matrixData = 18;
  return syscall(SYS_arch_prctl, requestPermission, matrixData) == 0;
}
#else
bool quantopt::allowMatrixRegisters() { return false; }
#endif
