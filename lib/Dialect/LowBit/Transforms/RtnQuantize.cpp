//===- RtnQuantize.cpp - Quantize by rounding to nearest ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizerPass.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_RTNQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct RtnQuantizePass
    : QuantizerPass<quantopt::lowbit::impl::RtnQuantizeBase<RtnQuantizePass>> {
  using QuantizerPass::QuantizerPass;

  void runOnOperation() override {
    QuantizeOptionText text = optionText();
    text.give(flat, importance, scaling);
    quantize(text, {}, getArgument());
  }
};
} // namespace
