//===- TableGather.cpp - Rows of constants picked by indices --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TableGather.h"

#include "ConstantView.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/Support/FormatVariadic.h"

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

/// Whether `read` picks elements of a float matrix one row after the other, by
/// numbers that are not those of the loops.
static bool isRowRead(tensor::ExtractOp read) {
  auto op = dyn_cast<linalg::GenericOp>(read->getParentOp());
  auto type = cast<RankedTensorType>(read.getTensor().getType());
  if (!op || type.getRank() != 2 || !isa<FloatType>(type.getElementType()) ||
      read.getIndices()[0].getDefiningOp<linalg::IndexOp>())
    return false;
  auto column = read.getIndices()[1].getDefiningOp<linalg::IndexOp>();
  return column && column.getDim() == op.getNumLoops() - 1;
}

/// Empty if all that the op of `read` does is to gather rows of a constant
/// (TableGather), else what is otherwise.
static std::string whyNoTableGather(tensor::ExtractOp read) {
  auto op = dyn_cast<linalg::GenericOp>(read->getParentOp());
  auto table = read.getTensor().getDefiningOp<arith::ConstantOp>();
  auto type = cast<RankedTensorType>(read.getTensor().getType());
  if (!op || !op->getParentOfType<func::FuncOp>())
    return "it is not read by a linalg.generic in a function";
  if (!table)
    return "it is not a constant";
  if (type.getRank() != 2)
    return "it is not a matrix";
  if (!getFloatKind(type.getElementType()))
    return llvm::formatv("its elements are {0}, not f32, f16 or bf16",
                         type.getElementType());
  constexpr StringLiteral other = "what reads its rows does something else too";
  if (op.getNumDpsInits() != 1 || op->getNumResults() != 1 ||
      op.getNumReductionLoops() != 0)
    return other.str();
  auto result = cast<RankedTensorType>(op->getResult(0).getType());
  // Row after row, whole and in order.
  auto column = read.getIndices()[1].getDefiningOp<linalg::IndexOp>();
  if (result.getRank() < 1 || result.getShape().back() != type.getDimSize(1) ||
      !op.getIndexingMapMatchingResult(op->getResult(0)).isIdentity() ||
      !column || column.getDim() != op.getNumLoops() - 1)
    return "its rows are not read whole and in order";
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  if (llvm::any_of(ArrayRef(maps).drop_back(), [&](AffineMap map) {
        return map.isFunctionOfDim(op.getNumLoops() - 1);
      }))
    return other.str();
  // All the rest of the body is about the row.
  for (Operation &inner : *op.getBody()) {
    bool isRest = &inner != read && &inner != column &&
                  &inner != op.getBody()->getTerminator();
    if (isRest && (inner.getNumRegions() != 0 || !isOfRow(&inner, op)))
      return other.str();
  }
  if (op.getBody()->getTerminator()->getOperand(0) != read.getResult())
    return other.str();
  return "";
}

arith::ConstantOp TableGather::table() const {
  return tensor::ExtractOp(read).getTensor().getDefiningOp<arith::ConstantOp>();
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
  arith::ConstantOp table = gather.table();
  OpBuilder b(op);
  Value rows = emitRows(b, gather);
  op->getResult(0).replaceAllUsesWith(LookupOp::create(
      b, op.getLoc(), op->getResult(0).getType(), rows, weight));
  op.erase();
  if (table->use_empty())
    table.erase();
}

TableReaders::TableReaders(ModuleOp module) {
  module.walk([&](arith::ConstantOp constant) {
    for (Operation *user : constant->getUsers()) {
      Readers &known = readers[dataIdentity(constant)];
      if (isa<LinearOp>(user)) {
        known.hasLinear = true;
        continue;
      }
      known.first = known.first ? known.first : user;
      auto read = dyn_cast<tensor::ExtractOp>(user);
      if (read && whyNoTableGather(read).empty())
        known.gathers.push_back(
            {cast<linalg::GenericOp>(read->getParentOp()), read});
      else
        known.other = known.other ? known.other : user;
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
  if (it == readers.end() || it->second.other)
    return {};
  bool fits = llvm::all_of(it->second.gathers, [&](const TableGather &gather) {
    auto type = cast<RankedTensorType>(gather.table().getType());
    return type.getShape() == ArrayRef({n, k});
  });
  return fits ? ArrayRef(it->second.gathers) : ArrayRef<TableGather>();
}

/// What `read`, which is one row by row, says of its table.
Table TableReaders::describe(tensor::ExtractOp read) const {
  Table table;
  std::optional<ConstantView> view = traceConstant(read.getTensor());
  if (view)
    table.name = parameterName(view->constant).value_or("");
  table.whyNot = whyNoTableGather(read);
  if (!table.whyNot.empty())
    return table;
  arith::ConstantOp constant = view->constant;
  auto type = cast<RankedTensorType>(constant.getType());
  table.gathers = llvm::to_vector(
      gathers(constant, type.getDimSize(0), type.getDimSize(1)));
  if (!table.gathers.empty())
    return table;
  Operation *other = readers.find(dataIdentity(constant))->second.other;
  table.whyNot =
      other ? llvm::formatv("it is also used by '{0}', which needs its floats",
                            other->getName())
                  .str()
            : "it is read as matrices of different shapes";
  return table;
}

std::vector<Table> TableReaders::tables(func::FuncOp entry) const {
  std::vector<Table> tables;
  DenseSet<Attribute> seen;
  entry.walk([&](tensor::ExtractOp read) {
    if (!isRowRead(read))
      return;
    if (std::optional<ConstantView> view = traceConstant(read.getTensor())) {
      Attribute data = dataIdentity(view->constant);
      auto known = readers.find(data);
      if ((known != readers.end() && known->second.hasLinear) ||
          !seen.insert(data).second)
        return;
    }
    tables.push_back(describe(read));
  });
  return tables;
}

} // namespace quantopt::lowbit
