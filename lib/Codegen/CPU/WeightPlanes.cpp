//===- WeightPlanes.cpp - Addresses of packed planes ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

namespace {
/// Bytes of 16 rows of each plane, and of what a lane has of a line.
struct PlaneSizes {
  struct Plane {
    int64_t tile, lane;
  } codes, scales, offsets;

  PlaneSizes(const LinearProblem &problem, const Scheme &scheme) {
    int64_t scalesPerTile = scheme.numGroups(problem.k) * line::kBlockRows;
    int64_t scale = bitWidth(scheme.scaleType) / 8;
    int64_t offset = scheme.zero == ZeroKind::Integer ? 1 : scale;
    codes = {line::rowTileBytes(problem.k, scheme.bits), line::kDot};
    scales = {scalesPerTile * scale, scale};
    offsets = {scalesPerTile * offset, offset};
  }
};
} // namespace

WeightPlanes WeightPlanes::take(KernelBuilder &b, const LinearWeight &weight,
                                Block::args_iterator &next) {
  WeightPlanes planes;
  planes.codes = b.pointerTo(*next++);
  planes.scales = b.pointerTo(*next++);
  if (weight.scheme.zero != ZeroKind::Symmetric)
    planes.offsets = b.pointerTo(*next++);
  return planes;
}

WeightPlanes WeightPlanes::ofExpert(KernelBuilder &b,
                                    const LinearProblem &problem,
                                    const LinearWeight &weight,
                                    Value index) const {
  PlaneSizes sizes(problem, weight.scheme);
  Value tile = b.mul(index, line::rowTiles(weight.n));
  auto at = [&](Value plane, const PlaneSizes::Plane &size) {
    return plane ? b.advance(plane, b.mul(tile, size.tile)) : Value();
  };
  return {at(codes, sizes.codes), at(scales, sizes.scales),
          at(offsets, sizes.offsets)};
}

void WeightPlanes::appendFrom(KernelBuilder &b, const LinearProblem &problem,
                              const LinearWeight &weight, Value first,
                              Values &arguments) const {
  PlaneSizes sizes(problem, weight.scheme);
  int64_t lanes = VectorTarget(problem.target).lanes();
  int64_t perTile = line::kBlockRows / lanes;
  Value tile = b.div(first, perTile);
  Value part = b.sub(first, b.mul(tile, perTile));
  auto append = [&](Value plane, const PlaneSizes::Plane &size) {
    Value start = b.advance(plane, b.mul(tile, size.tile));
    arguments.push_back(perTile == 1
                            ? start
                            : b.advance(start, b.mul(part, lanes * size.lane)));
  };
  append(codes, sizes.codes);
  append(scales, sizes.scales);
  if (offsets)
    append(offsets, sizes.offsets);
}
