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

#include <map>

namespace quantopt::lowbit {

/// What makes two constants the same data: the key of a resource (its type may
/// differ by a reshape), else the attribute.
mlir::Attribute dataIdentity(mlir::arith::ConstantOp constant);

/// The resource key of `constant` less a final ".weight", which is the name of
/// a layer; nothing if its data is inline.
std::optional<std::string> parameterName(mlir::arith::ConstantOp constant);

/// A tensor value as strided positions in an array.
struct StridedView {
  llvm::SmallVector<int64_t> shape;
  llvm::SmallVector<int64_t> strides; ///< in elements; 0 where broadcast
  int64_t offset = 0;

  /// The whole of a row-major array. Sizes after the first are static.
  static StridedView rowMajor(llvm::ArrayRef<int64_t> shape);
  /// Whether walking the view in row-major order walks the array in order, from
  /// `offset` on.
  bool isContiguous() const;
};

/// A tensor value as a view of a constant's row-major data.
struct ConstantView : StridedView {
  mlir::arith::ConstantOp constant;

  mlir::ElementsAttr data() const {
    return llvm::cast<mlir::ElementsAttr>(
        mlir::arith::ConstantOp(constant).getValue());
  }
};

/// Follows `value` through transposes, broadcasts, reshapes, slices and casts
/// of static shape. Succeeds if a tensor constant stands at the end.
std::optional<ConstantView> traceConstant(mlir::Value value);

/// The value that `value` is a view of by the op that defines it; null if that
/// is no view.
mlir::Value viewSource(mlir::Value value);

/// The value at the end of the same walk (itself if no such op defines it), and
/// in `views` the ops on the way, the last first.
mlir::Value skipViews(mlir::Value value,
                      llvm::SmallVectorImpl<mlir::Operation *> &views);
mlir::Value skipViews(mlir::Value value);

/// Rewrites `view` of the operand of `op`, one of those ops, to a view of its
/// result. Fails if that has no strides.
bool applyView(mlir::Operation *op, StridedView &view);

/// Turns views into constants of their own.
class ViewData {
public:
  /// The elements of `view` in row-major order of its shape as [n, k]. Where
  /// they stand in that order it is the constant itself, or a new resource
  /// `key` that points into its data; else a copy in such a resource. Equal
  /// views of one constant share their data. Fails with a diagnostic if the
  /// constant has none.
  mlir::FailureOr<mlir::ElementsAttr> materialize(const ConstantView &view,
                                                  int64_t n, int64_t k,
                                                  llvm::StringRef key);

private:
  using Key = std::tuple<const void *, int64_t, std::vector<int64_t>,
                         std::vector<int64_t>, int64_t>;
  std::map<Key, mlir::ElementsAttr> known;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CONSTANTVIEW_H
