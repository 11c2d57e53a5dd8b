//===- OpenMPRegistration.h - What killed processes leave -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_OPENMPREGISTRATION_H
#define QUANTOPT_RUNTIME_OPENMPREGISTRATION_H

namespace quantopt {

/// LLVM's OpenMP runtime names each process that uses it by a shared memory
/// object with the process's number, and ends a process that finds one there
/// which it cannot read. One that was killed while it wrote leaves such an
/// object to whoever gets its number next, so a program calls this before it
/// first uses OpenMP.
void removeStaleOpenMPRegistration();

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_OPENMPREGISTRATION_H
