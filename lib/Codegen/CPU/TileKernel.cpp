//===- TileKernel.cpp - A tile of y ---------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Sums of a tile stay in registers through a segment of k; then they are scaled
// and added to the tile's f32 sums, which stay in registers too if there are
// enough, else in the first-level cache.
//
//===----------------------------------------------------------------------===//

#include "CodeDecoder.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

/// How far ahead of its use a line of codes is asked for.
static constexpr int64_t kPrefetchBytes = 8192;

namespace {
class Tile {
public:
  Tile(KernelBuilder &builder, func::FuncOp function,
       const LinearProblem &problem, const LinearWeight &weight,
       const TileShape &shape);

  void emit();

private:
  bool isSymmetric() const { return scheme.zero == ZeroKind::Symmetric; }
  /// Segments of the loop, or of the end; `totals` are the f32 sums, if they
  /// are in registers.
  Values segment(Value index, int64_t blocks, ValueRange totals);
  Values partSegments(Value block, ValueRange totals);
  Values startSums(Value index);
  Values addBlock(Value codes, Value x, int64_t wordBegin, int64_t wordEnd,
                  Values sums);
  Values scaleSums(Value index, ValueRange sums, ValueRange totals);
  void storeTotals(ValueRange totals);

  Value inputScalar(Type type, int64_t row, int64_t base, Value index);
  Value vectorAddress(Value plane, int64_t vector, int64_t tileBytes,
                      int64_t laneBytes);
  int64_t vectorsPerTile() const { return line::kBlockRows / lanes; }
  size_t slot(int64_t row, int64_t vector) const {
    return row * shape.vectors + vector;
  }

  KernelBuilder &b;
  const LinearProblem &problem;
  const Scheme &scheme;
  const int64_t n;
  const TileShape &shape;
  const VectorTarget target;
  const int64_t lanes;
  const Segments segments;
  const InputLayout layout;
  CodeDecoder decoder;
  const VectorType floats, sumType;
  Value input, codes, scales, offsets, output, rowNumbers, count;
  Value spilled; ///< the totals, if not in registers
};
} // namespace

