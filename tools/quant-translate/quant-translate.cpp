//===- quant-translate.cpp - The quant-translate tool ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Tools/QuantTranslateMain.h"

int main(int argc, char **argv) {
  return quantopt::quantTranslateMain(argc, argv);
}
