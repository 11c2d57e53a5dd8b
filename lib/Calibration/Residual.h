//===- Residual.h - What the result of a linear is added to -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CALIBRATION_RESIDUAL_H
#define QUANTOPT_LIB_CALIBRATION_RESIDUAL_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/IR/Dominance.h"

namespace quantopt {

/// The value h that the result of `linear` is added to, reshapes and a constant
/// bias between them: rows of as many elements, known before `linear`. Null if
/// there is none, or if the result has other uses.
mlir::Value findResidual(lowbit::LinearOp linear,
                         const mlir::DominanceInfo &dominance);

} // namespace quantopt

#endif // QUANTOPT_LIB_CALIBRATION_RESIDUAL_H
