//===- RtnQuantize.cpp - Quantize by rounding to nearest ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizationRun.h"

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_RTNQUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt::lowbit;

namespace {
struct RtnQuantizePass
    : public quantopt::lowbit::impl::RtnQuantizeBase<RtnQuantizePass> {
  using RtnQuantizeBase::RtnQuantizeBase;
  friend QuantizeOptionText;

  LogicalResult quantize() {
    FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(QuantizeOptionText::of(*this), getOperation());
    if (failed(options))
      return failure();
    FailureOr<QuantizePlan> plan = planQuantization(getOperation(), *options);
    if (failed(plan))
      return failure();
    QuantizationRun run(getArgument(), *options, std::move(*plan));
    run.report().errorMeasure = "weights";
    if (failed(quantizeRestWithoutData(run, /*fallback=*/"")))
      return failure();
    return run.finish();
  }

  void runOnOperation() override {
    if (failed(quantize()))
      signalPassFailure();
  }
};
} // namespace
