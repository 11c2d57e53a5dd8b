//===- AffineScheme.cpp - The affine scheme as planes and as IR -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Packing/Dense.h"
#include "quantopt/Packing/PackedMatrix.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

SmallVector<Plane> AffineAttr::getPlanes(int64_t n, int64_t k) const {
  const Scheme &scheme = getScheme();
  Type byte = IntegerType::get(getContext(), 8);
  Type scaleType = getFloatType(getContext(), scheme.scaleType);
  int64_t rows = scheme.scaleRows(n), groups = scheme.numGroups(k);
  auto packed = [&](int64_t rows, int64_t columns) {
    return RankedTensorType::get({rows, denseRowBytes(columns, scheme.bits)},
                                 byte);
  };
  SmallVector<Plane> planes = {
      {"codes", packed(n, k)},
      {"scales", RankedTensorType::get({rows, groups}, scaleType)}};
  if (scheme.zero == ZeroKind::Integer)
    planes.push_back({"zeros", packed(rows, groups)});
  if (scheme.zero == ZeroKind::Minimum)
    planes.push_back({"minima", planes[1].type});
  return planes;
}

double AffineAttr::getBitsPerWeight(int64_t n, int64_t k) const {
  return getScheme().bitsPerWeight(n, k);
}

static std::span<const uint8_t> asSpan(ArrayRef<char> bytes) {
  return {reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()};
}

void AffineAttr::dequantizeRows(int64_t n, int64_t k,
                                ArrayRef<ArrayRef<char>> planes, int64_t begin,
                                int64_t end, float *out) const {
  PackedMatrix matrix;
  matrix.scheme = getScheme();
  matrix.n = n;
  matrix.k = k;
  matrix.codes = asSpan(planes[0]);
  matrix.scales = asSpan(planes[1]);
  if (planes.size() > 2)
    matrix.offsets = asSpan(planes[2]);
  quantopt::dequantizeRows(matrix, begin, end, out);
}

//===----------------------------------------------------------------------===//
// The meaning as upstream IR: one element at a time, slow and obvious
//===----------------------------------------------------------------------===//

namespace {
/// Emits the body of the dequantising generic.
struct DequantizeEmitter {
  OpBuilder &b;
  Location loc;
  const Scheme &scheme;

  Value index(int64_t value) {
    return arith::ConstantIndexOp::create(b, loc, value);
  }
  Value i32(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, b.getI32Type(), value);
  }
  Value f32(double value) {
    return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
  }
  Value byteAt(Value plane, Value row, Value column) {
    Value byte =
        tensor::ExtractOp::create(b, loc, plane, ValueRange{row, column});
    return arith::ExtUIOp::create(b, loc, b.getI32Type(), byte);
  }

  /// Field `column` of a row of packed fields, as f32.
  Value field(Value plane, Value row, Value column) {
    Value bit = arith::MulIOp::create(b, loc, column, index(scheme.bits));
    Value first = arith::DivUIOp::create(b, loc, bit, index(8));
    Value shift = arith::IndexCastOp::create(
        b, loc, b.getI32Type(), arith::RemUIOp::create(b, loc, bit, index(8)));
    Value bits = byteAt(plane, row, first);
    if (8 % scheme.bits != 0) {
      // The field may go on in the next byte; in the last byte it does not,
      // and reading that one twice adds nothing below the mask.
      int64_t last = cast<RankedTensorType>(plane.getType()).getDimSize(1) - 1;
      Value next = arith::MinUIOp::create(
          b, loc, arith::AddIOp::create(b, loc, first, index(1)), index(last));
      Value high =
          arith::ShLIOp::create(b, loc, byteAt(plane, row, next), i32(8));
      bits = arith::OrIOp::create(b, loc, bits, high);
    }
    bits = arith::ShRUIOp::create(b, loc, bits, shift);
    bits = arith::AndIOp::create(b, loc, bits, i32(scheme.maxCode()));
    return arith::UIToFPOp::create(b, loc, b.getF32Type(), bits);
  }

  /// A scale or minimum, widened to f32.
  Value parameter(Value plane, Value row, Value group) {
    Value value =
        tensor::ExtractOp::create(b, loc, plane, ValueRange{row, group});
    if (value.getType().isF32())
      return value;
    return arith::ExtFOp::create(b, loc, b.getF32Type(), value);
  }

  Value value(ValueRange planes, int64_t k) {
    Value n = linalg::IndexOp::create(b, loc, 0);
    Value column = linalg::IndexOp::create(b, loc, 1);
    Value row = scheme.granularity == Granularity::Tensor ? index(0) : n;
    Value group =
        arith::DivUIOp::create(b, loc, column, index(scheme.groupLength(k)));
    Value q = field(planes[0], n, column);
    Value s = parameter(planes[1], row, group);
    if (scheme.zero == ZeroKind::Minimum) {
      Value scaled = arith::MulFOp::create(b, loc, q, s);
      return arith::AddFOp::create(b, loc, scaled,
                                   parameter(planes[2], row, group));
    }
    Value zero = scheme.zero == ZeroKind::Integer
                     ? field(planes[2], row, group)
                     : f32(int64_t(1) << (scheme.bits - 1));
    return arith::MulFOp::create(b, loc, arith::SubFOp::create(b, loc, q, zero),
                                 s);
  }
};
} // namespace

Value AffineAttr::emitDequantize(OpBuilder &builder, Location loc,
                                 ValueRange planes,
                                 RankedTensorType type) const {
  Value init = tensor::EmptyOp::create(builder, loc, type.getShape(),
                                       type.getElementType());
  AffineMap identity = builder.getMultiDimIdentityMap(2);
  auto generic = linalg::GenericOp::create(
      builder, loc, type, ValueRange{}, init, identity,
      SmallVector<utils::IteratorType>(2, utils::IteratorType::parallel),
      [&](OpBuilder &b, Location loc, ValueRange) {
        DequantizeEmitter emitter{b, loc, getScheme()};
        linalg::YieldOp::create(b, loc,
                                emitter.value(planes, type.getDimSize(1)));
      });
  return generic.getResult(0);
}
