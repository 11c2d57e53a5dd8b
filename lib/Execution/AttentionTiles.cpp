//===- AttentionTiles.cpp - Scores and sums of a block of keys ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "AttentionKernel.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Keys whose products with a tile of rows stay in registers.
static constexpr int64_t dotKeys = 4;

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

/// Scores of the keys from `along` on in the block, of which `count` exist.
void AttentionKernel::finishScores(Value product, const KeyBlock &block,
                                   Value row, Value along, int64_t count) {
  Value key = l.add(firstKey(block), along);
  Value t = l.keepLanes(emitScore(product, row, key, count), count,
                        l.splat(l.scalar(-INFINITY)));
  l.storeLanes(t, scores,
               place(row, scoreStride, l.add(block.inScores, along)));
  Value at = place(row, Lanes::count);
  l.storeLanes(l.maximum(l.loadLanes(maxima, at), t), maxima, at);
}

Value AttentionKernel::loadWords(Value memory, Value index) {
  return halves ? l.loadPairs(memory, index) : l.loadLanes(memory, index);
}

Value AttentionKernel::addProduct(Value x, Value y, Value sum) {
  return halves ? l.addDotOfPairs(x, y, sum) : l.fma(x, y, sum);
}

/// Scores of a tile of rows, from transposed keys.
void AttentionKernel::emitProducts(const KeyBlock &block, Value row,
                                   int64_t rows, int64_t vector,
                                   int64_t vectors) {
  Value line = l.add(packedBase, l.add(l.mul(block.number, a.depth * blockKeys),
                                       l.index(vector * wordLanes)));
  SmallVector<Value> places, rowNumbers, start;
  for (int64_t i = 0; i < rows; ++i) {
    rowNumbers.push_back(l.add(row, l.index(i)));
    places.push_back(halves ? place(rowNumbers[i], depthVectors * Lanes::count)
                            : at(q, rowNumbers[i], {}));
  }
  start.assign(rows * vectors, l.splat(l.scalar(0)));
  SmallVector<Value> products = l.loop(
      l.index(0), l.index(a.depth / wordSize), start,
      [&](Value d, ValueRange carried) {
        SmallVector<Value> columns, next;
        for (int64_t j = 0; j < vectors; ++j)
          columns.push_back(loadWords(
              packedKeys, l.add(line, l.add(l.mul(d, wordSize * blockKeys),
                                            l.index(j * wordLanes)))));
        for (int64_t i = 0; i < rows; ++i) {
          Value x = halves ? l.splatPair(qHalves, l.add(places[i], l.mul(d, 2)))
                           : broadcastFrom(q, l.add(places[i],
                                                    l.mul(d, a.q.innerStride)));
          for (int64_t j = 0; j < vectors; ++j)
            next.push_back(addProduct(x, columns[j], carried[i * vectors + j]));
        }
        return next;
      });
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < vectors; ++j) {
      int64_t along = (vector + j) * Lanes::count;
      finishScores(products[i * vectors + j], block, rowNumbers[i],
                   l.index(along), block.keys - along);
    }
}

/// Asks for what the next block has where `from` is in this one: few rows read
/// each key once, from memory.
void AttentionKernel::prefetchNext(const Buffer &buffer, Value from) {
  int64_t distance = parts * blockKeys * buffer.operand->keyStride;
  l.prefetch(buffer.memory, l.add(from, l.index(distance)));
}

/// Products of a tile of rows with `keys` keys of the block, up to 4, from
/// `along` on. Lanes run along the depth, and keys are read once for all rows.
void AttentionKernel::emitDots(const KeyBlock &block, Value row, int64_t rows,
                               Value along, int64_t keys) {
  SmallVector<Value> places;
  for (int64_t i = 0; i < rows; ++i)
    places.push_back(at(q, l.add(row, l.index(i)), {}));
  Value first =
      l.add(k.base, l.mul(l.add(firstKey(block), along), a.k.keyStride));
  SmallVector<SmallVector<Value>> dots(
      rows, SmallVector<Value>(dotKeys, l.splat(l.scalar(0))));
  for (int64_t vector = 0; vector < depthVectors; ++vector) {
    Value offset = l.index(vector * Lanes::count);
    int64_t rest = a.depth - vector * Lanes::count;
    SmallVector<Value> columns;
    for (int64_t j = 0; j < keys; ++j) {
      Value from = l.add(first, l.add(l.index(j * a.k.keyStride), offset));
      prefetchNext(k, from);
      columns.push_back(l.toF32(l.loadLanes(k.memory, from, rest)));
    }
    for (int64_t i = 0; i < rows; ++i) {
      Value x = l.toF32(l.loadLanes(q.memory, l.add(places[i], offset), rest));
      for (auto [j, column] : llvm::enumerate(columns))
        dots[i][j] = l.fma(x, column, dots[i][j]);
    }
  }
  Value to = l.add(block.inScores, along);
  for (int64_t i = 0; i < rows; ++i)
    l.storeLanes(l.sumEach(dots[i]), scores,
                 place(l.add(row, l.index(i)), scoreStride, to), dotKeys);
}