Tile::Tile(KernelBuilder &builder, func::FuncOp function,
           const LinearProblem &problem, const LinearWeight &weight,
           const TileShape &shape)
    : b(builder), problem(problem), scheme(weight.scheme), n(weight.n),
      shape(shape), target(problem.target), lanes(target.lanes()),
      segments(problem, scheme), layout(segments, problem.products.compute),
      decoder(builder, weight.scheme, problem.products.compute, target),
      floats(builder.vector(lanes, builder.getF32Type())),
      sumType(problem.products.compute == Compute::I8
                  ? builder.vector(lanes, builder.getI32Type())
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

/// Address of a vector's part of a plane that has `tileBytes` for 16 rows.
Value Tile::vectorAddress(Value plane, int64_t vector, int64_t tileBytes,
                          int64_t laneBytes) {
  return b.advance(plane, vector / vectorsPerTile() * tileBytes +
                              vector % vectorsPerTile() * lanes * laneBytes);
}

Value Tile::inputScalar(Type type, int64_t row, int64_t base, Value index) {
  return b.load(type, b.advance(input, b.mul(index, 4)),
                row * layout.rowBytes + base);
}

/// Zero, or what the middle of unsigned codes takes away from the sums.
Values Tile::startSums(Value index) {
  int64_t perSum = 0;
  if (problem.products.compute == Compute::I8 && isSymmetric())
    perSum = decoder.bias() - (int64_t(1) << (scheme.bits - 1));
  Value zero = arith::ConstantOp::create(b, b.getZeroAttr(sumType));
  Values sums;
  for (int64_t part = 0; part < shape.split; ++part)
    for (int64_t row = 0; row < shape.rows; ++row) {
      Value start = zero;
      if (perSum && part == 0)
        start = b.splat(
            b.mul(inputScalar(b.getI32Type(), row, layout.sums, index), perSum),
            lanes);
      sums.append(shape.vectors, start);
    }
  return sums;
}

/// Adds the products of words [wordBegin, wordEnd) of a block.
Values Tile::addBlock(Value codes, Value x, int64_t wordBegin, int64_t wordEnd,
                      Values sums) {
  int64_t tileBytes = line::rowTileBytes(problem.k, scheme.bits);
  SmallVector<CodeDecoder::Block> blocks;
  for (int64_t vector = 0; vector < shape.vectors; ++vector) {
    Value address = vectorAddress(codes, vector, tileBytes, line::kDot);
    if (shape.prefetches && vector % vectorsPerTile() == 0 && wordBegin == 0)
      for (unsigned at = 0; at < scheme.bits; ++at)
        b.prefetch(address, kPrefetchBytes + at * line::kLineBytes);
    blocks.push_back({address});
  }
  bool isFloat = problem.products.compute == Compute::F32;
  Type wordType = isFloat ? b.getF32Type() : Type(b.getI32Type());
  int64_t perPart = shape.rows * shape.vectors;
  for (int64_t word = wordBegin; word < wordEnd; ++word) {
    Values operands;
    for (CodeDecoder::Block &block : blocks)
      operands.push_back(decoder.operand(block, word));
    for (int64_t row = 0; row < shape.rows; ++row) {
      Value scalar = b.load(wordType, x, row * layout.rowBytes + word * 4);
      Value splat = b.splat(scalar, lanes);
      for (int64_t vector = 0; vector < shape.vectors; ++vector) {
        Value &sum = sums[word % shape.split * perPart + slot(row, vector)];
        if (isFloat)
          sum = b.multiplyAdd(operands[vector], splat, sum);
        else if (problem.products.compute == Compute::BF16)
          sum = target.dotPairs(b, sum, operands[vector], splat);
        else
          sum = target.dotBytes(b, sum, operands[vector], splat,
                                decoder.isSigned());
      }
    }
  }
  return sums;
}

/// Adds the sums of segment `index` to the totals.
Values Tile::scaleSums(Value index, ValueRange sums, ValueRange totals) {
  bool isBytes = problem.products.compute == Compute::I8;
  int64_t groups = segments.numGroups();
  Value group = b.constant(0);
  if (groups > 1) {
    group = b.div(b.mul(index, segments.length), segments.group);
    if (!segments.hasWholeBlocks()) // there may be segments behind the end
      group = b.min(group, b.constant(groups - 1));
  }
  int64_t scaleBytes = bitWidth(scheme.scaleType) / 8;
  auto planeAt = [&](Value plane, int64_t bytes, int64_t vector) {
    Value at = b.advance(plane, b.mul(group, line::kBlockRows * bytes));
    return vectorAddress(at, vector, groups * line::kBlockRows * bytes, bytes);
  };
  Values scale, offset;
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
      offset.push_back(o);
    }
    if (decoder.factor() != 1)
      s = b.mulFloat(s, b.splatFloat(floats, decoder.factor()));
    scale.push_back(s);
  }
  Values result;
  int64_t perPart = shape.rows * shape.vectors;
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value inputScale, inputSum;
    if (isBytes)
      inputScale = b.splat(inputScalar(b.getF32Type(), row, 0, index), lanes);
    if (!isSymmetric())
      inputSum = b.splat(
          inputScalar(b.getF32Type(), row, layout.realSums, index), lanes);
    for (int64_t vector = 0; vector < shape.vectors; ++vector) {
      size_t at = slot(row, vector);
      Value sum = sums[at];
      for (int64_t part = 1; part < shape.split; ++part) {
        Value other = sums[part * perPart + at];
        sum = isBytes ? b.add(sum, other) : b.addFloat(sum, other);
      }
      Value total =
          spilled ? b.load(floats, spilled, at * lanes * 4) : totals[at];
      Value factor = scale[vector];
      if (isBytes) {
        sum = b.toFloat(sum);
        factor = b.mulFloat(factor, inputScale);
      }
      total = b.multiplyAdd(sum, factor, total);
      if (!isSymmetric())
        total = b.multiplyAdd(offset[vector], inputSum, total);
      if (spilled)
        b.store(total, spilled, at * lanes * 4);
      else
        result.push_back(total);
    }
  }
  return result;
}

