//===- SchemePlanes.cpp - Schemes as planes and as IR ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Both attributes say a quantopt::Scheme, and share what is here.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Packing/Dense.h"
#include "quantopt/Packing/FragmentOrder.h"
#include "quantopt/Packing/LineOrder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

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
// The meaning as upstream IR: one element at a time, slow and obvious
//===----------------------------------------------------------------------===//

namespace {
/// Emits the loop over all elements.
class DequantizeEmitter {
public:
  DequantizeEmitter(OpBuilder &builder, Location loc, const Scheme &scheme,
                    ValueRange planes, RankedTensorType type)
      : b(builder), loc(loc), scheme(scheme), planes(planes), type(type) {}

  Value emit();

private:
  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, b.getI32Type(), value);
  }
  Value f32(double value) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  }
  Value constant(ArrayRef<float> values) {
    auto type = RankedTensorType::get(values.size(), b.getF32Type());
    return arith::ConstantOp::create(b, loc,
                                     DenseElementsAttr::get(type, values));
  }
  Value at(Value plane, ValueRange indices) {
    return tensor::ExtractOp::create(b, loc, plane, indices);
  }
  Value multiply(Value x, Value y) {
    return arith::MulFOp::create(b, loc, x, y);
  }
  void emitTables();
  std::pair<Value, Value> groupOf(Value row, Value column);
  Value field(Value plane, Value row, Value column);
  Value byteValue(Value row, Value column);
  Value parameter(Value plane, Value row, Value column);
  Value scale(Value row, Value column);
  Value element();

  OpBuilder &b;
  Location loc;
  const Scheme &scheme;
  ValueRange planes;
  RankedTensorType type;
  Value codeTable;  ///< values of codes; null if they are linear
  Value scaleTable; ///< values of scales of one byte; null for others
};
} // namespace

/// Constants that the loop reads.
void DequantizeEmitter::emitTables() {
  if (scheme.table != CodeTable::Linear)
    codeTable = constant(tableValues(scheme.table));
  if (scheme.nesting != Nesting::None) {
    scaleTable = constant(byteValues(scheme.nesting));
  } else if (bitWidth(scheme.scaleType) == 8) {
    ByteValues values;
    for (uint32_t byte = 0; byte < values.size(); ++byte)
      values[byte] = decodeFloat(scheme.scaleType, byte);
    scaleTable = constant(values);
  }
}

/// Row and column in the plane of scales.
std::pair<Value, Value> DequantizeEmitter::groupOf(Value row, Value column) {
  int64_t k = type.getDimSize(1);
  if (scheme.granularity == Granularity::Flat) {
    Value position = arith::AddIOp::create(
        b, loc, arith::MulIOp::create(b, loc, row, index(k)), column);
    return {index(0),
            arith::DivUIOp::create(b, loc, position, index(scheme.groupSize))};
  }
  if (scheme.granularity == Granularity::Tensor)
    row = index(0);
  return {row,
          arith::DivUIOp::create(b, loc, column, index(scheme.groupLength(k)))};
}

/// Field `column` of a row of packed fields, as i32.
Value DequantizeEmitter::field(Value plane, Value row, Value column) {
  auto byteAt = [&](Value column) {
    return arith::ExtUIOp::create(b, loc, b.getI32Type(),
                                  at(plane, {row, column}));
  };
  Value bit = arith::MulIOp::create(b, loc, column, index(scheme.bits));
  Value first = arith::DivUIOp::create(b, loc, bit, index(8));
  Value shift = arith::IndexCastOp::create(
      b, loc, b.getI32Type(), arith::RemUIOp::create(b, loc, bit, index(8)));
  Value bits = byteAt(first);
  if (8 % scheme.bits != 0) {
    // The field may go on in the next byte; in the last byte it does not,
    // and reading that one twice adds nothing below the mask.
    int64_t last = cast<RankedTensorType>(plane.getType()).getDimSize(1) - 1;
    Value next = arith::MinUIOp::create(
        b, loc, arith::AddIOp::create(b, loc, first, index(1)), index(last));
    Value high = arith::ShLIOp::create(b, loc, byteAt(next), i32(8));
    bits = arith::OrIOp::create(b, loc, bits, high);
  }
  bits = arith::ShRUIOp::create(b, loc, bits, shift);
  return arith::AndIOp::create(b, loc, bits, i32(scheme.maxCode()));
}

