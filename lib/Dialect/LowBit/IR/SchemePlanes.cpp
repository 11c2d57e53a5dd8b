//===- SchemePlanes.cpp - Schemes as planes -------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both attributes say a quantopt::Scheme, and share what is here.
//
//===----------------------------------------------------------------------===//

#include "EmitDequantize.h"

#include "quantopt/Packing/Dense.h"
#include "quantopt/Packing/FragmentOrder.h"
#include "quantopt/Packing/LineOrder.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

/// Shapes of the planes of codes, scales and zeros.
struct PlaneShapes {
  SmallVector<int64_t, 4> codes, scales, zeros;
};

static PlaneShapes shapesOf(const Scheme &scheme, int64_t n, int64_t k,
                            Layout layout) {
  int64_t rows = scheme.scaleRows(n), columns = scheme.scaleColumns(n, k);
  switch (layout) {
  case Layout::Dense:
    return {{n, denseRowBytes(k, scheme.bits)},
            {rows, columns},
            {rows, denseRowBytes(columns, scheme.bits)}};
  case Layout::Nvptx: {
    using namespace fragment;
    int64_t tiles = rowTiles(n);
    return {{tiles, columnBlocks(k), blockBytes(scheme.bits)},
            {tiles, columns, kBlockRows},
            {tiles, columns, zeroBytes(scheme.bits)}};
  }
  case Layout::Cpu: {
    using namespace line;
    int64_t tiles = rowTiles(n);
    return {{tiles, columnBlocks(k), blockBytes(scheme.bits)},
            {tiles, columns, kBlockRows},
            {tiles, columns, kBlockRows}};
  }
  }
  llvm_unreachable("all layouts handled");
}

static SmallVector<Plane> planesOf(MLIRContext *context, const Scheme &scheme,
                                   int64_t n, int64_t k, Layout layout) {
  Type byte = IntegerType::get(context, 8), f32 = Float32Type::get(context);
  Type scaleType = scheme.nesting == Nesting::Dynamic
                       ? byte
                       : getScaleType(context, scheme.scaleType);
  PlaneShapes shapes = shapesOf(scheme, n, k, layout);
  SmallVector<Plane> planes = {
      {"codes", RankedTensorType::get(shapes.codes, byte)},
      {"scales", RankedTensorType::get(shapes.scales, scaleType)}};
  if (scheme.zero == ZeroKind::Integer)
    planes.push_back({"zeros", RankedTensorType::get(shapes.zeros, byte)});
  if (scheme.zero == ZeroKind::Minimum)
    planes.push_back({"minima", planes[1].type});
  if (scheme.nesting != Nesting::None)
    planes.push_back(
        {"nested_scales",
         RankedTensorType::get(
             {numNested(scheme.nesting, scheme.numScales(n, k))}, f32)});
  if (scheme.nesting == Nesting::Dynamic)
    planes.push_back({"nested_offset", RankedTensorType::get({1}, f32)});
  return planes;
}

/// `planes` in the order of planesOf.
static PackedMatrix toMatrix(const Scheme &scheme, int64_t n, int64_t k,
                             ArrayRef<ArrayRef<char>> planes, Layout layout) {
  PackedMatrix matrix;
  matrix.scheme = scheme;
  matrix.n = n;
  matrix.k = k;
  matrix.layout = layout;
  matrix.forEachPlane([&](const char *, std::span<const uint8_t> &plane) {
    plane = {reinterpret_cast<const uint8_t *>(planes.front().data()),
             planes.front().size()};
    planes = planes.drop_front();
  });
  return matrix;
}

static SmallVector<std::vector<uint8_t>> toPlanes(PackedStorage matrix) {
  SmallVector<std::vector<uint8_t>> planes;
  matrix.forEachPlane([&](const char *, std::vector<uint8_t> &plane) {
    planes.push_back(std::move(plane));
  });
  return planes;
}

static SchemeInterface schemeAttrIn(MLIRContext *context, const Scheme &scheme,
                                    int64_t n, int64_t k, Layout layout) {
  std::optional<Scheme> held = quantopt::schemeIn(layout, scheme, n, k);
  return held ? getSchemeAttr(context, *held) : SchemeInterface();
}

//===----------------------------------------------------------------------===//
// SchemeInterface
//===----------------------------------------------------------------------===//

SmallVector<Plane> AffineAttr::getPlanes(int64_t n, int64_t k,
                                         Layout layout) const {
  return planesOf(getContext(), getScheme(), n, k, layout);
}
SchemeInterface AffineAttr::getSchemeIn(int64_t n, int64_t k,
                                        Layout layout) const {
  return schemeAttrIn(getContext(), getScheme(), n, k, layout);
}
SmallVector<std::vector<uint8_t>>
AffineAttr::convertPlanes(int64_t n, int64_t k, ArrayRef<ArrayRef<char>> planes,
                          Layout from, Layout to) const {
  return toPlanes(convertLayout(toMatrix(getScheme(), n, k, planes, from), to));
}
double AffineAttr::getBitsPerWeight(int64_t n, int64_t k) const {
  return getScheme().bitsPerWeight(n, k);
}
void AffineAttr::dequantizeRows(int64_t n, int64_t k,
                                ArrayRef<ArrayRef<char>> planes, Layout layout,
                                int64_t begin, int64_t end, float *out) const {
  quantopt::dequantizeRows(toMatrix(getScheme(), n, k, planes, layout), begin,
                           end, out);
}
Value AffineAttr::emitDequantize(OpBuilder &builder, Location loc, int64_t n,
                                 int64_t k, ValueRange planes, Layout layout,
                                 Value rows, RankedTensorType type) const {
  return lowbit::emitDequantize(builder, loc, getScheme(), n, k, planes, layout,
                                rows, type);
}

SmallVector<Plane> CodebookAttr::getPlanes(int64_t n, int64_t k,
                                           Layout layout) const {
  return planesOf(getContext(), getScheme(), n, k, layout);
}
SchemeInterface CodebookAttr::getSchemeIn(int64_t n, int64_t k,
                                          Layout layout) const {
  return schemeAttrIn(getContext(), getScheme(), n, k, layout);
}
SmallVector<std::vector<uint8_t>>
CodebookAttr::convertPlanes(int64_t n, int64_t k,
                            ArrayRef<ArrayRef<char>> planes, Layout from,
                            Layout to) const {
  return toPlanes(convertLayout(toMatrix(getScheme(), n, k, planes, from), to));
}
double CodebookAttr::getBitsPerWeight(int64_t n, int64_t k) const {
  return getScheme().bitsPerWeight(n, k);
}
void CodebookAttr::dequantizeRows(int64_t n, int64_t k,
                                  ArrayRef<ArrayRef<char>> planes,
                                  Layout layout, int64_t begin, int64_t end,
                                  float *out) const {
  quantopt::dequantizeRows(toMatrix(getScheme(), n, k, planes, layout), begin,
                           end, out);
}
Value CodebookAttr::emitDequantize(OpBuilder &builder, Location loc, int64_t n,
                                   int64_t k, ValueRange planes, Layout layout,
                                   Value rows, RankedTensorType type) const {
  return lowbit::emitDequantize(builder, loc, getScheme(), n, k, planes, layout,
                                rows, type);
}
