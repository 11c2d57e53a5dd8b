//===- EmitDequantize.cpp - What codes mean, as upstream IR ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One element at a time, slow and obvious.
//
//===----------------------------------------------------------------------===//

#include "EmitDequantize.h"

#include "quantopt/Packing/FragmentOrder.h"
#include "quantopt/Packing/LineOrder.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
/// An index that is not negative, with the operators in which the formulas of
/// layouts are written.
struct Position {
  ImplicitLocOpBuilder &b;
  Value value;

  Value constant(int64_t number) const {
    return arith::ConstantIndexOp::create(b, number);
  }
  Position operator+(Position other) const {
    return {b, arith::AddIOp::create(b, value, other.value)};
  }
  Position operator+(int64_t number) const {
    return number == 0 ? *this : *this + Position{b, constant(number)};
  }
  Position operator*(int64_t number) const {
    if (number == 0)
      return {b, constant(0)};
    return number == 1
               ? *this
               : Position{b, arith::MulIOp::create(b, value, constant(number))};
  }
  Position operator/(int64_t number) const {
    return number == 1 ? *this
                       : Position{b, arith::DivUIOp::create(b, value,
                                                            constant(number))};
  }
  Position operator%(int64_t number) const {
    return {b, arith::RemUIOp::create(b, value, constant(number))};
  }
};

/// Emits the loop over all elements.
class DequantizeEmitter {
public:
  DequantizeEmitter(OpBuilder &builder, Location loc, const Scheme &scheme,
                    int64_t n, int64_t k, ValueRange planes, Layout layout)
      : b(loc, builder), scheme(scheme), n(n), k(k), planes(planes),
        layout(layout) {}

