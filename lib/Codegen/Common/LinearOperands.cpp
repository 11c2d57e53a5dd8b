//===- LinearOperands.cpp - What kernels of a linear are given ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/Common/LinearOperands.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectResourceBlobManager.h"

using namespace mlir;
using namespace quantopt;

std::optional<Scheme> codegen::schemeOf(Attribute attr) {
  if (auto affine = dyn_cast<lowbit::AffineAttr>(attr))
    return affine.getScheme();
  if (auto codebook = dyn_cast<lowbit::CodebookAttr>(attr))
    return codebook.getScheme();
  return std::nullopt;
}

Attribute codegen::reshaped(ElementsAttr attr, RankedTensorType type) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  return cast<DenseElementsAttr>(attr).reshape(type);
}

Value codegen::flatten(OpBuilder &builder, Value value, int64_t rank) {
  auto type = cast<RankedTensorType>(value.getType());
  if (type.getRank() == rank)
    return value;
  int64_t leading = type.getRank() - (rank - 1);
  int64_t size = 1;
  for (int64_t dim : type.getShape().take_front(leading))
    size = ShapedType::isDynamic(dim) || ShapedType::isDynamic(size)
               ? ShapedType::kDynamic
               : size * dim;
  SmallVector<int64_t> shape = {size};
  if (rank == 2)
    shape.push_back(type.getShape().back());
  auto flat = RankedTensorType::get(shape, type.getElementType());
  SmallVector<ReassociationIndices> groups;
  if (leading == 0) {
    if (rank == 2)
      groups = {{0, 1}};
    return tensor::ExpandShapeOp::create(builder, value.getLoc(), flat, value,
                                         groups);
  }
  groups.push_back(llvm::to_vector(llvm::seq<int64_t>(0, leading)));
  if (rank == 2)
    groups.push_back({leading});
  return tensor::CollapseShapeOp::create(builder, value.getLoc(), flat, value,
                                         groups);
}

Value codegen::unflatten(OpBuilder &builder, Value matrix,
                         RankedTensorType type, Value like) {
  Location loc = matrix.getLoc();
  int64_t rank = type.getRank();
  if (rank == 2)
    return matrix;
  if (rank == 1) {
    SmallVector<ReassociationIndices> all = {{0, 1}};
    return tensor::CollapseShapeOp::create(builder, loc, type, matrix, all);
  }
  SmallVector<ReassociationIndices> groups = {
      llvm::to_vector(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, like);
  sizes.back() = builder.getIndexAttr(type.getShape().back());
  return tensor::ExpandShapeOp::create(builder, loc, type, matrix, groups,
                                       sizes);
}

bool codegen::continuesChain(lowbit::LinearOp linear, lowbit::LinearOp next) {
  return linear.isRouted() && next.isRouted() &&
         next.getOthers() == linear.getResult() &&
         linear.getResult().hasOneUse() &&
         linear->getBlock() == next->getBlock() &&
         linear.getInput() == next.getInput() &&
         linear.getRouting() == next.getRouting() &&
         linear.getWeight().getType() == next.getWeight().getType();
}

void codegen::eraseUnusedWeights(Operation *root) {
  SmallVector<lowbit::WeightOp> unused;
  root->walk([&](lowbit::WeightOp op) {
    if (op->use_empty())
      unused.push_back(op);
  });
  for (lowbit::WeightOp op : unused)
    op.erase();
}
