//===- ExpertGather.cpp - Weights that an index picks per row -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ExpertGather.h"

#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// The body of a gather
//===----------------------------------------------------------------------===//

/// What `values` need of the body of `generic`: the ops, in the order of the
/// body, and the loops that they walk. Fails if that takes the output.
static LogicalResult sliceBody(linalg::GenericOp generic,
                               ArrayRef<Value> values,
                               SmallVectorImpl<Operation *> &ops,
                               llvm::SmallSetVector<unsigned, 4> &loops) {
  SmallVector<Value> open(values);
  llvm::SmallPtrSet<Operation *, 16> needed;
  auto maps = generic.getIndexingMapsArray();
  while (!open.empty()) {
    Value value = open.pop_back_val();
    if (auto argument = dyn_cast<BlockArgument>(value);
        argument && argument.getOwner() == generic.getBody()) {
      if (argument.getArgNumber() >= generic.getNumDpsInputs())
        return failure();
      AffineMap map = maps[argument.getArgNumber()];
      for (unsigned loop = 0; loop < map.getNumDims(); ++loop)
        if (map.isFunctionOfDim(loop))
          loops.insert(loop);
      continue;
    }
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != generic.getBody() || !needed.insert(op).second)
      continue; // from outside, or seen
    if (auto index = dyn_cast<linalg::IndexOp>(op))
      loops.insert(index.getDim());
    llvm::append_range(open, op->getOperands());
  }
  for (Operation &op : *generic.getBody())
    if (needed.contains(&op))
      ops.push_back(&op);
  return success();
}

/// The conditions of the assertions in the body of `generic`.
static SmallVector<Value> assertedIn(linalg::GenericOp generic) {
  SmallVector<Value> conditions;
  for (auto assertion : generic.getBody()->getOps<cf::AssertOp>())
    conditions.push_back(assertion.getArg());
  return conditions;
}

//===----------------------------------------------------------------------===//
// Recognition
//===----------------------------------------------------------------------===//

/// generic { yield extract(constant)[index, loops...] }
static std::optional<ExpertGather> traceGeneric(linalg::GenericOp generic) {
  auto maps = generic.getIndexingMapsArray();
  if (generic.getNumResults() != 1 || generic.getNumReductionLoops() != 0 ||
      !maps.back().isPermutation())
    return std::nullopt;
  auto extract = generic.getBody()
                     ->getTerminator()
                     ->getOperand(0)
                     .getDefiningOp<tensor::ExtractOp>();
  std::optional<ConstantView> source;
  if (extract)
    source = traceConstant(extract.getTensor());
  if (!source)
    return std::nullopt;

  ExpertGather gather = {generic, 0, 0, {}, {}, {}, {}};
  gather.weight.constant = source->constant;
  gather.weight.offset = source->offset;
  SmallVector<int64_t> strides(generic.getNumLoops(), 0);
  llvm::SmallSetVector<unsigned, 4> weightLoops, rowLoops;
  for (auto [dim, index] : llvm::enumerate(extract.getIndices())) {
    if (auto loop = index.getDefiningOp<linalg::IndexOp>()) {
      strides[loop.getDim()] += source->strides[dim];
      weightLoops.insert(loop.getDim());
    } else if (APInt position; matchPattern(index, m_ConstantInt(&position))) {
      gather.weight.offset += position.getSExtValue() * source->strides[dim];
    } else if (gather.index) {
      return std::nullopt; // two indices: no constant's first dimension
    } else {
      gather.index = index;
      gather.experts = source->shape[dim];
      gather.expertStride = source->strides[dim];
    }
  }
  if (!gather.index)
    return std::nullopt;
  SmallVector<Value> roots = assertedIn(generic);
  roots.push_back(gather.index);
  SmallVector<Operation *> ops;
  if (failed(sliceBody(generic, roots, ops, rowLoops)) ||
      llvm::any_of(weightLoops,
                   [&](unsigned loop) { return rowLoops.contains(loop); }))
    return std::nullopt;
  gather.rowLoops = rowLoops.takeVector();
  llvm::sort(gather.rowLoops);

  auto type = cast<RankedTensorType>(generic.getResult(0).getType());
  SmallVector<int64_t> extents(generic.getNumLoops());
  for (auto [dim, extent] : llvm::enumerate(type.getShape()))
    extents[maps.back().getDimPosition(dim)] = extent;
  SmallVector<int64_t> rowExtents;
  for (unsigned loop : gather.rowLoops)
    rowExtents.push_back(extents[loop]);
  // A step of one loop must be a number known now.
  if (ShapedType::isDynamicShape(
          ArrayRef(rowExtents)
              .drop_front(std::min<size_t>(1, rowExtents.size()))))
    return std::nullopt;
  StridedView rows = StridedView::rowMajor(rowExtents);
  gather.weight.shape = gather.rows.shape = llvm::to_vector(type.getShape());
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    unsigned loop = maps.back().getDimPosition(dim);
    auto row = llvm::find(gather.rowLoops, loop);
    gather.weight.strides.push_back(strides[loop]);
    gather.rows.strides.push_back(
        row == gather.rowLoops.end()
            ? 0
            : rows.strides[row - gather.rowLoops.begin()]);
  }
  return gather;
}

