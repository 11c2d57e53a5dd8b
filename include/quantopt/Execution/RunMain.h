//===- RunMain.h - The quant-run tool as a function -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_RUNMAIN_H
#define QUANTOPT_EXECUTION_RUNMAIN_H

namespace quantopt {

/// Parses the command line and runs a module on arrays, measures its perplexity
/// or lets it continue prompts. Returns the exit code of the process.
int quantRunMain(int argc, char **argv);

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_RUNMAIN_H
