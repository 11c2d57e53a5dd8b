//===- RowGroups.cpp - Ops that go over the same rows ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RowGroups.h"
#include "Stages.h"

#include "mlir/Dialect/SCF/Transforms/TileUsingInterface.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;
using utils::IteratorType;

namespace {

/// A root and the producers that are computed inside its loop over rows.
struct Group {
  linalg::LinalgOp root;
  const RowTiling &tiling;

  Group(linalg::LinalgOp root, const RowTiling &tiling)
      : root(root), tiling(tiling) {}

  SmallVector<int64_t> tileSizes; // of the root's loops, 0 = whole
  SmallVector<unsigned> tiled;    // loops of the root with a tile size
  /// For each member, its loop that goes with each tiled loop of the root.
  DenseMap<Operation *, SmallVector<unsigned>> loops;
  int64_t bytes = 0; // that a step keeps of the members

  bool reduces() const {
    return llvm::any_of(llvm::make_first_range(loops), [](Operation *op) {
      return cast<linalg::LinalgOp>(op).getNumReductionLoops() > 0;
    });
  }
};

bool isCandidate(Operation *op) {
  auto linalgOp = dyn_cast_or_null<linalg::LinalgOp>(op);
  return linalgOp && isa<linalg::GenericOp, linalg::FillOp>(op) &&
         !isContraction(op) && linalgOp->getNumResults() == 1 &&
         linalgOp.hasPureTensorSemantics();
}

/// The largest divisor of `size` up to `limit`.
int64_t divisorUpTo(int64_t size, int64_t limit) {
  for (int64_t d = std::min(size, limit); d > 1; --d)
    if (size % d == 0)
      return d;
  return 1;
}

/// Chooses the loops over rows: all parallel ones but the innermost of the
/// result, unless `all`, in tiles of a useful size.
bool chooseTiles(Group &group, bool all) {
  int64_t minTiledElements = group.tiling.minElements,
          wantedTileElements = group.tiling.wantedElements;
  linalg::LinalgOp op = group.root;
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  SmallVector<IteratorType> iterators = op.getIteratorTypesArray();
  group.tileSizes.assign(sizes.size(), 0);
  AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  SmallVector<unsigned> rows; // in the order of the result's dimensions
  for (AffineExpr expr : out.getResults())
    if (auto dim = dyn_cast<AffineDimExpr>(expr))
      if (iterators[dim.getPosition()] == IteratorType::parallel)
        rows.push_back(dim.getPosition());
  if (rows.empty() || rows.size() != size_t(op.getNumParallelLoops()))
    return false;
  bool reduces = op.getNumReductionLoops() > 0;
  int64_t inner = 1; // elements of a step
  unsigned last = rows.back();
  int64_t total = 1;
  for (int64_t size : sizes)
    total *= ShapedType::isDynamic(size) ? minTiledElements : size;
  if (total < minTiledElements)
    return false;
  if (all) {
    wantedTileElements = std::clamp<int64_t>(total / group.tiling.wantedSteps,
                                             32, wantedTileElements);
    if (wantedTileElements >= total)
      return false;
    for (unsigned row : llvm::reverse(rows)) {
      if (ShapedType::isDynamic(sizes[row]))
        return false;
      group.tileSizes[row] = divisorUpTo(
          sizes[row], std::max<int64_t>(wantedTileElements / inner, 1));
      inner *= group.tileSizes[row];
    }
    llvm::sort(rows);
    group.tiled = rows;
    return true;
  }
  if (!reduces && rows.size() > 1) {
    rows.pop_back();
    inner =
        ShapedType::isDynamic(sizes[last]) ? wantedTileElements : sizes[last];
  } else if (reduces) {
    for (auto [size, iterator] : llvm::zip(sizes, iterators))
      if (iterator == IteratorType::reduction && !ShapedType::isDynamic(size))
        inner *= size;
  }
  int64_t steps = 1;
  for (unsigned row : rows) {
    group.tileSizes[row] = 1;
    steps *= ShapedType::isDynamic(sizes[row]) ? 1 : sizes[row];
  }
  int64_t nearest = sizes[rows.back()];
  if (!ShapedType::isDynamic(nearest) && inner < wantedTileElements) {
    int64_t limit = wantedTileElements * 2 / std::max<int64_t>(inner, 1);
    if (int64_t wanted = group.tiling.wantedSteps)
      limit = std::min(limit, std::max<int64_t>(steps / wanted, 1));
    group.tileSizes[rows.back()] = divisorUpTo(nearest, limit);
  }
  llvm::sort(rows);
  group.tiled = rows;
  return true;
}

/// The loops of `producer` that go with the tiled loops of a group, seen
/// through one operand of a member; empty if they do not go together.
SmallVector<unsigned> followLoops(OpOperand &operand,
                                  ArrayRef<unsigned> consumerLoops,
                                  linalg::LinalgOp producer) {
  auto consumer = cast<linalg::LinalgOp>(operand.getOwner());
  AffineMap read = consumer.getMatchingIndexingMap(&operand);
  AffineMap write =
      producer.getMatchingIndexingMap(producer.getDpsInitOperand(0));
  SmallVector<IteratorType> iterators = producer.getIteratorTypesArray();
  if (!read.isProjectedPermutation(/*allowZeroInResults=*/true) ||
      !write.isProjectedPermutation())
    return {};
  SmallVector<unsigned> loops;
  for (unsigned loop : consumerLoops) {
    std::optional<unsigned> position =
        read.getResultPosition(getAffineDimExpr(loop, read.getContext()));
    if (!position)
      return {};
    unsigned mine = write.getDimPosition(*position);
    if (iterators[mine] != IteratorType::parallel)
      return {};
    loops.push_back(mine);
  }
  return loops;
}

/// What one step computes of `op`; nothing if that is not known.
std::optional<int64_t> bytesOfStep(linalg::LinalgOp op,
                                   ArrayRef<unsigned> tiledLoops,
                                   const Group &group) {
  AffineMap out = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  auto type = cast<RankedTensorType>(op->getResult(0).getType());
  int64_t bytes = std::max(1u, type.getElementTypeBitWidth() / 8);
  SmallVector<int64_t> sizes = op.getStaticLoopRanges();
  for (AffineExpr expr : out.getResults()) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if (!dim)
      return std::nullopt;
    auto it = llvm::find(tiledLoops, dim.getPosition());
    int64_t size = it != tiledLoops.end()
                       ? group.tileSizes[group.tiled[it - tiledLoops.begin()]]
                       : sizes[dim.getPosition()];
    if (ShapedType::isDynamic(size))
      return std::nullopt;
    bytes *= size;
  }
  return bytes;
}

