//===- AwqQuantize.cpp - Quantize after scaling by the inputs -------------===//
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
#define GEN_PASS_DEF_AWQQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct AwqQuantizePass
    : public quantopt::lowbit::impl::AwqQuantizeBase<AwqQuantizePass> {
  using AwqQuantizeBase::AwqQuantizeBase;
  friend QuantizeOptionText;

  void getDependentDialects(DialectRegistry &registry) const override {
    AwqQuantizeBase::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

  void runOnOperation() override {
    auto text = QuantizeOptionText::of(*this);
    text.give(importance);
    QuantizeOptions start;
    start.layer.scaling = Scaling::Awq;
    start.layer.importance = Importance::Outputs;
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(text, std::move(start), getOperation());
    if (failed(options) ||
        failed(quantizeModule(getOperation(), getArgument(), *options)))
      signalPassFailure();
  }
};
} // namespace
