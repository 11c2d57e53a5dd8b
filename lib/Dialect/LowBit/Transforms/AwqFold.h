//===- AwqFold.h - Where a factor per channel goes --------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// AWQ multiplies the columns of weights by scales, and the input that they read
// by the inverses. Here the inverses are traced back to the constants that can
// take them, so that no op is added to the graph.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQFOLD_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQFOLD_H

#include "AwqChannels.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"

namespace quantopt::lowbit {

/// What reads the data of each constant of a module, by function.
class ConstantReaders {
public:
  explicit ConstantReaders(mlir::ModuleOp module);

  /// Whether the weight of `linear` is a float constant whose data nothing else
  /// of its function reads, and of other functions one linear each at most.
  bool isOwn(LinearOp linear) const;

  /// Where isOwn() holds: the linears of other functions that read the weight,
  /// at most one of each function.
  llvm::SmallVector<LinearOp> elsewhere(LinearOp linear) const;

private:
  using Readers =
      llvm::MapVector<mlir::Operation *,
                      llvm::SmallVector<mlir::Operation *, 1>>; // by function
  const Readers *readersOf(LinearOp linear) const;

  llvm::DenseMap<mlir::Attribute, Readers> readers;
};

/// Factors for a weight [n, k].
struct WeightFactors {
  std::vector<float> rows, columns; ///< empty: all 1
};
using WeightFactorMap =
    llvm::MapVector<mlir::Operation *, WeightFactors>; ///< by linear

/// The constants that together take factors per channel of a value.
struct Fold {
  /// Each element e of the constant `use` reads becomes f e + (f - 1) shift, f
  /// the factor of its channel.
  struct Constant {
    mlir::OpOperand *use;
    ChannelMap channels;
    double shift;
  };
  /// The rows of the weight of `linear` take those of its last dimension.
  struct Rows {
    LinearOp linear;
    ChannelDim channels;
  };
  llvm::SmallVector<Constant> constants;
  llvm::SmallVector<Rows> rows;

  /// The names of all that takes factors, separated by commas.
  std::string describe() const;
};

/// Whether both give the same factors to the same data, in the same order.
bool isSameFold(const Fold &a, const Fold &b);

/// Lets `other`, an equal fold of another function, read the constants that
/// `fold` has changed.
void followFold(const Fold &fold, const Fold &other);

/// Lets `to` read a constant of its own with the data that `from` reads.
void followConstant(mlir::OpOperand &from, mlir::OpOperand &to);

/// Finds what can take factors on the channels of the input that `linears`
/// share, so that they alone see other values. Fails, with the reason in `why`,
/// where nothing can.
mlir::FailureOr<Fold> findFold(llvm::ArrayRef<LinearOp> linears,
                               const ConstantReaders &readers,
                               std::string &why);

/// Gives the constants of `fold` new data; factors for the rows of linears are
/// added to `weights`. Fails with a diagnostic if data is missing.
mlir::LogicalResult applyFold(const Fold &fold, llvm::ArrayRef<float> factors,
                              WeightFactorMap &weights);

/// Multiplies what each of `linears` reads by `factors`, by an op in the graph.
void insertMultiply(llvm::ArrayRef<LinearOp> linears,
                    llvm::ArrayRef<float> factors);

/// Gives the weight of `linear` new data: each element times the factors of its
/// row and column. Fails with a diagnostic if data is missing.
mlir::LogicalResult applyFactors(LinearOp linear, const WeightFactors &factors);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQFOLD_H
