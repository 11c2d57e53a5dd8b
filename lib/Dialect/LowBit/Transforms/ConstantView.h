//===- ConstantView.h - Constant data seen through shape ops ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONSTANTVIEW_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONSTANTVIEW_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Value.h"

namespace quantopt::lowbit {

/// A tensor value as a strided view of a constant's row-major data.
struct ConstantView {
  mlir::arith::ConstantOp constant;
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<int64_t> strides; ///< in elements; 0 where broadcast
  int64_t offset = 0;

  mlir::ElementsAttr data() const {
    return llvm::cast<mlir::ElementsAttr>(
        mlir::arith::ConstantOp(constant).getValue());
  }
};

/// Follows `value` through transposes, broadcasts, reshapes, slices and casts
/// of static shape. Succeeds if a tensor constant stands at the end.
std::optional<ConstantView> traceConstant(mlir::Value value);

/// The value at the end of the same walk (itself if no such op defines it).
mlir::Value skipViews(mlir::Value value);

/// The elements of `view` in row-major order of its shape as [n, k]: the
/// constant's own data where that is the order it stands in, else a copy in a
/// new resource called `key`. Fails with a diagnostic if the data is missing.
mlir::FailureOr<mlir::ElementsAttr> materialize(const ConstantView &view,
                                                int64_t n, int64_t k,
                                                llvm::StringRef key);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONSTANTVIEW_H
