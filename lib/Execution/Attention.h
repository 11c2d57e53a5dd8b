//===- Attention.h - Two products and the softmax between them --*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_ATTENTION_H
#define QUANTOPT_LIB_EXECUTION_ATTENTION_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"

#include <optional>

namespace quantopt::execution {

struct Compilation;

/// A tensor as the loops of an attention see it. Strides are in elements; 0
/// where the tensor does not depend on a loop.
struct AttentionOperand {
  mlir::Value tensor;
  llvm::SmallVector<int64_t> rowStrides; // by row dimension
  int64_t keyStride = 0;
  int64_t innerStride = 0; // along the depth, or along the width

  mlir::RankedTensorType type() const {
    return llvm::cast<mlir::RankedTensorType>(tensor.getType());
  }
};

/// out[r, n] = sum over j of softmax over j of t[r, j] * v[r, j, n], where
/// t[r, j] = score(sum over d of q[r, d] * k[r, j, d], others[r, j]...).
/// r stands for all row dimensions, which are batches, groups of heads, heads
/// and queries in whatever grouping; an operand depends on some of them.
struct Attention {
  llvm::SmallVector<int64_t> rows; // sizes of the row dimensions
  int64_t keys = 0, depth = 0, width = 0;
  AttentionOperand q, k, v, out; // the tensor of out is the last product's
  mlir::Type productType;        // what the first product is rounded to

  /// Elementwise, of products and other operands; null: the products are t.
  mlir::linalg::GenericOp score;
  unsigned productInput = 0;
  llvm::SmallVector<AttentionOperand> others; // of score's inputs, in order
  /// For each loop of `score` but the last, how far one step of each row
  /// dimension moves it.
  llvm::SmallVector<llvm::SmallVector<int64_t>> indexStrides;
  /// A score that is -inf, or next to the smallest float, for a product of 0 is
  /// so for every product.
  bool masks = false;
};

/// The attention that ends with `product`, a marked contraction: all of what
/// is between is used by nobody else, and shapes are static.
std::optional<Attention> matchAttention(mlir::linalg::GenericOp product);

/// A function on buffers q, k, v, others and out, in the module of `builder`'s
/// insertion point. Scores exist for a block of rows at a time only. Keys that
/// all rows of a block mask are not multiplied, unless a row masks everything.
/// Sums are in an order that follows from the shapes alone. With
/// `bf16Products`, for processors with AVX512-BF16, the factors of products of
/// many rows are rounded to bf16; sums and softmax are f32.
mlir::func::FuncOp emitAttention(mlir::OpBuilder &builder,
                                 const Attention &attention, bool bf16Products);

/// Each attention of the entry -> a call of a kernel.
void formAttention(Compilation &compilation);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ATTENTION_H