/// Scores of a block where few rows share a key.
void AttentionKernel::emitScoresByDots(const KeyBlock &block) {
  forTiles([&](Value row, int64_t rows) {
    int64_t whole = block.keys / dotKeys;
    if (whole > 0)
      l.loop(l.index(0), l.index(whole), [&](Value number) {
        emitDots(block, row, rows, l.mul(number, dotKeys), dotKeys);
      });
    if (int64_t rest = block.keys % dotKeys)
      emitDots(block, row, rows, l.index(whole * dotKeys), rest);
  });
  forRows([&](Value row) {
    for (int64_t along = 0; along < block.keys; along += Lanes::count) {
      Value from = l.add(block.inScores, l.index(along));
      Value product = l.loadLanes(scores, place(row, scoreStride, from));
      finishScores(product, block, row, l.index(along), block.keys - along);
    }
  });
}

void AttentionKernel::emitScoresByColumns(const KeyBlock &block) {
  int64_t vectors = llvm::divideCeil(block.keys, Lanes::count);
  forTiles([&](Value row, int64_t rows) {
    for (int64_t vector = 0; vector < vectors; vector += tile.vectors)
      emitProducts(block, row, rows, vector,
                   std::min(tile.vectors, vectors - vector));
  });
}

/// results[row] += weights of a block of keys times v, for a tile.
void AttentionKernel::addProducts(const KeyBlock &block, Value row,
                                  int64_t rows, int64_t vector,
                                  int64_t vectors) {
  SmallVector<Value> places, weights, start;
  for (int64_t i = 0; i < rows; ++i) {
    Value number = l.add(row, l.index(i));
    weights.push_back(halves ? place(number, blockKeys)
                             : place(number, scoreStride, block.inScores));
    for (int64_t j = 0; j < vectors; ++j) {
      places.push_back(placeOfResult(number, vector + j));
      start.push_back(l.loadLanes(results, places.back()));
    }
  }
  int64_t lineSize = wordSize * widthVectors * Lanes::count;
  Value from = halves
                   ? l.add(valuesBase,
                           l.mul(block.number, blockKeys / wordSize * lineSize))
                   : l.add(v.base, l.mul(firstKey(block), a.v.keyStride));
  from = l.add(from, l.index(vector * wordLanes));
  auto loadColumn = [&](Value key, int64_t j) {
    if (halves)
      return loadWords(packedValues, l.add(l.add(from, l.mul(key, lineSize)),
                                           l.index(j * wordLanes)));
    Value place = l.add(l.add(from, l.mul(key, a.v.keyStride)),
                        l.index(j * Lanes::count));
    if (!packed)
      prefetchNext(v, place);
    return l.toF32(
        l.loadLanes(v.memory, place, a.width - (vector + j) * Lanes::count));
  };
  SmallVector<Value> done = l.loop(
      l.index(0), l.index(llvm::divideCeil(block.keys, wordSize)), start,
      [&](Value key, ValueRange carried) {
        SmallVector<Value> columns, next;
        for (int64_t j = 0; j < vectors; ++j)
          columns.push_back(loadColumn(key, j));
        for (int64_t i = 0; i < rows; ++i) {
          Value x = halves ? l.splatPair(weightHalves,
                                         l.add(weights[i], l.mul(key, 2)))
                           : l.splat(l.load(scores, l.add(weights[i], key)));
          for (int64_t j = 0; j < vectors; ++j)
            next.push_back(addProduct(x, columns[j], carried[i * vectors + j]));
        }
        return next;
      });
  for (auto [value, place] : llvm::zip(done, places))
    l.storeLanes(value, results, place);
}

void AttentionKernel::emitSumsOfBlock(const KeyBlock &block) {
  forRows([&](Value row) {
    Value at = place(row, Lanes::count);
    Value largest = l.loadLanes(maxima, at), sum = l.loadLanes(sums, at);
    for (int64_t along = 0; along < block.keys; along += Lanes::count) {
      Value offset =
          place(row, scoreStride, l.add(block.inScores, l.index(along)));
      Value weight = l.exp(l.minus(l.loadLanes(scores, offset), largest));
      if (halves)
        l.storeLanes(l.toBF16(weight), weightHalves,
                     this->place(row, blockKeys, l.index(along)));
      else
        l.storeLanes(weight, scores, offset);
      sum = arith::AddFOp::create(l.builder, l.loc, sum, weight);
    }
    l.storeLanes(sum, sums, at);
  });
  forTiles([&](Value row, int64_t rows) {
    for (int64_t vector = 0; vector < widthVectors; vector += tile.vectors)
      addProducts(block, row, rows, vector,
                  std::min(tile.vectors, widthVectors - vector));
  });
}
