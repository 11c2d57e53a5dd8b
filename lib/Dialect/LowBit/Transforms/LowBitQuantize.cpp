//===- LowBitQuantize.cpp - Quantize by a preset --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Presets.h"
#include "QuantizeModule.h"

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/Execution/CompiledModule.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct LowBitQuantizePass
    : public quantopt::lowbit::impl::LowBitQuantizeBase<LowBitQuantizePass> {
  using LowBitQuantizeBase::LowBitQuantizeBase;
  friend QuantizeOptionText;

  void getDependentDialects(DialectRegistry &registry) const override {
    LowBitQuantizeBase::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

  void runOnOperation() override {
    auto text = QuantizeOptionText::of(*this);
    text.give(method, flat, importance, scaling, actOrder, levelTokens, damp,
              blockSize, refine, asymmetric, minTokens);
    FailureOr<QuantizeOptions> start = findPreset(preset, getOperation());
    if (failed(start))
      return signalPassFailure();
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(text, std::move(*start), getOperation());
    std::string name = (getArgument() + " preset=" + preset).str();
    if (failed(options) ||
        failed(quantizeModule(getOperation(), name, *options)))
      signalPassFailure();
  }
};
} // namespace
