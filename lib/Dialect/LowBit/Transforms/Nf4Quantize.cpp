//===- Nf4Quantize.cpp - Quantize as bitsandbytes does --------------------===//
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
#define GEN_PASS_DEF_NF4QUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct Nf4QuantizePass
    : public quantopt::lowbit::impl::Nf4QuantizeBase<Nf4QuantizePass> {
  using Nf4QuantizeBase::Nf4QuantizeBase;
  friend QuantizeOptionText;

  void getDependentDialects(DialectRegistry &registry) const override {
    Nf4QuantizeBase::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

  void runOnOperation() override {
    auto text = QuantizeOptionText::of(*this);
    text.give(flat, importance);
    QuantizeOptions start;
    start.layer.scheme = {4,
                          Granularity::Flat,
                          64,
                          ZeroKind::Symmetric,
                          ScaleKind::F32,
                          CodeTable::NF4};
    start.layer.search.kind = SearchKind::None;
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(text, std::move(start), getOperation());
    if (failed(options) ||
        failed(quantizeModule(getOperation(), getArgument(), *options)))
      signalPassFailure();
  }
};
} // namespace