/// What a scale of one byte stands for.
Value DequantizeEmitter::byteValue(Value row, Value column) {
  Value byte = at(planes[1], {row, column});
  if (!byte.getType().isInteger())
    byte = arith::BitcastOp::create(b, loc, b.getI8Type(), byte);
  Value position = arith::IndexCastUIOp::create(b, loc, b.getIndexType(), byte);
  return at(scaleTable, position);
}

/// A scale or minimum of a plane of floats, widened to f32.
Value DequantizeEmitter::parameter(Value plane, Value row, Value column) {
  Value value = at(plane, {row, column});
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(b, loc, b.getF32Type(), value);
}

Value DequantizeEmitter::scale(Value row, Value column) {
  if (!scaleTable)
    return parameter(planes[1], row, column);
  Value value = byteValue(row, column);
  if (scheme.nesting == Nesting::None)
    return value;
  auto plane = cast<RankedTensorType>(planes[1].getType());
  Value position = arith::AddIOp::create(
      b, loc, arith::MulIOp::create(b, loc, row, index(plane.getDimSize(1))),
      column);
  Value nested = arith::DivUIOp::create(
      b, loc, position,
      index(nestedLength(scheme.nesting, plane.getNumElements())));
  value = multiply(value, at(planes[2], nested));
  if (scheme.nesting == Nesting::Dynamic)
    value = arith::AddFOp::create(b, loc, value, at(planes[3], index(0)));
  return value;
}

Value DequantizeEmitter::element() {
  Value n = linalg::IndexOp::create(b, loc, 0);
  Value k = linalg::IndexOp::create(b, loc, 1);
  auto [row, column] = groupOf(n, k);
  Value code = field(planes[0], n, k);
  Value s = scale(row, column);
  if (codeTable) {
    Value position = arith::IndexCastOp::create(b, loc, b.getIndexType(), code);
    return multiply(at(codeTable, position), s);
  }
  auto toFloat = [&](Value integer) {
    return arith::UIToFPOp::create(b, loc, b.getF32Type(), integer);
  };
  Value q = toFloat(code);
  if (scheme.zero == ZeroKind::Minimum)
    return arith::AddFOp::create(b, loc, multiply(q, s),
                                 parameter(planes[2], row, column));
  Value zero = scheme.zero == ZeroKind::Integer
                   ? toFloat(field(planes[2], row, column))
                   : f32(int64_t(1) << (scheme.bits - 1));
  return multiply(arith::SubFOp::create(b, loc, q, zero), s);
}

Value DequantizeEmitter::emit() {
  emitTables();
  Value init =
      tensor::EmptyOp::create(b, loc, type.getShape(), type.getElementType());
  AffineMap identity = b.getMultiDimIdentityMap(2);
  auto generic = linalg::GenericOp::create(
      b, loc, type, ValueRange{}, init, identity,
      SmallVector<utils::IteratorType>(2, utils::IteratorType::parallel),
      [&](OpBuilder &, Location, ValueRange) {
        linalg::YieldOp::create(b, loc, element());
      });
  return generic.getResult(0);
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
Value AffineAttr::emitDequantize(OpBuilder &builder, Location loc,
                                 ValueRange planes,
                                 RankedTensorType type) const {
  return DequantizeEmitter(builder, loc, getScheme(), planes, type).emit();
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
Value CodebookAttr::emitDequantize(OpBuilder &builder, Location loc,
                                   ValueRange planes,
                                   RankedTensorType type) const {
  return DequantizeEmitter(builder, loc, getScheme(), planes, type).emit();
}
