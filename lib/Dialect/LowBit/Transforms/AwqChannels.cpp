//===- AwqChannels.cpp - Channels of the elements of a tensor -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AwqChannels.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;

namespace quantopt::lowbit {

ChannelMap ChannelMap::ofLastDim(RankedTensorType type) {
  ChannelMap map;
  for (int64_t extent : type.getShape().drop_back())
    map.dims.push_back(ChannelDim::full(extent, 0));
  map.dims.push_back(ChannelDim::full(type.getShape().back(), 1));
  return map;
}

bool ChannelMap::isLastDimOnly() const {
  return !dims.empty() &&
         llvm::none_of(ArrayRef(dims).drop_back(),
                       [](const ChannelDim &dim) { return dim.matters(); });
}

bool ChannelMap::isDisjoint(ArrayRef<int64_t> offsets,
                            ArrayRef<int64_t> sizes) const {
  for (auto [dim, offset, size] : llvm::zip_equal(dims, offsets, sizes))
    if (offset + size <= dim.begin || dim.begin + dim.size <= offset)
      return true;
  return false;
}

std::vector<int64_t> ChannelMap::enumerate() const {
  std::vector<int64_t> channels = {0};
  // Dimension by dimension, each element followed by those along the next.
  for (const ChannelDim &dim : dims) {
    std::vector<int64_t> finer;
    finer.reserve(channels.size() * dim.extent);
    for (int64_t channel : channels)
      for (int64_t at = 0; at < dim.extent; ++at) {
        bool inside = at >= dim.begin && at < dim.begin + dim.size;
        finer.push_back(channel < 0 || !inside
                            ? -1
                            : channel + (at - dim.begin) * dim.stride);
      }
    channels = std::move(finer);
  }
  return channels;
}

//===----------------------------------------------------------------------===//
// Reshapes
//===----------------------------------------------------------------------===//

/// The dimension that `fine` are merged into.
static std::optional<ChannelDim> merge(ArrayRef<ChannelDim> fine) {
  ChannelDim merged = ChannelDim::full(1, 0);
  for (const ChannelDim &dim : llvm::reverse(fine)) {
    if (dim.extent == 1)
      continue;
    if (merged.extent == 1) {
      merged = dim;
      continue;
    }
    // A step of the outer one is one past the end of the inner one.
    if (!merged.isFull() ||
        (dim.size != 1 && dim.stride != merged.stride * merged.extent))
      return std::nullopt;
    merged = {dim.extent * merged.extent, dim.begin * merged.extent,
              dim.size * merged.extent, merged.stride};
  }
  return merged;
}

/// `dim` as dimensions of `extents`, appended to `fine`.
static bool split(const ChannelDim &dim, ArrayRef<int64_t> extents,
                  SmallVector<ChannelDim> &fine) {
  int64_t inner = 1, stride = dim.stride;
  SmallVector<ChannelDim> reversed;
  for (int64_t extent : llvm::reverse(extents)) {
    reversed.push_back(ChannelDim::full(extent, stride));
    stride *= extent;
  }
  if (!dim.isFull()) {
    // Part of it must be whole steps of the outermost dimension.
    auto outer = llvm::find_if(llvm::reverse(reversed),
                               [](auto &dim) { return dim.extent != 1; });
    if (outer == reversed.rend())
      return false;
    inner = dim.extent / outer->extent;
    if (dim.begin % inner || dim.size % inner)
      return false;
    outer->begin = dim.begin / inner;
    outer->size = dim.size / inner;
    if (outer->size == 1)
      outer->stride = 0;
  }
  fine.append(reversed.rbegin(), reversed.rend());
  return true;
}

static std::optional<ChannelMap> beforeExpand(tensor::ExpandShapeOp op,
                                              const ChannelMap &result) {
  ChannelMap source;
  for (const ReassociationIndices &group : op.getReassociationIndices()) {
    SmallVector<ChannelDim> fine;
    for (int64_t dim : group)
      fine.push_back(result.dims[dim]);
    std::optional<ChannelDim> merged = merge(fine);
    if (!merged)
      return std::nullopt;
    source.dims.push_back(*merged);
  }
  return source;
}

static std::optional<ChannelMap> beforeCollapse(tensor::CollapseShapeOp op,
                                                const ChannelMap &result) {
  ChannelMap source;
  for (auto [dim, group] :
       llvm::zip_equal(result.dims, op.getReassociationIndices())) {
    SmallVector<int64_t> extents;
    for (int64_t fine : group)
      extents.push_back(op.getSrcType().getDimSize(fine));
    if (!split(dim, extents, source.dims))
      return std::nullopt;
  }
  return source;
}

static std::optional<ChannelMap> beforeSlice(tensor::ExtractSliceOp op,
                                             const ChannelMap &result) {
  if (!op.hasUnitStride() ||
      llvm::any_of(op.getStaticOffsets(), ShapedType::isDynamic))
    return std::nullopt;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  ChannelMap source;
  unsigned next = 0;
  for (auto [i, offset] : llvm::enumerate(op.getStaticOffsets())) {
    ChannelDim dim =
        dropped.test(i) ? ChannelDim::full(1, 0) : result.dims[next++];
    dim.extent = op.getSourceType().getDimSize(i);
    dim.begin += offset;
    source.dims.push_back(dim);
  }
  return source;
}

static bool hasStaticShape(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.hasStaticShape();
}

std::optional<ChannelMap> channelsOfSource(Operation *op,
                                           const ChannelMap &result) {
  if (op->getNumOperands() == 0 || !hasStaticShape(op->getOperand(0)))
    return std::nullopt;
  using Map = std::optional<ChannelMap>;
  return llvm::TypeSwitch<Operation *, Map>(op)
      .Case([&](tensor::ExpandShapeOp op) { return beforeExpand(op, result); })
      .Case([&](tensor::CollapseShapeOp op) {
        return beforeCollapse(op, result);
      })
      .Case([&](tensor::ExtractSliceOp op) { return beforeSlice(op, result); })
      .Case([&](tensor::CastOp) { return Map(result); })
      .Default([](Operation *) { return Map(); });
}

//===----------------------------------------------------------------------===//
// Indexing maps
//===----------------------------------------------------------------------===//

std::optional<ChannelMap> channelsOfOperand(linalg::LinalgOp op,
                                            OpOperand &operand,
                                            const ChannelMap &result) {
  AffineMap to = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  AffineMap from = op.getMatchingIndexingMap(&operand);
  if (!to.isProjectedPermutation() || !hasStaticShape(operand.get()) ||
      !from.isProjectedPermutation(/*allowZeroInResults=*/true))
    return std::nullopt;
  // Loops that the result does not have are sums; their channel is one.
  SmallVector<std::optional<ChannelDim>> loops(op.getNumLoops());
  for (auto [expr, dim] : llvm::zip_equal(to.getResults(), result.dims))
    loops[cast<AffineDimExpr>(expr).getPosition()] = dim;
  ChannelMap map;
  for (auto [expr, extent] :
       llvm::zip_equal(from.getResults(), op.getShape(&operand))) {
    map.dims.push_back(ChannelDim::full(extent, 0));
    if (auto loop = dyn_cast<AffineDimExpr>(expr))
      if (auto known = std::exchange(loops[loop.getPosition()], std::nullopt))
        map.dims.back() = *known;
  }
  for (const std::optional<ChannelDim> &rest : loops)
    if (rest && rest->matters())
      return std::nullopt;
  return map;
}

} // namespace quantopt::lowbit