/// Segment `index` of whole blocks.
Values Tile::segment(Value index, int64_t blocks, ValueRange totals) {
  int64_t blockBytes = line::blockBytes(scheme.bits);
  int64_t wordBytes = layout.wordsPerBlock * 4;
  Value codesAt =
      b.advance(codes, b.mul(index, segments.blocks() * blockBytes));
  Value inputAt =
      b.advance(b.advance(input, b.mul(index, segments.blocks() * wordBytes)),
                layout.words);
  Values sums = startSums(index);
  if (blocks == 1)
    sums = addBlock(codesAt, inputAt, 0, layout.wordsPerBlock, sums);
  else
    sums =
        b.loop(b.constant(blocks), 1, sums, [&](Value i, ValueRange carried) {
          return addBlock(b.advance(codesAt, b.mul(i, blockBytes)),
                          b.advance(inputAt, b.mul(i, wordBytes)), 0,
                          layout.wordsPerBlock, Values(carried));
        });
  return scaleSums(index, sums, totals);
}

/// The segments of one block that holds several.
Values Tile::partSegments(Value block, ValueRange totals) {
  Value codesAt = b.advance(codes, b.mul(block, line::blockBytes(scheme.bits)));
  Value inputAt = b.advance(
      b.advance(input, b.mul(block, layout.wordsPerBlock * 4)), layout.words);
  int64_t words = layout.wordsPerBlock / segments.perBlock();
  Values result(totals);
  for (int64_t part = 0; part < segments.perBlock(); ++part) {
    Value index = b.add(b.mul(block, segments.perBlock()), b.constant(part));
    Values sums = addBlock(codesAt, inputAt, part * words, (part + 1) * words,
                           startSums(index));
    result = scaleSums(index, sums, result);
  }
  return result;
}

void Tile::storeTotals(ValueRange totals) {
  FloatKind type = shape.toBuffer ? FloatKind::F32 : problem.y;
  int64_t bytes = bitWidth(type) / 8;
  int64_t rowLength = shape.toBuffer ? shape.vectors * lanes : n;
  for (int64_t row = 0; row < shape.rows; ++row) {
    Value start = b.advance(output, row * rowLength * bytes);
    if (shape.scattered)
      start =
          b.advance(output, b.mul(b.load(b.getI64Type(), rowNumbers, row * 8),
                                  n * bytes));
    for (int64_t vector = 0; vector < shape.vectors; ++vector) {
      size_t at = slot(row, vector);
      Value total =
          spilled ? b.load(floats, spilled, at * lanes * 4) : totals[at];
      Value value = b.narrow(type, total);
      Value address = b.advance(start, vector * lanes * bytes);
      if (!shape.masked) {
        b.store(value, address);
        continue;
      }
      Value left = arith::SubIOp::create(b, count, b.constant(vector * lanes));
      b.storeMasked(value, address, b.maskBelow(left, lanes));
    }
  }
}

void Tile::emit() {
  int64_t sums = shape.rows * shape.vectors;
  // Beside sums: operands, their scales, and what is in flight.
  int64_t needed = sums * (1 + shape.split) + 2 * shape.vectors + 2;
  Value zero = b.splatFloat(floats, 0);
  Values totals;
  if (needed <= target.registers()) {
    totals.append(sums, zero);
  } else {
    spilled = LLVM::AllocaOp::create(b, b.pointerType(), floats, b.word(sums),
                                     lanes * 4);
    for (int64_t at = 0; at < sums; ++at)
      b.store(zero, spilled, at * lanes * 4);
  }
  if (segments.hasWholeBlocks()) {
    totals = b.loop(b.constant(segments.numFull()), 1, totals,
                    [&](Value index, ValueRange carried) {
                      return segment(index, segments.blocks(), carried);
                    });
    if (segments.tailBlocks())
      totals = segment(b.constant(segments.numFull()), segments.tailBlocks(),
                       totals);
  } else {
    totals = b.loop(b.constant(line::columnBlocks(problem.k)), 1, totals,
                    [&](Value block, ValueRange carried) {
                      return partSegments(block, carried);
                    });
  }
  storeTotals(totals);
  func::ReturnOp::create(b);
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
       (shape.prefetches ? "p" : "") + (shape.scattered ? "_s" : "") +
       (shape.masked ? "_m" : ""))
          .str();
  if (auto found = module.lookupSymbol<func::FuncOp>(name))
    return found;
  bool isSymmetric = scheme.zero == ZeroKind::Symmetric;
  func::FuncOp function = startFunction(
      module, name, (isSymmetric ? 4 : 5) + shape.scattered, shape.masked);
  KernelBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToEnd(&function.getBody().front());
  Tile(b, function, problem, weight, shape).emit();
  return function;
}
