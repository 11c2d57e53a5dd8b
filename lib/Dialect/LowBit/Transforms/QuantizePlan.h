//===- QuantizePlan.h - Which layers a quantizer takes ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H

#include "QuantizeOptions.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Dialect/LowBit/Transforms/Report.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace quantopt::lowbit {

/// A linear that is going to be quantized.
struct PlannedLayer {
  LinearOp linear;
  std::string name;
  int64_t n = 0, k = 0;
  LayerSpec spec; ///< what is done with it
  /// Index of the layer whose weight this one shares; that one is quantized
  /// once for both. Its spec is the same.
  std::optional<unsigned> leader;
  /// Linears of other functions that read the same weight, and get what is made
  /// of it: `prefill` and `decode` beside the `main` that samples run through.
  llvm::SmallVector<LinearOp> elsewhere;
};

struct QuantizePlan {
  std::vector<PlannedLayer> layers; ///< in the order of the graph
  std::vector<SkippedReport> skipped;
};

/// Finds the linears of `module` (which may be a raw import) and sorts every
/// contraction in it into planned and skipped. Fails with a diagnostic if
/// nothing is left to do.
mlir::FailureOr<QuantizePlan> planQuantization(mlir::ModuleOp module,
                                               const QuantizeOptions &options);

/// The linears of its layers, in their order.
llvm::SmallVector<LinearOp> linearsOf(const QuantizePlan &plan);

/// A float weight as f32 [n, k]: in place where it is stored so, else a copy.
struct WeightValues {
  std::span<const float> values;
  std::vector<float> storage;
};

/// Reads the weight of `linear`. Fails with a diagnostic that names the layer
/// if its data is missing.
mlir::FailureOr<WeightValues> readWeight(LinearOp linear);

/// Lets go of the pages of a constant's data until they are read again.
void releaseConstant(mlir::arith::ConstantOp constant);
void releaseWeight(LinearOp linear);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H
