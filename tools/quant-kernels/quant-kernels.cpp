//===- quant-kernels.cpp - The quant-kernels tool -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantKernelsMain.h"

int main(int argc, char **argv) {
  return quantopt::quantKernelsMain(argc, argv);
}
