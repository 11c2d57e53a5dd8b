//===- QuantTranslateMain.h - The quant-translate tool ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_TOOLS_QUANTTRANSLATEMAIN_H
#define QUANTOPT_TOOLS_QUANTTRANSLATEMAIN_H

namespace quantopt {

/// Parses the command line and writes a module as an object file with a C
/// header and a file of weights. Returns the exit code of the process.
int quantTranslateMain(int argc, char **argv);

} // namespace quantopt

#endif // QUANTOPT_TOOLS_QUANTTRANSLATEMAIN_H
