//===- QuantizePlan.h - Which layers a quantizer takes ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H

#include "PlannedLayer.h"
#include "QuantizeOptions.h"

#include "quantopt/Dialect/LowBit/Transforms/Report.h"

namespace quantopt::lowbit {

struct QuantizePlan {
  /// In the order of the graph, tables behind all linears.
  std::vector<PlannedLayer> layers;
  std::vector<SkippedReport> skipped;
};

/// Finds the linears of `module` (which may be a raw import) and sorts every
/// contraction in it into planned and skipped, and so with `withTables` its
/// tables. Fails with a diagnostic if nothing is left to do.
mlir::FailureOr<QuantizePlan> planQuantization(mlir::ModuleOp module,
                                               const QuantizeOptions &options,
                                               bool withTables = true);

/// The linears of its layers: the n-th is that of layer n.
llvm::SmallVector<LinearOp> linearsOf(const QuantizePlan &plan);

/// Its layers as reports list them: tables first, as models use them.
llvm::SmallVector<unsigned> reportOrder(const QuantizePlan &plan);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEPLAN_H
