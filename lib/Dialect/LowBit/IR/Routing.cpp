//===- Routing.cpp - Routed linears in upstream dialects ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/Routing.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;

Value lowbit::selectRoutedRows(OpBuilder &builder, LinearOp linear,
                               Value product) {
  Location loc = linear.getLoc();
  auto type = cast<RankedTensorType>(product.getType());
  int64_t rank = type.getRank();
  AffineMap all = builder.getMultiDimIdentityMap(rank);
  AffineMap rows = all.getMajorSubMap(rank - 1);
  Value empty = tensor::EmptyOp::create(
      builder, loc, tensor::getMixedSizes(builder, loc, product),
      type.getElementType());
  return linalg::GenericOp::create(
             builder, loc, type,
             ValueRange{linear.getRouting(), product, linear.getOthers()},
             empty, ArrayRef{rows, all, all, all},
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               Value expert = arith::ConstantIntOp::create(
                   b, loc, b.getI64Type(), *linear.getExpert());
               Value mine = arith::CmpIOp::create(
                   b, loc, arith::CmpIPredicate::eq, args[0], expert);
               Value row =
                   arith::SelectOp::create(b, loc, mine, args[1], args[2]);
               linalg::YieldOp::create(b, loc, row);
             })
      .getResult(0);
}
