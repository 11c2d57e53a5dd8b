//===- RowSpace.h - Dimensions that shapes have in common -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_ROWSPACE_H
#define QUANTOPT_LIB_EXECUTION_ROWSPACE_H

#include "mlir/Support/LLVM.h"
#include "llvm/ADT/STLExtras.h"

#include <set>

namespace quantopt::execution {

/// Row dimensions, split so that the dimensions of several shapes are groups
/// of them. One is known by what a step in it is worth in a row's number.
class RowSpace {
public:
  /// Takes a shape whose last dimension is not rows. False if its dimensions
  /// and those known so far overlap without nesting.
  bool add(llvm::ArrayRef<int64_t> shape) {
    int64_t step = 1;
    for (int64_t size : llvm::reverse(shape.drop_back())) {
      steps.insert(step);
      step *= size;
    }
    steps.insert(step);
    total = step;
    int64_t previous = 1;
    for (int64_t next : steps) {
      if (next % previous != 0)
        return false;
      previous = next;
    }
    return true;
  }

  /// Sizes, outermost first.
  llvm::SmallVector<int64_t> sizes() const {
    llvm::SmallVector<int64_t> result;
    for (int64_t step : rowSteps())
      result.push_back(*std::next(steps.find(step)) / step);
    return result;
  }

  /// What a step in each row dimension adds to an index of dimension `dim` of
  /// `shape`.
  llvm::SmallVector<int64_t> stepsAlong(llvm::ArrayRef<int64_t> shape,
                                        unsigned dim) const {
    int64_t inner = 1;
    for (int64_t size : shape.slice(dim + 1).drop_back())
      inner *= size;
    llvm::SmallVector<int64_t> result;
    for (int64_t step : rowSteps())
      result.push_back(step >= inner && step < inner * shape[dim] ? step / inner
                                                                  : 0);
    return result;
  }

private:
  llvm::SmallVector<int64_t> rowSteps() const {
    llvm::SmallVector<int64_t> result;
    for (int64_t step : llvm::reverse(steps))
      if (step < total)
        result.push_back(step);
    return result;
  }
  std::set<int64_t> steps;
  int64_t total = 1;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ROWSPACE_H