  Value emit(Value rows, RankedTensorType type);

private:
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, b.getI32Type(), value);
  }
  Value f32(double value) {
    return arith::ConstantOp::create(b, b.getF32FloatAttr(value));
  }
  Value constant(ArrayRef<float> values) {
    auto type = RankedTensorType::get(values.size(), b.getF32Type());
    return arith::ConstantOp::create(b, DenseElementsAttr::get(type, values));
  }
  Position index(int64_t value) {
    return {b, arith::ConstantIndexOp::create(b, value)};
  }
  Value at(Value plane, ArrayRef<Position> indices) {
    return tensor::ExtractOp::create(
        b, plane, llvm::map_to_vector(indices, [](const Position &position) {
          return position.value;
        }));
  }
  /// The byte there, as i32.
  Value byteAt(Value plane, ArrayRef<Position> indices) {
    return arith::ExtUIOp::create(b, b.getI32Type(), at(plane, indices));
  }
  Value multiply(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value shiftRight(Value bits, Position by) {
    Value amount = arith::IndexCastOp::create(b, b.getI32Type(), by.value);
    return arith::ShRUIOp::create(b, bits, amount);
  }
  Value lowBits(Value bits, unsigned width) {
    return arith::AndIOp::create(b, bits, i32((int64_t(1) << width) - 1));
  }

  void emitTables();
  Position checkedRow(Value row);
  std::pair<Position, Position> groupOf(Position row, Position column);
  Value denseField(Value plane, Position row, Position column);
  Value code(Position row, Position column);
  Value zero(Position row, Position group);
  SmallVector<Position, 3> scalePlace(Position row, Position group);
  Value byteValue(Position row, Position group);
  Value parameter(Value plane, Position row, Position group);
  Value scale(Position row, Position group);
  Value element(Position row, Position column);

  ImplicitLocOpBuilder b;
  const Scheme &scheme;
  int64_t n, k;
  ValueRange planes;
  Layout layout;
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

/// Row and column in the plane of scales, as if it were dense.
std::pair<Position, Position> DequantizeEmitter::groupOf(Position row,
                                                         Position column) {
  if (scheme.granularity == Granularity::Flat)
    return {index(0), (row * k + column) / scheme.groupSize};
  if (scheme.granularity == Granularity::Tensor)
    return {index(0), column / scheme.groupLength(k)};
  return {row, column / scheme.groupLength(k)};
}

/// Field `column` of a row of packed fields (Packing/Dense.h), as i32.
Value DequantizeEmitter::denseField(Value plane, Position row,
                                    Position column) {
  Position bit = column * scheme.bits, first = bit / 8;
  Value bits = byteAt(plane, {row, first});
  if (8 % scheme.bits != 0) {
    // The field may go on in the next byte; in the last byte it does not,
    // and reading that one twice adds nothing below the mask.
    int64_t last = cast<RankedTensorType>(plane.getType()).getDimSize(1) - 1;
    Value next =
        arith::MinUIOp::create(b, (first + 1).value, index(last).value);
    Value high =
        arith::ShLIOp::create(b, byteAt(plane, {row, {b, next}}), i32(8));
    bits = arith::OrIOp::create(b, bits, high);
  }
  return lowBits(shiftRight(bits, bit % 8), scheme.bits);
}

/// The code of an element, as i32.
Value DequantizeEmitter::code(Position row, Position column) {
  if (layout == Layout::Dense)
    return denseField(planes[0], row, column);
  // The same blocks and pieces for both; where they differ is inside a piece.
  bool lines = layout == Layout::Cpu;
  int64_t blockRows = lines ? line::kBlockRows : fragment::kBlockRows;
  int64_t blockK = lines ? line::kBlockK : fragment::kBlockK;
  Position inRow = row % blockRows, inK = column % blockK;
  Position tile = row / blockRows, block = column / blockK;
  Value bits;
  for (auto [width, shift, offset] : fragment::Pieces(scheme.bits)) {
    auto piece = [&]() -> Value {
      if (lines) {
        auto [byte, bit] = line::placeOf(inRow, inK, width);
        Position inBlock = byte + line::pieceOffset(shift);
        return shiftRight(byteAt(planes[0], {tile, block, inBlock}), bit);
      }
      auto [lane, pair, half] = fragment::elementOf(inRow, inK);
      Position bit = fragment::bitOf(pair, half, width);
      Position word =
          fragment::wordByte(lane, fragment::wordOf(pair, width), width);
      return shiftRight(
          byteAt(planes[0], {tile, block, word + bit / 8 + offset}), bit % 8);
    };
    Value part = lowBits(piece(), width);
    if (shift != 0)
      part = arith::ShLIOp::create(b, part, i32(shift));
    bits = bits ? arith::OrIOp::create(b, bits, part).getResult() : part;
  }
  return bits;
}

/// An integer zero point, as i32.
Value DequantizeEmitter::zero(Position row, Position group) {
  switch (layout) {
  case Layout::Dense:
    return denseField(planes[2], row, group);
  case Layout::Cpu:
    return byteAt(planes[2], scalePlace(row, group));
  case Layout::Nvptx: {
    Position tile = row / fragment::kBlockRows;
    auto [byte, bit] =
        fragment::zeroPlaceOf(row % fragment::kBlockRows, scheme.bits);
    return lowBits(shiftRight(byteAt(planes[2], {tile, group, byte}), bit),
                   scheme.bits);
  }
  }
  llvm_unreachable("all layouts handled");
}

/// Where a scale or minimum stands in its plane.
SmallVector<Position, 3> DequantizeEmitter::scalePlace(Position row,
                                                       Position group) {
  switch (layout) {
  case Layout::Dense:
    return {row, group};
  case Layout::Cpu:
    return {row / line::kBlockRows, group, row % line::kBlockRows};
  case Layout::Nvptx:
    return {row / fragment::kBlockRows, group,
            fragment::rowSlot(row % fragment::kBlockRows)};
  }
  llvm_unreachable("all layouts handled");
}

/// What a scale of one byte stands for.
Value DequantizeEmitter::byteValue(Position row, Position group) {
  Value byte = at(planes[1], scalePlace(row, group));
  if (!byte.getType().isInteger())
    byte = arith::BitcastOp::create(b, b.getI8Type(), byte);
  Value position = arith::IndexCastUIOp::create(b, b.getIndexType(), byte);
  return at(scaleTable, Position{b, position});
}

/// A scale or minimum of a plane of floats, widened to f32.
Value DequantizeEmitter::parameter(Value plane, Position row, Position group) {
  Value value = at(plane, scalePlace(row, group));
  if (value.getType().isF32())
    return value;
  return arith::ExtFOp::create(b, b.getF32Type(), value);
}

Value DequantizeEmitter::scale(Position row, Position group) {
  if (!scaleTable)
    return parameter(planes[1], row, group);
  Value value = byteValue(row, group);
  if (scheme.nesting == Nesting::None)
    return value;
  auto plane = cast<RankedTensorType>(planes[1].getType());
  Position position = row * plane.getDimSize(1) + group;
  value = multiply(
      value, at(planes[2], position / nestedLength(scheme.nesting,
                                                   plane.getNumElements())));
  if (scheme.nesting == Nesting::Dynamic)
    value = arith::AddFOp::create(b, value, at(planes[3], index(0)));
  return value;
}

Value DequantizeEmitter::element(Position row, Position column) {
  auto [scaleRow, group] = groupOf(row, column);
  Value q = code(row, column);
  Value s = scale(scaleRow, group);
  if (codeTable) {
    Value position = arith::IndexCastOp::create(b, b.getIndexType(), q);
    return multiply(at(codeTable, Position{b, position}), s);
  }
  auto toFloat = [&](Value integer) {
    return arith::UIToFPOp::create(b, b.getF32Type(), integer);
  };
  if (scheme.zero == ZeroKind::Minimum)
    return arith::AddFOp::create(b, multiply(toFloat(q), s),
                                 parameter(planes[2], scaleRow, group));
  Value offset = scheme.zero == ZeroKind::Integer
                     ? toFloat(zero(scaleRow, group))
                     : f32(int64_t(1) << (scheme.bits - 1));
  return multiply(arith::SubFOp::create(b, toFloat(q), offset), s);
}

/// A row that data asks for. Whoever goes on after a failed assertion reads
/// another row, but nothing outside.
Position DequantizeEmitter::checkedRow(Value row) {
  if (!row.getType().isIndex())
    row = arith::IndexCastOp::create(b, b.getIndexType(), row);
  Value isInside =
      arith::CmpIOp::create(b, arith::CmpIPredicate::ult, row, index(n).value);
  cf::AssertOp::create(b, isInside, "index out of range in a look-up of rows");
  return {b, arith::MinUIOp::create(b, row, index(n - 1).value)};
}

Value DequantizeEmitter::emit(Value rows, RankedTensorType type) {
  emitTables();
  int64_t rank = type.getRank();
  AffineMap all = b.getMultiDimIdentityMap(rank);
  SmallVector<AffineMap> maps = {all};
  SmallVector<OpFoldResult> sizes = {b.getIndexAttr(n)};
  if (rows) {
    maps.insert(
        maps.begin(),
        AffineMap::get(rank, 0, all.getResults().drop_back(), b.getContext()));
    sizes = tensor::getMixedSizes(b, b.getLoc(), rows);
  }
  sizes.push_back(b.getIndexAttr(k));
  Value init = tensor::EmptyOp::create(b, sizes, type.getElementType());
  auto generic = linalg::GenericOp::create(
      b, type, rows ? ValueRange(rows) : ValueRange(), init, maps,
      SmallVector<utils::IteratorType>(rank, utils::IteratorType::parallel),
      [&](OpBuilder &, Location, ValueRange args) {
        Position row = rows ? checkedRow(args[0])
                            : Position{b, linalg::IndexOp::create(b, 0)};
        Value value = element(row, {b, linalg::IndexOp::create(b, rank - 1)});
        if (value.getType() != type.getElementType())
          value = arith::TruncFOp::create(b, type.getElementType(), value);
        linalg::YieldOp::create(b, value);
      });
  return generic.getResult(0);
}

Value lowbit::emitDequantize(OpBuilder &builder, Location loc,
                             const Scheme &scheme, int64_t n, int64_t k,
                             ValueRange planes, Layout layout, Value rows,
                             RankedTensorType type) {
  return DequantizeEmitter(builder, loc, scheme, n, k, planes, layout)
      .emit(rows, type);
}
