//===- QuantOptMain.h - The quant-opt tool as a function --------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_TOOLS_QUANTOPTMAIN_H
#define QUANTOPT_TOOLS_QUANTOPTMAIN_H

namespace quantopt {

/// Parses the command line of an mlir-opt-like tool, runs its passes and writes
/// the module: bytecode if the output's name ends in .mlirbc, else text. The
/// output is written whole or not at all: on any failure the old file stays.
/// Returns the exit code.
int quantOptMain(int argc, char **argv);

} // namespace quantopt

#endif // QUANTOPT_TOOLS_QUANTOPTMAIN_H
