//===- QuantKernelsMain.h - The quant-kernels tool as a function *- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_TOOLS_QUANTKERNELSMAIN_H
#define QUANTOPT_TOOLS_QUANTKERNELSMAIN_H

namespace quantopt {

/// Writes the GPU kernels of one linear layer as PTX, and as JSON how they are
/// launched, for programs that have the driver but no compiler. Each file is
/// written whole or not at all. Returns the exit code.
int quantKernelsMain(int argc, char **argv);

} // namespace quantopt

#endif // QUANTOPT_TOOLS_QUANTKERNELSMAIN_H