/// extract_slice(constant)[index, 0...][1, ...]: one expert for all rows
static std::optional<ExpertGather> traceSlice(tensor::ExtractSliceOp slice) {
  std::optional<ConstantView> source = traceConstant(slice.getSource());
  SmallVector<int64_t> dynamic;
  for (auto [dim, offset] : llvm::enumerate(slice.getStaticOffsets()))
    if (ShapedType::isDynamic(offset))
      dynamic.push_back(dim);
  if (!source || dynamic.size() != 1 || !slice.hasUnitStride() ||
      slice.getStaticSizes()[dynamic[0]] != 1 ||
      !slice.getResultType().hasStaticShape())
    return std::nullopt;
  ExpertGather gather = {slice,
                         source->shape[dynamic[0]],
                         source->strides[dynamic[0]],
                         *source,
                         {},
                         slice.getDynamicOffset(dynamic[0]),
                         {}};
  llvm::SmallBitVector dropped = slice.getDroppedDims();
  gather.weight.shape = llvm::to_vector(slice.getResultType().getShape());
  gather.weight.strides.clear();
  for (auto [dim, stride] : llvm::enumerate(source->strides)) {
    if (static_cast<int64_t>(dim) != dynamic[0])
      gather.weight.offset += slice.getStaticOffset(dim) * stride;
    if (!dropped.test(dim))
      gather.weight.strides.push_back(stride);
  }
  gather.rows.shape = gather.weight.shape;
  gather.rows.strides.assign(gather.rows.shape.size(), 0);
  return gather;
}

std::optional<ExpertGather> traceExpertGather(Value value) {
  SmallVector<Operation *> views;
  std::optional<ExpertGather> gather;
  while (!gather) {
    Operation *op = value.getDefiningOp();
    if (auto generic = dyn_cast_or_null<linalg::GenericOp>(op))
      gather = traceGeneric(generic);
    else if (auto slice = dyn_cast_or_null<tensor::ExtractSliceOp>(op))
      gather = traceSlice(slice);
    if (gather)
      break;
    Value source = viewSource(value);
    if (!source)
      return std::nullopt;
    views.push_back(op);
    value = source;
  }
  for (Operation *op : llvm::reverse(views))
    if (!applyView(op, gather->weight) || !applyView(op, gather->rows))
      return std::nullopt;
  return gather;
}

//===----------------------------------------------------------------------===//
// The index on its own
//===----------------------------------------------------------------------===//

static Value asI64(OpBuilder &b, Location loc, Value index) {
  if (auto cast = index.getDefiningOp<arith::IndexCastOp>();
      cast && cast.getIn().getType().isInteger(64))
    return cast.getIn();
  return arith::IndexCastOp::create(b, loc, b.getI64Type(), index);
}

