//===- AttentionTiles.cpp - Scores and sums of a block of keys ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttentionKernel.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// t for a vector of products at `row` of the block and keys from `key` on, of
/// which `count` exist.
Value AttentionKernel::emitScore(Value product, Value row, Value key,
                                 int64_t count) {
  if (!a.productType.isF32())
    product = arith::TruncFOp::create(l.builder, l.loc,
                                      Lanes::type(a.productType), product);
  linalg::GenericOp score = a.score;
  if (!score)
    return l.toF32(product);
  Block *body = score.getBody();
  IRMapping mapping;
  const Buffer *other = others.begin();
  for (OpOperand *input : score.getDpsInputOperands()) {
    BlockArgument argument = score.getMatchingBlockArgument(input);
    if (input->getOperandNumber() == a.productInput) {
      mapping.map(argument, product);
      continue;
    }
    const Buffer &buffer = *other++;
    if (argument.use_empty())
      continue;
    bool alongKeys = buffer.operand->keyStride != 0;
    Value index = at(buffer, row, alongKeys ? key : Value());
    mapping.map(argument, alongKeys ? l.loadLanes(buffer.memory, index, count)
                                    : l.splat(l.load(buffer.memory, index)));
  }
  for (Operation &op : body->without_terminator()) {
    auto position = dyn_cast<linalg::IndexOp>(op);
    if (!position) {
      l.cloneOnLanes(op, mapping);
      continue;
    }
    unsigned loop = position.getDim();
    if (loop + 1 == score.getNumLoops()) {
      mapping.map(position.getResult(), l.countFrom(key));
      continue;
    }
    Value sum = l.index(0);
    for (auto [dim, stride] : llvm::enumerate(a.indexStrides[loop])) {
      Value at = rowPosition[dim];
      if (rowDim == dim)
        at = l.add(at, row);
      sum = l.add(sum, l.mul(at, stride));
    }
    mapping.map(position.getResult(), l.splat(sum));
  }
  return mapping.lookup(body->getTerminator()->getOperand(0));
}

void AttentionKernel::finishScores(Value product, Value block, Value row,
                                   int64_t vector, int64_t keys) {
  int64_t count = keys - vector * Lanes::count;
  Value offset = l.add(l.mul(block, blockKeys), l.index(vector * Lanes::count));
  Value t = l.keepLanes(emitScore(product, row, offset, count), count,
                        l.splat(l.scalar(-INFINITY)));
  l.storeLanes(t, scores, place(row, numBlocks * blockKeys, offset));
  Value at = place(row, Lanes::count);
  l.storeLanes(l.maximum(l.loadLanes(maxima, at), t), maxima, at);
}

/// Scores of a tile of rows, from transposed keys.
void AttentionKernel::emitProducts(Value block, Value row, int64_t rows,
                                   int64_t vector, int64_t vectors,
                                   int64_t keys) {
  Value line = l.add(packedBase, l.add(l.mul(block, a.depth * blockKeys),
                                       l.index(vector * Lanes::count)));
  SmallVector<Value> places, rowNumbers, start;
  for (int64_t i = 0; i < rows; ++i) {
    rowNumbers.push_back(l.add(row, l.index(i)));
    places.push_back(at(q, rowNumbers[i], {}));
  }
  start.assign(rows * vectors, l.splat(l.scalar(0)));
  SmallVector<Value> products = l.loop(
      l.index(0), l.index(a.depth), start, [&](Value d, ValueRange carried) {
        SmallVector<Value> columns, next;
        for (int64_t j = 0; j < vectors; ++j)
          columns.push_back(l.loadLanes(
              packedKeys, l.add(line, l.add(l.mul(d, blockKeys),
                                            l.index(j * Lanes::count)))));
        Value along = l.mul(d, a.q.innerStride);
        for (int64_t i = 0; i < rows; ++i) {
          Value x = broadcastFrom(q, l.add(places[i], along));
          for (int64_t j = 0; j < vectors; ++j)
            next.push_back(l.fma(x, columns[j], carried[i * vectors + j]));
        }
        return next;
      });
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < vectors; ++j)
      finishScores(products[i * vectors + j], block, rowNumbers[i], vector + j,
                   keys);
}

