//===- Estimate.h - What a run would need -----------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_ESTIMATE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_ESTIMATE_H

#include "QuantizationRun.h"

#include "quantopt/Calibration/Samples.h"

namespace quantopt::lowbit {

/// Expected of the whole run, in the terms of ModelReport.
struct RunEstimate {
  Seconds wall = 0, cpu = 0;
  int64_t peakBytes = 0;
};

/// Measures a small part of the run that `probe` was made for and extrapolates:
/// one sample for each thread goes through the model, and of all groups of
/// linears that are alike (shapes and specs) one is quantized as it would be
/// and the others by plain rounding. What is estimated for `samples`, which is
/// null for a run without data, stands for this machine as loaded as it is now.
///
/// Afterwards every layer of `probe` is recorded, with weights of the right
/// sizes and of no other worth.
mlir::FailureOr<RunEstimate> estimateRun(mlir::ModuleOp module,
                                         QuantizationRun &probe,
                                         const CalibrationSamples *samples,
                                         unsigned threads);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_ESTIMATE_H
