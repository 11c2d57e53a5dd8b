//===- GptqQuantize.cpp - Quantize by GPTQ on calibration data ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizerPass.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_GPTQQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct GptqQuantizePass
    : QuantizerPass<
          quantopt::lowbit::impl::GptqQuantizeBase<GptqQuantizePass>> {
  using QuantizerPass::QuantizerPass;

  void runOnOperation() override {
    QuantizeOptionText text = optionText();
    text.give(scaling, actOrder, levelTokens, damp, blockSize, refine,
              asymmetric, minTokens);
    QuantizeOptions start;
    start.layer.method = Method::Gptq;
    quantize(text, std::move(start), getArgument());
  }
};
} // namespace
