//===- AwqChannels.h - Channels of the elements of a tensor -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQCHANNELS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQCHANNELS_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::lowbit {

/// One dimension of a ChannelMap: positions [begin, begin + size) of `extent`
/// are in the box, and a step along it moves `stride` channels on.
struct ChannelDim {
  int64_t extent, begin, size, stride;

  static ChannelDim full(int64_t extent, int64_t stride) {
    return {extent, 0, extent, extent == 1 ? 0 : stride};
  }
  bool isFull() const { return size == extent; }
  /// Whether the channel, or having one, depends on the position.
  bool matters() const { return stride != 0 || !isFull(); }

  bool operator==(const ChannelDim &) const = default;
};

/// Which channel each element of a tensor of static shape belongs to: inside
/// the box that is sum (position - begin) * stride over the dimensions, outside
/// of it none.
struct ChannelMap {
  llvm::SmallVector<ChannelDim> dims;

  /// Channels along the last dimension of `type`.
  static ChannelMap ofLastDim(mlir::RankedTensorType type);

  /// Whether the last dimension alone matters.
  bool isLastDimOnly() const;

  /// Whether no element of the region at `offsets` of `sizes` has a channel.
  bool isDisjoint(llvm::ArrayRef<int64_t> offsets,
                  llvm::ArrayRef<int64_t> sizes) const;

  /// The channel of each element in row-major order, -1 for none.
  std::vector<int64_t> enumerate() const;

  bool operator==(const ChannelMap &) const = default;
};

/// The map of the source of a reshape, slice or cast from that of its result;
/// nullopt for any other op, and where no such map exists.
std::optional<ChannelMap> channelsOfSource(mlir::Operation *op,
                                           const ChannelMap &result);

/// The map of operand `operand` of `op` from that of its result; nullopt where
/// the operand is read for elements of different channels (a broadcast).
std::optional<ChannelMap> channelsOfOperand(mlir::linalg::LinalgOp op,
                                            mlir::OpOperand &operand,
                                            const ChannelMap &result);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_AWQCHANNELS_H