/// Scores of one row, where few share a key: lanes run along the depth.
void AttentionKernel::emitDots(Value block, Value row, int64_t vector,
                               int64_t keys) {
  SmallVector<Value> dots(Lanes::count, l.splat(l.scalar(0)));
  int64_t count = std::min(keys - vector * Lanes::count, Lanes::count);
  Value first = l.add(l.mul(block, blockKeys), l.index(vector * Lanes::count));
  for (int64_t part = 0; part < depthVectors; ++part) {
    Value along = l.index(part * Lanes::count);
    int64_t rest = a.depth - part * Lanes::count;
    Value x = l.toF32(l.loadLanes(q.memory, at(q, row, along), rest));
    for (int64_t key = 0; key < count; ++key) {
      Value index =
          l.add(k.base, l.mul(l.add(first, l.index(key)), a.k.keyStride));
      Value y = l.toF32(l.loadLanes(k.memory, l.add(index, along), rest));
      dots[key] = l.fma(x, y, dots[key]);
    }
  }
  finishScores(l.sumEach(dots), block, row, vector, keys);
}

void AttentionKernel::emitScoresOfBlock(Value block, int64_t keys) {
  int64_t vectors = llvm::divideCeil(keys, Lanes::count);
  if (!packed) {
    forRows([&](Value row) {
      for (int64_t vector = 0; vector < vectors; ++vector)
        emitDots(block, row, vector, keys);
    });
    return;
  }
  forTiles([&](Value row, int64_t rows) {
    for (int64_t vector = 0; vector < vectors; vector += tileVectors)
      emitProducts(block, row, rows, vector,
                   std::min(tileVectors, vectors - vector), keys);
  });
}

/// results[row] += weights of a block of keys times v, for a tile.
void AttentionKernel::addProducts(Value block, Value row, int64_t rows,
                                  int64_t vector, int64_t vectors,
                                  int64_t keys) {
  Value firstKey = l.mul(block, blockKeys);
  Value from = l.add(v.base, l.add(l.mul(firstKey, a.v.keyStride),
                                   l.index(vector * Lanes::count)));
  SmallVector<Value> places, weights, start;
  for (int64_t i = 0; i < rows; ++i) {
    Value number = l.add(row, l.index(i));
    weights.push_back(place(number, numBlocks * blockKeys, firstKey));
    for (int64_t j = 0; j < vectors; ++j) {
      places.push_back(place(number, widthVectors * Lanes::count,
                             l.index((vector + j) * Lanes::count)));
      start.push_back(l.loadLanes(results, places.back()));
    }
  }
  SmallVector<Value> done = l.loop(
      l.index(0), l.index(keys), start, [&](Value key, ValueRange carried) {
        SmallVector<Value> columns, next;
        Value line = l.add(from, l.mul(key, a.v.keyStride));
        for (int64_t j = 0; j < vectors; ++j)
          columns.push_back(l.toF32(
              l.loadLanes(v.memory, l.add(line, l.index(j * Lanes::count)),
                          a.width - (vector + j) * Lanes::count)));
        for (int64_t i = 0; i < rows; ++i) {
          Value x = l.splat(l.load(scores, l.add(weights[i], key)));
          for (int64_t j = 0; j < vectors; ++j)
            next.push_back(l.fma(x, columns[j], carried[i * vectors + j]));
        }
        return next;
      });
  for (auto [value, place] : llvm::zip(done, places))
    l.storeLanes(value, results, place);
}

void AttentionKernel::emitSumsOfBlock(Value block, int64_t keys) {
  forRows([&](Value row) {
    Value at = place(row, Lanes::count);
    Value largest = l.loadLanes(maxima, at), sum = l.loadLanes(sums, at);
    for (int64_t vector = 0; vector * Lanes::count < keys; ++vector) {
      Value offset =
          place(row, numBlocks * blockKeys,
                l.add(l.mul(block, blockKeys), l.index(vector * Lanes::count)));
      Value difference = arith::SubFOp::create(
          l.builder, l.loc, l.loadLanes(scores, offset), largest);
      Value weight = math::ExpOp::create(l.builder, l.loc, difference);
      l.storeLanes(weight, scores, offset);
      sum = arith::AddFOp::create(l.builder, l.loc, sum, weight);
    }
    l.storeLanes(sum, sums, at);
  });
  forTiles([&](Value row, int64_t rows) {
    for (int64_t vector = 0; vector < widthVectors; vector += tileVectors)
      addProducts(block, row, rows, vector,
                  std::min(tileVectors, widthVectors - vector), keys);
  });
}
