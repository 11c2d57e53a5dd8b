//===- TileBase.cpp - What all kernels of tiles do ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TileBase.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

/// How far ahead of its use a line of codes is asked for.
static constexpr int64_t kPrefetchBytes = 8192;

TileBase::TileBase(KernelBuilder &builder, func::FuncOp function,
                   const LinearProblem &problem, const LinearWeight &weight,
                   const TileShape &shape)
    : b(builder), problem(problem), scheme(weight.scheme), n(weight.n),
      shape(shape), target(problem.target), lanes(target.lanes()),
      segments(problem, scheme), layout(segments, problem.products.compute),
      decoder(builder, weight.scheme, problem.products.compute, target),
      floats(builder.vector(lanes, builder.getF32Type())),
      sumType(isBytes() ? builder.vector(lanes, builder.getI32Type())
                        : floats) {
  auto next = function.args_begin();
  input = *next++;
  codes = *next++;
  scales = *next++;
  if (!isSymmetric())
    offsets = *next++;
  output = *next++;
  if (shape.scattered)
    rowNumbers = *next++;
  if (shape.masked)
    count = *next;
}

Value TileBase::vectorAddress(Value plane, int64_t vector, int64_t tileBytes,
                              int64_t laneBytes) {
  return b.advance(plane, vector / vectorsPerTile() * tileBytes +
                              vector % vectorsPerTile() * lanes * laneBytes);
}

SmallVector<CodeDecoder::Block> TileBase::blocksAt(Value codes,
                                                   bool prefetches) {
  int64_t tileBytes = line::rowTileBytes(problem.k, scheme.bits);
  SmallVector<CodeDecoder::Block> blocks;
  for (int64_t vector = 0; vector < shape.vectors; ++vector) {
    Value address = vectorAddress(codes, vector, tileBytes, line::kDot);
    if (prefetches && shape.prefetches && vector % vectorsPerTile() == 0)
      for (unsigned at = 0; at < scheme.bits; ++at)
        b.prefetch(address, kPrefetchBytes + at * line::kLineBytes);
    blocks.push_back({address});
  }
  return blocks;
}

Value TileBase::inputScalar(Type type, Value rows, int64_t row, int64_t base,
                            Value index) {
  return b.load(type, b.advance(rows, b.mul(index, 4)),
                row * layout.rowBytes + base);
}

int64_t TileBase::biasPerSum() const {
  if (!isBytes() || !isSymmetric())
    return 0;
  return decoder.bias() - (int64_t(1) << (scheme.bits - 1));
}

TileBase::Scales TileBase::loadScales(Value segment) {
  int64_t groups = segments.numGroups();
  Value group = b.constant(0);
  if (groups > 1) {
    group = b.div(b.mul(segment, segments.length), segments.group);
    if (!segments.hasWholeBlocks()) // there may be segments behind the end
      group = b.min(group, b.constant(groups - 1));
  }
  int64_t scaleBytes = bitWidth(scheme.scaleType) / 8;
  auto planeAt = [&](Value plane, int64_t bytes, int64_t vector) {
    Value at = b.advance(plane, b.mul(group, line::kBlockRows * bytes));
    return vectorAddress(at, vector, groups * line::kBlockRows * bytes, bytes);
  };
  Scales result;
  for (int64_t vector = 0; vector < shape.vectors; ++vector) {
    Value s = b.loadScales(scheme.scaleType, lanes,
                           planeAt(scales, scaleBytes, vector));
    if (!isSymmetric()) {
      Value o;
      if (scheme.zero == ZeroKind::Integer) {
        Value bytes =
            b.load(b.vector(lanes, b.getI8Type()), planeAt(offsets, 1, vector));
        Value zero =
            arith::ExtUIOp::create(b, b.vector(lanes, b.getI32Type()), bytes);
        Value bias =
            b.splatInt(b.vector(lanes, b.getI32Type()), decoder.bias());
        o = b.mulFloat(b.toFloat(arith::SubIOp::create(b, bias, zero)), s);
      } else {
        o = b.loadScales(scheme.scaleType, lanes,
                         planeAt(offsets, scaleBytes, vector));
        if (decoder.bias())
          o = b.multiplyAdd(s, b.splatFloat(floats, decoder.bias()), o);
      }
      result.offset.push_back(o);
    }
    if (decoder.factor() != 1)
      s = b.mulFloat(s, b.splatFloat(floats, decoder.factor()));
    result.scale.push_back(s);
  }
  return result;
}

