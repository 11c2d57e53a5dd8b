//===- MatrixRegisters.h - Leave to use AMX ---------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_MATRIXREGISTERS_H
#define QUANTOPT_RUNTIME_MATRIXREGISTERS_H

namespace quantopt {

/// Asks the system to let this process use the matrix registers of AMX, which
/// Linux grants a process only when it is asked. Whether it may.
bool allowMatrixRegisters();

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_MATRIXREGISTERS_H
