//===- TableGather.cpp - Rows of constants picked by indices --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TableGather.h"

#include "ConstantView.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;

namespace quantopt::lowbit {

/// Whether what `op` of the body of `generic` computes can be computed once a
/// row: neither it nor what it is made of knows the column.
static bool isOfRow(Operation *op, linalg::GenericOp generic) {
  unsigned column = generic.getNumLoops() - 1;
  if (auto index = dyn_cast<linalg::IndexOp>(op))
    return index.getDim() != column;
  return llvm::all_of(op->getOperands(), [&](Value operand) {
    if (auto argument = dyn_cast<BlockArgument>(operand);
        argument && argument.getOwner() == generic.getBody())
      return argument.getArgNumber() < generic.getNumDpsInputs();
    Operation *source = operand.getDefiningOp();
    return !source || source->getBlock() != generic.getBody() ||
           isOfRow(source, generic);
  });
}

std::optional<TableGather> matchTableGather(tensor::ExtractOp read) {
  auto op = dyn_cast<linalg::GenericOp>(read->getParentOp());
  auto table = read.getTensor().getDefiningOp<arith::ConstantOp>();
  if (!op || !op->getParentOfType<func::FuncOp>() || !table ||
      op.getNumDpsInits() != 1 || op->getNumResults() != 1 ||
      op.getNumReductionLoops() != 0)
    return std::nullopt;
  auto type = cast<RankedTensorType>(table.getType());
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  // Row after row, whole and in order.
  if (type.getRank() != 2 || !getFloatKind(type.getElementType()) ||
      result.getRank() < 1 || result.getShape().back() != type.getDimSize(1) ||
      !op.getIndexingMapMatchingResult(op->getResult(0)).isIdentity())
    return std::nullopt;
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (llvm::any_of(ArrayRef(maps).drop_back(), [&](AffineMap map) {
        return map.isFunctionOfDim(op.getNumLoops() - 1);
      }))
    return std::nullopt;
  auto column = read.getIndices()[1].getDefiningOp<linalg::IndexOp>();
  if (!column || column.getDim() != op.getNumLoops() - 1)
    return std::nullopt;
  // All the rest of the body is about the row.
  for (Operation &inner : *op.getBody()) {
    bool isRest = &inner != read && &inner != column &&
                  &inner != op.getBody()->getTerminator();
    if (isRest && (inner.getNumRegions() != 0 || !isOfRow(&inner, op)))
      return std::nullopt;
  }
  if (op.getBody()->getTerminator()->getOperand(0) != read.getResult())
    return std::nullopt;
  return TableGather{op, read, table};
}

/// The row that each position of the leading dimensions asks for, as `gather`
/// computes it, with the assertions that it makes.
static Value emitRows(OpBuilder &b, const TableGather &gather) {
  linalg::GenericOp op = gather.op;
  tensor::ExtractOp read = gather.read;
  unsigned leading = op.getNumLoops() - 1;
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  SmallVector<AffineMap> maps;
  for (AffineMap map : op.getIndexingMapsArray())
    maps.push_back(
        AffineMap::get(leading, 0, map.getResults(), b.getContext()));
  maps.back() = b.getMultiDimIdentityMap(leading);
  Location loc = op.getLoc();
  SmallVector<OpFoldResult> sizes =
      tensor::getMixedSizes(b, loc, op.getDpsInits()[0]);
  sizes.pop_back();
  Value empty = tensor::EmptyOp::create(b, loc, sizes, b.getI64Type());
  return linalg::GenericOp::create(
             b, loc,
             RankedTensorType::get(result.getShape().drop_back(),
                                   b.getI64Type()),
             op.getDpsInputs(), empty, maps,
             SmallVector<utils::IteratorType>(leading,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               IRMapping mapping;
               mapping.map(op.getBody()->getArguments().drop_back(),
                           args.drop_back());
               for (Operation &inner : op.getBody()->without_terminator())
                 if (&inner != read && isOfRow(&inner, op))
                   b.clone(inner, mapping);
               Value row = mapping.lookupOrDefault(read.getIndices()[0]);
               linalg::YieldOp::create(b, loc,
                                       ValueRange(arith::IndexCastOp::create(
                                           b, loc, b.getI64Type(), row)));
             })
      .getResult(0);
}

void replaceByLookup(const TableGather &gather, Value weight) {
  linalg::GenericOp op = gather.op;
  OpBuilder b(op);
  Value rows = emitRows(b, gather);
  op->getResult(0).replaceAllUsesWith(LookupOp::create(
      b, op.getLoc(), op->getResult(0).getType(), rows, weight));
  op.erase();
  arith::ConstantOp table = gather.table;
  if (table->use_empty())
    table.erase();
}

TableReaders::TableReaders(ModuleOp module) {
  module.walk([&](arith::ConstantOp constant) {
    for (Operation *user : constant->getUsers()) {
      if (isa<LinearOp>(user))
        continue;
      Readers &known = readers[dataIdentity(constant)];
      known.first = known.first ? known.first : user;
      auto read = dyn_cast<tensor::ExtractOp>(user);
      std::optional<TableGather> gather;
      if (read)
        gather = matchTableGather(read);
      if (gather)
        known.gathers.push_back(*gather);
      else
        known.others = true;
    }
  });
}

Operation *TableReaders::find(arith::ConstantOp constant) const {
  auto it = readers.find(dataIdentity(constant));
  return it == readers.end() ? nullptr : it->second.first;
}

ArrayRef<TableGather> TableReaders::gathers(arith::ConstantOp constant,
                                            int64_t n, int64_t k) const {
  auto it = readers.find(dataIdentity(constant));
  if (it == readers.end() || it->second.others)
    return {};
  bool fits = llvm::all_of(it->second.gathers, [&](TableGather gather) {
    auto type = cast<RankedTensorType>(gather.table.getType());
    return type.getShape() == ArrayRef({n, k});
  });
  return fits ? ArrayRef(it->second.gathers) : ArrayRef<TableGather>();
}

SmallVector<TableGather> TableReaders::take(arith::ConstantOp constant,
                                            int64_t n, int64_t k) {
  SmallVector<TableGather> taken(gathers(constant, n, k));
  if (!taken.empty())
    readers.erase(dataIdentity(constant));
  return taken;
}

} // namespace quantopt::lowbit
