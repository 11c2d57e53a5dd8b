//===- QuantizeLayer.h - Quantize one layer as its spec says ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The methods as a run uses them: each reads the weight of a layer, quantizes
// it as the layer's spec says, and records the result with its figures.
// Failures are diagnostics at the layer.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZELAYER_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZELAYER_H

#include "QuantizationRun.h"

namespace quantopt::lowbit {

/// What calibration says of the inputs of a layer.
struct InputStatistics {
  int64_t tokens = 0;            ///< rows that are not all zero
  std::vector<float> meanSquare; ///< of each column; empty without data
  /// Second moments [k, k], where a layer asks for importance=outputs.
  std::vector<float> hessian;

  /// Whether no column was ever used.
  bool isDead() const;
};

/// Rounds layer `index` to nearest. Scales are weighted by the inputs if there
/// are any and the spec does not ask for equal weights. `why` is empty, or why
/// the layer does not get the data or the method that its spec asks for.
mlir::LogicalResult quantizeByRounding(QuantizationRun &run, unsigned index,
                                       const InputStatistics &inputs,
                                       llvm::StringRef why, Seconds start);

/// An asymmetric target that stands in for a weight.
struct TargetWeight {
  std::vector<float> values; ///< [n, k]
  double strength = 0;
};

/// Quantizes layer `index` by GPTQ; `factor` belongs to `inputs` and to the
/// factor options of its spec.
mlir::LogicalResult quantizeByGptq(QuantizationRun &run, unsigned index,
                                   const GptqFactor &factor,
                                   const InputStatistics &inputs, Seconds start,
                                   const std::optional<TargetWeight> &target);

/// Rounds every layer that is not recorded yet, without data.
mlir::LogicalResult quantizeRestWithoutData(QuantizationRun &run,
                                            llvm::StringRef why);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZELAYER_H
