//===- AwqScaling.h - Scale the inputs of linears ---------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQSCALING_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQSCALING_H

#include "QuantizationRun.h"

#include "quantopt/Calibration/Samples.h"

namespace quantopt::lowbit {

/// Merges equal computations in each function, so that linears which read one
/// input are seen to do so, and removes dead ones.
void mergeEqualOps(mlir::ModuleOp module);

/// Scales the layers of `plan` whose spec asks for it (AWQ), so that `module`
/// computes the same function and rounding does less harm: searches the scales
/// on the inputs that `samples` give in the float module, one set for all
/// layers that read one input, and folds their inverses into what computes that
/// input. Returns what was done with each layer. Call mergeEqualOps first.
/// Failures, that there are no samples among them, are diagnostics.
mlir::FailureOr<std::vector<LayerScaling>>
scaleByAwq(mlir::ModuleOp module, const QuantizePlan &plan,
           const std::optional<CalibrationSamples> &samples,
           const QuantizeOptions &options);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQSCALING_H