static void assertInRange(OpBuilder &b, Location loc, Value expert,
                          int64_t experts) {
  // Unsigned, so that negative ones are out of range too.
  Value count = arith::ConstantIntOp::create(b, loc, b.getI64Type(), experts);
  Value inside =
      arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, expert, count);
  cf::AssertOp::create(b, loc, inside, "no such expert: index out of range");
}

Value emitExperts(OpBuilder &builder, const ExpertGather &gather) {
  Location loc = gather.op->getLoc();
  auto generic = dyn_cast<linalg::GenericOp>(gather.op);
  if (!generic) {
    Value expert = asI64(builder, loc, gather.index);
    assertInRange(builder, loc, expert, gather.experts);
    return tensor::FromElementsOp::create(
        builder, loc, RankedTensorType::get({}, builder.getI64Type()), expert);
  }
  SmallVector<Value> roots = assertedIn(generic);
  roots.push_back(gather.index);
  SmallVector<Operation *> ops;
  llvm::SmallSetVector<unsigned, 4> loops;
  (void)sliceBody(generic, roots, ops, loops); // was checked
  // The old loops as those that stay; the others appear in no map that is used.
  SmallVector<AffineExpr> newLoop(generic.getNumLoops(),
                                  builder.getAffineConstantExpr(0));
  for (auto [i, loop] : llvm::enumerate(gather.rowLoops))
    newLoop[loop] = builder.getAffineDimExpr(i);
  int64_t rank = gather.rowLoops.size();
  SmallVector<Value> inputs;
  SmallVector<AffineMap> maps;
  SmallVector<BlockArgument> arguments;
  for (OpOperand *operand : generic.getDpsInputOperands()) {
    BlockArgument argument = generic.getMatchingBlockArgument(operand);
    bool isUsed = llvm::any_of(ops, [&](Operation *op) {
      return llvm::is_contained(op->getOperands(), argument);
    });
    if (!isUsed)
      continue;
    inputs.push_back(operand->get());
    arguments.push_back(argument);
    maps.push_back(
        generic.getMatchingIndexingMap(operand).replaceDimsAndSymbols(
            newLoop, {}, rank, 0));
  }
  maps.push_back(builder.getMultiDimIdentityMap(rank));
  // Sizes from the init, so that nothing needs the gathered weights any more.
  SmallVector<OpFoldResult> all = tensor::getMixedSizes(
                                builder, loc, generic.getDpsInits()[0]),
                            sizes;
  AffineMap resultMap = generic.getIndexingMapsArray().back();
  for (unsigned loop : gather.rowLoops)
    sizes.push_back(
        all[*resultMap.getResultPosition(builder.getAffineDimExpr(loop))]);
  Value empty =
      tensor::EmptyOp::create(builder, loc, sizes, builder.getI64Type());
  return linalg::GenericOp::create(
             builder, loc, empty.getType(), inputs, empty, maps,
             SmallVector<utils::IteratorType>(rank,
                                              utils::IteratorType::parallel),
             [&](OpBuilder &b, Location loc, ValueRange args) {
               IRMapping mapping;
               for (auto [from, to] : llvm::zip(arguments, args))
                 mapping.map(from, to);
               for (Operation *op : ops) {
                 if (auto index = dyn_cast<linalg::IndexOp>(op)) {
                   unsigned at = llvm::find(gather.rowLoops, index.getDim()) -
                                 gather.rowLoops.begin();
                   mapping.map(index.getResult(),
                               linalg::IndexOp::create(b, loc, at).getResult());
                 } else {
                   b.clone(*op, mapping);
                 }
               }
               for (auto assertion : generic.getBody()->getOps<cf::AssertOp>())
                 b.clone(*assertion, mapping);
               Value expert =
                   asI64(b, loc, mapping.lookupOrDefault(gather.index));
               assertInRange(b, loc, expert, gather.experts);
               linalg::YieldOp::create(b, loc, expert);
             })
      .getResult(0);
}

} // namespace quantopt::lowbit