/// Adds producers while some can be added: all their users are members, and
/// each step needs exactly its own rows of them.
void growGroup(Group &group) {
  group.loops[group.root] = SmallVector<unsigned>(group.tiled);
  bool changed = true;
  while (changed) {
    changed = false;
    SmallVector<Operation *> members =
        llvm::to_vector(llvm::make_first_range(group.loops));
    for (Operation *member : members)
      for (OpOperand &operand : member->getOpOperands()) {
        Operation *op = operand.get().getDefiningOp();
        if (!isCandidate(op) || group.loops.contains(op))
          continue;
        auto producer = cast<linalg::LinalgOp>(op);
        std::optional<SmallVector<unsigned>> loops;
        bool fits = true;
        for (OpOperand &use : op->getResult(0).getUses()) {
          auto user = group.loops.find(use.getOwner());
          if (user == group.loops.end()) {
            fits = false;
            break;
          }
          SmallVector<unsigned> followed =
              followLoops(use, user->second, producer);
          fits &= followed.size() == group.tiled.size() &&
                  (!loops || *loops == followed);
          loops = followed;
        }
        if (!fits || !loops)
          continue;
        std::optional<int64_t> bytes = bytesOfStep(producer, *loops, group);
        if (!bytes || *bytes > group.tiling.maxRowBytes ||
            group.bytes + *bytes > group.tiling.maxBytes)
          continue;
        group.bytes += *bytes;
        group.loops[op] = *loops;
        changed = true;
      }
  }
}

LogicalResult tileGroup(Group &group) {
  IRRewriter rewriter(group.root.getContext());
  rewriter.setInsertionPoint(group.root);
  SmallVector<OpFoldResult> sizes;
  for (int64_t size : group.tileSizes)
    sizes.push_back(rewriter.getIndexAttr(size));
  scf::SCFTilingOptions tiling;
  tiling.setTileSizes(sizes).setLoopType(
      scf::SCFTilingOptions::LoopType::ForallOp);
  scf::SCFTileAndFuseOptions options;
  options.setTilingOptions(std::move(tiling));
  options.setFusionControlFn(
      [&](tensor::ExtractSliceOp, OpResult producer,
          bool) -> std::optional<scf::SCFTileAndFuseOptions::ControlFnResult> {
        if (!group.loops.contains(producer.getOwner()))
          return std::nullopt;
        return scf::SCFTileAndFuseOptions::ControlFnResult{};
      });
  FailureOr<scf::SCFTileAndFuseResult> result =
      scf::tileConsumerAndFuseProducersUsingSCF(
          rewriter, cast<TilingInterface>(group.root.getOperation()), options);
  if (failed(result))
    return group.root.emitError("cannot be run: its loops cannot be cut into "
                                "rows; this is a defect of quant-opt");
  for (OpResult original : group.root->getResults())
    if (Value replacement = result->replacements.lookup(original))
      rewriter.replaceAllUsesWith(original, replacement);
  // Members go when their last user has gone.
  rewriter.eraseOp(group.root);
  return success();
}

} // namespace

/// The group that ends with `root`, if it is worth a loop.
static std::optional<Group> findGroup(linalg::LinalgOp root,
                                      const RowTiling &tiling) {
  Group rows(root, tiling);
  if (!chooseTiles(rows, /*all=*/false))
    return std::nullopt;
  growGroup(rows);
  if (!tiling.perPoint || rows.reduces())
    return rows;
  Group points(root, tiling);
  if (!chooseTiles(points, /*all=*/true))
    return std::nullopt;
  growGroup(points);
  return points.loops.size() > 1 ? std::optional(points) : std::nullopt;
}

LogicalResult execution::tileRows(func::FuncOp entry, const RowTiling &tiling) {
  SmallVector<linalg::LinalgOp> ops;
  entry.walk<WalkOrder::PreOrder>([&](Operation *op) {
    if (isCandidate(op))
      ops.push_back(cast<linalg::LinalgOp>(op));
  });
  llvm::SmallPtrSet<Operation *, 16> gone;
  // Backwards, so that the last op of a chain becomes the root.
  for (linalg::LinalgOp op : llvm::reverse(ops)) {
    if (gone.contains(op))
      continue;
    if (op->use_empty() && isMemoryEffectFree(op)) {
      op->erase();
      continue;
    }
    if (isa<linalg::FillOp>(op.getOperation()))
      continue;
    std::optional<Group> group = findGroup(op, tiling);
    if (!group)
      continue;
    if (failed(tileGroup(*group)))
      return failure();
    // What the loop now computes by itself.
    for (auto &member : group->loops)
      if (member.first != op)
        gone.insert(member.first);
  }
  // In reverse order of definition, so that chains go whole.
  for (linalg::LinalgOp op : llvm::reverse(ops))
    if (gone.contains(op) && op->use_empty())
      op->erase();
  return success();
}
