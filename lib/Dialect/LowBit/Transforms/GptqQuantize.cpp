//===- GptqQuantize.cpp - Quantize by GPTQ on calibration data ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeModule.h"

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/Execution/CompiledModule.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_GPTQQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct GptqQuantizePass
    : public quantopt::lowbit::impl::GptqQuantizeBase<GptqQuantizePass> {
  using GptqQuantizeBase::GptqQuantizeBase;
  friend QuantizeOptionText;

  void getDependentDialects(DialectRegistry &registry) const override {
    GptqQuantizeBase::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

  void runOnOperation() override {
    auto text = QuantizeOptionText::of(*this);
    text.give(scaling, actOrder, levelTokens, damp, blockSize, refine,
              asymmetric, minTokens);
    QuantizeOptions start;
    start.layer.method = Method::Gptq;
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(text, std::move(start), getOperation());
    if (failed(options) ||
        failed(quantizeModule(getOperation(), getArgument(), *options)))
      signalPassFailure();
  }
};
} // namespace
