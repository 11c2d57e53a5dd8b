//===- Samples.h - Calibration samples --------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CALIBRATION_SAMPLES_H
#define QUANTOPT_CALIBRATION_SAMPLES_H

#include "quantopt/Formats/HostArray.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace quantopt {

/// Inputs of an entry function, `count` of each.
struct CalibrationSamples {
  int64_t count = 0;
  /// Per argument, [count, shape of the argument] in the argument's type.
  std::vector<HostArray> arguments;

  /// Keeps the first `newCount` samples (at most count).
  void truncate(int64_t newCount);

  /// Bytes of argument `index` of sample `sample`.
  const std::byte *data(int64_t sample, unsigned index) const;
};

/// The dtype that holds elements of `type`, and back.
std::optional<DType> getDType(mlir::Type type);
mlir::Type getMLIRType(mlir::MLIRContext *context, DType dtype);

/// Samples for `entry` from a .npy, .npz or .safetensors file: arrays arg0,
/// arg1, ... of [samples, shape of the argument] (dimensions of extent 1 may be
/// left out; integers of another width are converted). Reports what is missing
/// or does not fit at `entry`.
mlir::FailureOr<CalibrationSamples> readSamples(llvm::StringRef path,
                                                mlir::func::FuncOp entry);

/// Samples from the `lowbit.calibration` attributes of the arguments of
/// `entry`; nullopt if there are none.
mlir::FailureOr<std::optional<CalibrationSamples>>
attachedSamples(mlir::func::FuncOp entry);

/// Attaches `samples` as `lowbit.calibration` (no copy is made).
void attachSamples(mlir::func::FuncOp entry, const CalibrationSamples &samples);

} // namespace quantopt

#endif // QUANTOPT_CALIBRATION_SAMPLES_H
