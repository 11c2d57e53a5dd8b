//===- PlannedLayer.h - A weight to quantize --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PLANNEDLAYER_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PLANNEDLAYER_H

#include "LayerSpec.h"
#include "TableGather.h"

#include <span>

namespace quantopt::lowbit {

/// A weight that is going to be quantized: that of a linear, or a table.
struct PlannedLayer {
  LinearOp linear; ///< null if only look-ups read it
  std::string name;
  int64_t n = 0, k = 0;
  LayerSpec spec; ///< what is done with it
  /// Why that is not what the options say, or empty.
  std::string fallback;
  /// Index of the layer whose weight this one shares; that one is quantized
  /// once for both. Its spec is the same.
  std::optional<unsigned> leader;
  /// Linears of other functions that read the same weight, and get what is made
  /// of it: `prefill` and `decode` beside the `main` that samples run through.
  llvm::SmallVector<LinearOp> elsewhere;
  /// What picks its rows, in any function: the readers of a table, which has at
  /// least one in the entry, or the embedding that a linear is tied to.
  llvm::SmallVector<TableGather> gathers;

  /// Its first reader in the entry; not once it has been rewritten.
  mlir::Operation *reader() const;
  /// Its float values; until it has been rewritten.
  mlir::arith::ConstantOp constant() const;
};

/// A float weight as f32 [n, k]: in place where it is stored so, else a copy.
struct WeightValues {
  std::span<const float> values;
  std::vector<float> storage;
};

/// Reads the weight of `layer`. Fails with a diagnostic that names it if the
/// data is missing.
mlir::FailureOr<WeightValues> readWeight(const PlannedLayer &layer);

/// Lets go of the pages of a constant's data until they are read again.
void releaseConstant(mlir::arith::ConstantOp constant);
void releaseWeight(const PlannedLayer &layer);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PLANNEDLAYER_H
