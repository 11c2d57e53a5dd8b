//===- Calibrate.h - Run a module and stop at its linears -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CALIBRATION_CALIBRATE_H
#define QUANTOPT_CALIBRATION_CALIBRATE_H

#include "quantopt/Calibration/Samples.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Runtime/Matrix.h"

namespace quantopt {

/// What stands at a group of linears that read one input. Index i is the i-th
/// of the samples that came here.
struct GroupInputs {
  /// The inputs, given the weights that the client has put before them.
  llvm::ArrayRef<MatrixRef> inputs;
  /// The inputs of the float stream; empty where it is not asked for, or where
  /// a sample took another way in it. Rows that it did not send to the same
  /// expert are those of `inputs`.
  llvm::ArrayRef<MatrixRef> floatInputs;
  /// The values that the result of the only linear of the group is going to be
  /// added to (a residual connection), in both streams; empty where there are
  /// none, or no float inputs.
  llvm::ArrayRef<MatrixRef> residuals, floatResiduals;
};

/// Whether `op` only gives a value another shape.
bool isReshape(mlir::Operation *op);

/// The value that `value` is reshapes of. Linears whose inputs are reshapes of
/// one value read one input: they are observed together.
mlir::Value skipReshapes(mlir::Value value);

/// What is done at the observed linears. Linears go by their index in the list
/// given to calibrate().
class CalibrationClient {
public:
  virtual ~CalibrationClient();

  /// Whether every sample is to run a second time, in step with the first, with
  /// the float weights of the module.
  virtual bool wantsFloatStream() const { return false; }

  /// Whether the samples go on with the float weights of the module. Then
  /// multiply() is never called.
  virtual bool keepsWeights() const { return false; }

  /// All samples stand at `linears`. Called once per group, on the thread that
  /// called calibrate(), before any multiply() of its members. A failure, which
  /// it has reported, stops the run.
  virtual mlir::LogicalResult observe(llvm::ArrayRef<unsigned> linears,
                                      const GroupInputs &group) = 0;

  /// y = x * W^T with what the linear's weight is now. Called from several
  /// threads at once.
  virtual void multiply(unsigned linear, MatrixRef x, MutableMatrixRef y);
};

/// What the float stream runs where that is not the module itself: the same
/// with other constants, and in it the linears, in their order.
struct FloatModel {
  mlir::ModuleOp module;
  llvm::ArrayRef<lowbit::LinearOp> linears;
};

/// Runs function `entry` of `module` once on each sample, all samples in step:
/// at every one of `linears` each waits until all have come, `client` observes
/// their inputs, and they go on with what it multiplies. So each linear sees
/// the inputs that the client's version of the linears before it produces,
/// after one forward pass and for any graph (docs/design.md 4).
///
/// `module` is not changed. What does not lead to one of `linears` is not run.
/// At most `threads` samples compute at a time; the result does not depend on
/// it. Failures are diagnostics.
///
/// The float stream, if the client wants it, runs `floats`, if it is given.
mlir::LogicalResult
calibrate(mlir::ModuleOp module, llvm::StringRef entry,
          llvm::ArrayRef<lowbit::LinearOp> linears,
          const CalibrationSamples &samples, unsigned threads,
          CalibrationClient &client,
          const std::optional<FloatModel> &floats = std::nullopt);

} // namespace quantopt

#endif // QUANTOPT_CALIBRATION_CALIBRATE_H
