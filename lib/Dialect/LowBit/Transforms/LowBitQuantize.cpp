//===- LowBitQuantize.cpp - Quantize by a preset --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Presets.h"
#include "QuantizerPass.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct LowBitQuantizePass
    : QuantizerPass<
          quantopt::lowbit::impl::LowBitQuantizeBase<LowBitQuantizePass>> {
  using QuantizerPass::QuantizerPass;

  void runOnOperation() override {
    QuantizeOptionText text = optionText();
    text.give(method, flat, importance, scaling, actOrder, levelTokens, damp,
              blockSize, refine, asymmetric, minTokens);
    FailureOr<QuantizeOptions> start = findPreset(preset, getOperation());
    if (failed(start))
      return signalPassFailure();
    quantize(text, std::move(*start),
             (getArgument() + " preset=" + preset).str());
  }
};
} // namespace