TileBase::InputScales TileBase::loadInputScales(Value rows, int64_t row,
                                                Value segment) {
  auto number = [&](int64_t base) {
    return b.splat(inputScalar(b.getF32Type(), rows, row, base, segment),
                   lanes);
  };
  InputScales result;
  if (isBytes())
    result.scale = number(0);
  if (!isSymmetric())
    result.sum = number(layout.realSums);
  return result;
}

Value TileBase::addScaled(Value total, Value sums, const Scales &scales,
                          int64_t vector, const InputScales &input) {
  Value factor = scales.scale[vector];
  if (isBytes()) {
    sums = b.toFloat(sums);
    factor = b.mulFloat(factor, input.scale);
  }
  total = b.multiplyAdd(sums, factor, total);
  if (input.sum)
    total = b.multiplyAdd(scales.offset[vector], input.sum, total);
  return total;
}

Value TileBase::outputRow(Value row) {
  FloatKind type = shape.toBuffer ? FloatKind::F32 : problem.y;
  int64_t rowLength = shape.toBuffer ? shape.vectors * lanes : n;
  if (shape.scattered)
    row = b.load(b.getI64Type(), b.advance(rowNumbers, b.mul(row, 8)));
  return b.advance(output, b.mul(row, rowLength * bitWidth(type) / 8));
}

void TileBase::storeTotal(Value total, Value outputRow, int64_t vector) {
  FloatKind type = shape.toBuffer ? FloatKind::F32 : problem.y;
  Value value = b.narrow(type, total);
  Value address = b.advance(outputRow, vector * lanes * bitWidth(type) / 8);
  if (!shape.masked)
    return b.store(value, address);
  Value left = arith::SubIOp::create(b, count, b.constant(vector * lanes));
  b.storeMasked(value, address, b.maskBelow(left, lanes));
}

func::FuncOp cpu::emitTile(ModuleOp module, const LinearProblem &problem,
                           const LinearWeight &weight, const TileShape &shape) {
  const Scheme &scheme = weight.scheme;
  std::string y = "b";
  if (!shape.toBuffer)
    y = std::to_string(bitWidth(problem.y)) +
        (problem.y == FloatKind::BF16 ? "b" : "");
  std::string name =
      ("lowbit_tile_" + isaName(problem.target.isa) + "_" +
       computeName(problem.products.compute) + "_" +
       Twine(segmentLength(problem, scheme)) + schemeName(scheme) + "_y" + y +
       "_" + Twine(shape.rows) + "x" + Twine(shape.vectors) + "_" +
       Twine(weight.n) + "_" + Twine(problem.k) +
       (shape.split > 1 ? "u" + Twine(shape.split) : Twine()) +
       (shape.prefetches ? "p" : "") + (shape.matrix ? "a" : "") +
       (shape.scattered ? "_s" : "") + (shape.masked ? "_m" : ""))
          .str();
  if (auto found = module.lookupSymbol<func::FuncOp>(name))
    return found;
  bool isSymmetric = scheme.zero == ZeroKind::Symmetric;
  func::FuncOp function = startFunction(
      module, name, (isSymmetric ? 4 : 5) + shape.scattered, shape.masked);
  KernelBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToEnd(&function.getBody().front());
  (shape.matrix ? emitMatrixTile : emitVectorTile)(b, function, problem, weight,
                                                   shape);
  func::ReturnOp::create(b);
  return function;
}
