//===- AwqQuantize.cpp - Quantize after scaling by the inputs -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizerPass.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_AWQQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct AwqQuantizePass
    : QuantizerPass<quantopt::lowbit::impl::AwqQuantizeBase<AwqQuantizePass>> {
  using QuantizerPass::QuantizerPass;

  void runOnOperation() override {
    QuantizeOptionText text = optionText();
    text.give(importance);
    QuantizeOptions start;
    start.layer.scaling = Scaling::Awq;
    start.layer.importance = Importance::Outputs;
    quantize(text, std::move(start), getArgument());
  }
};
} // namespace
