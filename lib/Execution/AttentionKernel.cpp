//===- AttentionKernel.cpp - The loops of an attention --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For a block of rows of one head, in turn:
//   masks:  where the score of a product of 0 is dead for a block of keys, the
//           block is left out;
//   scores: of the other blocks, and the maximum of each row;
//   sums:   exp(t - maximum) in place, added up, times v;
//   the quotient is taken at the end, of the result instead of each weight.
// Vectors always have 16 lanes; what the processor has does not change a bit.
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "Lanes.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Keys that are masked or not together; their scores are in the first cache.
static constexpr int64_t blockKeys = 64;
/// Rows and vectors of results that stay in registers: 16 of 32 with AVX-512,
/// and enough sums in flight for a latency of 4 or 8.
static constexpr int64_t tileRows = 8, tileVectors = 2;
/// Rows of a block, so that v and k are read from the second cache so seldom;
/// its scores should stay there.
static constexpr int64_t maxBlockRows = 32, maxScoreBytes = 512 << 10;
/// From so many rows that share their keys on, keys are transposed first.
static constexpr int64_t minPackedRows = 8;
/// Multiply-adds worth a fork and join.
static constexpr int64_t minParallelWork = 1 << 19;
/// From here down a score swallows any product that is not enormous itself. A
/// row counts as masked from somewhat further up, so that what is left out of
/// others is far below their maximum.
static constexpr double deadScore = -1e30, liveScore = -1e29;

namespace {

class Kernel {
public:
  Kernel(OpBuilder &builder, const Attention &attention);
  func::FuncOp emit();

private:
  /// An operand on buffers, from some place on.
  struct Buffer {
    const AttentionOperand *operand;
    Value memory;
    Value base = {}; // element of the first row and key of a block of rows
  };

  void chooseBlocks();
  int64_t rowStride(const AttentionOperand &operand) const {
    return rowDim ? operand.rowStrides[*rowDim] : 0;
  }
  void packKeys();
  void emitRows(Value number);
  void findLiveBlocks();
  void emitScoresOfBlock(Value block, int64_t keys);
  void emitProducts(Value block, Value row, int64_t rows, int64_t vector,
                    int64_t vectors, int64_t keys);
  void emitDots(Value block, Value row, int64_t vector, int64_t keys);
  Value emitScore(Value product, Value row, Value key, int64_t count);
  void finishScores(Value product, Value block, Value row, int64_t vector,
                    int64_t keys);
  void spreadMaxima();
  void emitSumsOfBlock(Value block, int64_t keys);
  void addProducts(Value block, Value row, int64_t rows, int64_t vector,
                   int64_t vectors, int64_t keys);
  void storeResults();

  Value place(Value row, int64_t perRow, Value offset = {});
  Value at(const Buffer &buffer, Value row, Value offset);
  Value broadcastFrom(const Buffer &buffer, Value index);
  void forBlocks(bool masked, llvm::function_ref<void(Value, int64_t)> body);
  /// Calls `body` with the first row and the number of rows of each tile.
  void forTiles(llvm::function_ref<void(Value, int64_t)> body);
  void forRows(llvm::function_ref<void(Value)> body);

  const Attention &a;
  Lanes l;
  func::FuncOp function;
  Buffer q, k, v, out;
  SmallVector<Buffer> others;
  std::optional<unsigned> rowDim; // the row dimension that is cut into blocks
  int64_t blockRows = 1, rowBlocks = 1, numBlocks = 1, depthVectors = 1,
          widthVectors = 1;
  bool packed = false, parallel = false;
  SmallVector<Value> rowPosition; // of the block's first row, by dimension
  Value ownRows;                  // the first row that no block before has
  Value packedKeys, packedBase, scores, maxima, sums, results, live;
};

} // namespace

Kernel::Kernel(OpBuilder &builder, const Attention &attention)
    : a(attention), l(builder, attention.out.tensor.getLoc()) {}

void Kernel::chooseBlocks() {
  int64_t largest = 1, rowsPerKey = 1, work = a.keys * (a.depth + a.width);
  for (auto [dim, size] : llvm::enumerate(a.rows)) {
    work *= size;
    if (a.k.rowStrides[dim] == 0)
      rowsPerKey *= size;
    // v differs from row to row otherwise.
    if (a.k.rowStrides[dim] == 0 && a.v.rowStrides[dim] == 0 &&
        size > largest) {
      largest = size;
      rowDim = dim;
    }
  }
  numBlocks = llvm::divideCeil(a.keys, blockKeys);
  int64_t fits = maxScoreBytes / (numBlocks * blockKeys * 4);
  int64_t limit = std::clamp<int64_t>(fits, tileRows, maxBlockRows);
  rowBlocks = llvm::divideCeil(largest, limit);
  blockRows = llvm::divideCeil(largest, rowBlocks);
  packed = rowsPerKey >= minPackedRows || a.k.innerStride != 1 ||
           a.q.innerStride != 1;
  parallel = work >= minParallelWork;
  depthVectors = llvm::divideCeil(a.depth, Lanes::count);
  widthVectors = llvm::divideCeil(a.width, Lanes::count);
}

/// Element number `row` * `perRow` + `offset` of scratch memory.
Value Kernel::place(Value row, int64_t perRow, Value offset) {
  Value index = l.mul(row, perRow);
  return offset ? l.add(index, offset) : index;
}

Value Kernel::at(const Buffer &buffer, Value row, Value offset) {
  Value index = l.add(buffer.base, l.mul(row, rowStride(*buffer.operand)));
  return offset ? l.add(index, offset) : index;
}

Value Kernel::broadcastFrom(const Buffer &buffer, Value index) {
  return l.toF32(l.splat(l.load(buffer.memory, index)));
}

void Kernel::forBlocks(bool masked,
                       llvm::function_ref<void(Value, int64_t)> body) {
  auto guarded = [&](Value block, int64_t keys) {
    if (!masked)
      return body(block, keys);
    l.ifTrue(l.load(live, block), [&] { body(block, keys); });
  };
  int64_t whole = a.keys / blockKeys;
  if (whole > 0)
    l.loop(l.index(0), l.index(whole),
           [&](Value block) { guarded(block, blockKeys); });
  if (whole < numBlocks)
    guarded(l.index(whole), a.keys % blockKeys);
}

void Kernel::forTiles(llvm::function_ref<void(Value, int64_t)> body) {
  int64_t whole = blockRows / tileRows;
  if (whole > 0)
    l.loop(l.index(0), l.index(whole),
           [&](Value tile) { body(l.mul(tile, tileRows), tileRows); });
  if (int64_t rest = blockRows % tileRows)
    body(l.index(whole * tileRows), rest);
}

void Kernel::forRows(llvm::function_ref<void(Value)> body) {
  l.loop(l.index(0), l.index(blockRows), body);
}

/// Keys as the products read them: for each block of keys and each depth a
/// line of keys.
void Kernel::packKeys() {
  int64_t matrices = 1;
  for (auto [dim, size] : llvm::enumerate(a.rows))
    if (a.k.rowStrides[dim] != 0)
      matrices *= size;
  int64_t blockSize = a.depth * blockKeys;
  packedKeys = l.heap(matrices * numBlocks * blockSize, l.builder.getF32Type());
  l.distribute(matrices * numBlocks, parallel, [&](Value number) {
    Value block = l.rem(number, numBlocks), matrix = l.div(number, numBlocks);
    Value from = l.mul(block, blockKeys * a.k.keyStride);
    for (auto [size, stride] : llvm::reverse(llvm::zip(a.rows, a.k.rowStrides)))
      if (stride != 0) {
        from = l.add(from, l.mul(l.rem(matrix, size), stride));
        matrix = l.div(matrix, size);
      }
    Value to = l.mul(number, blockSize);
    Value keys = l.minimum(l.index(blockKeys),
                           l.sub(l.index(a.keys), l.mul(block, blockKeys)));
    l.loop(l.index(0), l.index(a.depth), [&](Value d) {
      Value source = l.add(from, l.mul(d, a.k.innerStride));
      Value line = l.add(to, l.mul(d, blockKeys));
      auto store = [&](Value key, Value value) {
        l.store(value, packedKeys, l.add(line, key));
      };
      l.loop(l.index(0), keys, [&](Value key) {
        Value index = l.add(source, l.mul(key, a.k.keyStride));
        store(key, l.toF32(l.load(k.memory, index)));
      });
      l.loop(keys, l.index(blockKeys),
             [&](Value key) { store(key, l.scalar(0)); });
    });
  });
}

/// t for a vector of products at `row` of the block and keys from `key` on, of
/// which `count` exist.
Value Kernel::emitScore(Value product, Value row, Value key, int64_t count) {
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

/// Sets `live` for each block of keys: whether some row of the block of rows
/// needs it. A row that masks every key needs all.
void Kernel::findLiveBlocks() {
  Value zero = l.splat(l.scalar(0)), lowest = l.splat(l.scalar(-INFINITY));
  // `maxima` holds, meanwhile, each row's largest score of a product of 0.
  forBlocks(false, [&](Value block, int64_t keys) {
    Value rowsLargest = l.loop(
        l.index(0), l.index(blockRows), {lowest},
        [&](Value row, ValueRange carried) -> SmallVector<Value> {
          Value largest = l.loadLanes(maxima, place(row, Lanes::count));
          Value ofBlock = carried[0];
          for (int64_t vector = 0; vector * Lanes::count < keys; ++vector) {
            int64_t count = keys - vector * Lanes::count;
            Value key =
                l.add(l.mul(block, blockKeys), l.index(vector * Lanes::count));
            Value t =
                l.keepLanes(emitScore(zero, row, key, count), count, lowest);
            largest = l.maximum(largest, t);
            ofBlock = l.maximum(ofBlock, t);
          }
          l.storeLanes(largest, maxima, place(row, Lanes::count));
          return {ofBlock};
        })[0];
    l.store(l.anyAbove(rowsLargest, deadScore), live, block);
  });
  Value allLive =
      l.loop(l.index(0), l.index(blockRows), {l.boolean(true)},
             [&](Value row, ValueRange carried) -> SmallVector<Value> {
               Value largest = l.loadLanes(maxima, place(row, Lanes::count));
               l.storeLanes(lowest, maxima, place(row, Lanes::count));
               return {arith::AndIOp::create(l.builder, l.loc, carried[0],
                                             l.anyAbove(largest, liveScore))};
             })[0];
  Value someDead =
      arith::XOrIOp::create(l.builder, l.loc, allLive, l.boolean(true));
  l.ifTrue(someDead, [&] {
    l.loop(l.index(0), l.index(numBlocks),
           [&](Value block) { l.store(l.boolean(true), live, block); });
  });
}

void Kernel::finishScores(Value product, Value block, Value row, int64_t vector,
                          int64_t keys) {
  int64_t count = keys - vector * Lanes::count;
  Value offset = l.add(l.mul(block, blockKeys), l.index(vector * Lanes::count));
  Value t = l.keepLanes(emitScore(product, row, offset, count), count,
                        l.splat(l.scalar(-INFINITY)));
  l.storeLanes(t, scores, place(row, numBlocks * blockKeys, offset));
  Value at = place(row, Lanes::count);
  l.storeLanes(l.maximum(l.loadLanes(maxima, at), t), maxima, at);
}

/// Scores of a tile of rows, from transposed keys.
void Kernel::emitProducts(Value block, Value row, int64_t rows, int64_t vector,
                          int64_t vectors, int64_t keys) {
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
void Kernel::emitDots(Value block, Value row, int64_t vector, int64_t keys) {
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

void Kernel::emitScoresOfBlock(Value block, int64_t keys) {
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

/// The largest score of each row, in all lanes.
void Kernel::spreadMaxima() {
  forRows([&](Value row) {
    Value at = place(row, Lanes::count);
    Value largest = l.reduce(l.loadLanes(maxima, at),
                             [&](Value x, Value y) { return l.maximum(x, y); });
    l.storeLanes(largest, maxima, at);
  });
}

/// results[row] += weights of a block of keys times v, for a tile.
void Kernel::addProducts(Value block, Value row, int64_t rows, int64_t vector,
                         int64_t vectors, int64_t keys) {
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

void Kernel::emitSumsOfBlock(Value block, int64_t keys) {
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

void Kernel::storeResults() {
  l.loop(ownRows, l.index(blockRows), [&](Value row) {
    Value sum = l.reduce(
        l.loadLanes(sums, place(row, Lanes::count)), [&](Value x, Value y) {
          return arith::AddFOp::create(l.builder, l.loc, x, y).getResult();
        });
    for (int64_t vector = 0; vector < widthVectors; ++vector) {
      Value along = l.index(vector * Lanes::count);
      Value value = arith::DivFOp::create(
          l.builder, l.loc,
          l.loadLanes(results, place(row, widthVectors * Lanes::count, along)),
          sum);
      l.storeLanes(l.fromF32(value, out.operand->type().getElementType()),
                   out.memory, at(out, row, along),
                   a.width - vector * Lanes::count);
    }
  });
}

/// The block of rows with this number among all.
void Kernel::emitRows(Value number) {
  // First and last blocks in turn: with a causal mask later ones have more
  // keys, and neighbours go to one thread.
  Value turn = l.rem(number, rowBlocks), rest = l.div(number, rowBlocks);
  Value half = l.div(turn, 2), isOdd = l.equal(l.rem(turn, 2), l.index(1));
  Value block = arith::SelectOp::create(
      l.builder, l.loc, isOdd, l.sub(l.index(rowBlocks - 1), half), half);
  // The last one begins early enough to be a whole one.
  int64_t size = rowDim ? a.rows[*rowDim] : 1;
  Value wanted = l.mul(block, blockRows);
  Value start = l.minimum(wanted, l.index(size - blockRows));
  ownRows = l.sub(wanted, start);
  rowPosition.assign(a.rows.size(), start);
  for (unsigned dim = a.rows.size(); dim-- > 0;)
    if (rowDim != dim) {
      rowPosition[dim] = l.rem(rest, a.rows[dim]);
      rest = l.div(rest, a.rows[dim]);
    }
  auto place = [&](Buffer &buffer) {
    buffer.base = l.index(0);
    for (auto [position, stride] :
         llvm::zip(rowPosition, buffer.operand->rowStrides))
      buffer.base = l.add(buffer.base, l.mul(position, stride));
  };
  for (Buffer *buffer : {&q, &k, &v, &out})
    place(*buffer);
  llvm::for_each(others, place);
  if (packed) {
    packedBase = l.index(0);
    for (auto [position, size, stride] :
         llvm::zip(rowPosition, a.rows, a.k.rowStrides))
      if (stride != 0)
        packedBase = l.add(l.mul(packedBase, size), position);
    packedBase = l.mul(packedBase, numBlocks * a.depth * blockKeys);
  }

  Type f32 = l.builder.getF32Type();
  scores = l.heap(blockRows * numBlocks * blockKeys, f32);
  maxima = l.stack(blockRows * Lanes::count, f32);
  sums = l.stack(blockRows * Lanes::count, f32);
  results = l.stack(blockRows * widthVectors * Lanes::count, f32);
  if (a.masks)
    live = l.stack(numBlocks, l.builder.getI1Type());
  Value zero = l.splat(l.scalar(0)), lowest = l.splat(l.scalar(-INFINITY));
  forRows([&](Value row) {
    Value at = this->place(row, Lanes::count);
    l.storeLanes(lowest, maxima, at);
    l.storeLanes(zero, sums, at);
    for (int64_t vector = 0; vector < widthVectors; ++vector)
      l.storeLanes(zero, results,
                   this->place(row, widthVectors * Lanes::count,
                               l.index(vector * Lanes::count)));
  });
  if (a.masks)
    findLiveBlocks();
  forBlocks(a.masks,
            [&](Value block, int64_t keys) { emitScoresOfBlock(block, keys); });
  spreadMaxima();
  forBlocks(a.masks,
            [&](Value block, int64_t keys) { emitSumsOfBlock(block, keys); });
  storeResults();
}

func::FuncOp Kernel::emit() {
  chooseBlocks();
  OpBuilder &builder = l.builder;
  SmallVector<Type> types;
  auto addType = [&](const AttentionOperand &operand) {
    types.push_back(MemRefType::get(operand.type().getShape(),
                                    operand.type().getElementType()));
  };
  addType(a.q);
  addType(a.k);
  addType(a.v);
  llvm::for_each(a.others, addType);
  addType(a.out);
  function = func::FuncOp::create(builder, l.loc, "attention",
                                  builder.getFunctionType(types, {}));
  function.setPrivate();
  function->setAttr("passthrough",
                    builder.getStrArrayAttr({"noinline", "nounwind"}));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(function.addEntryBlock());
  unsigned next = 0;
  auto take = [&](const AttentionOperand &operand) {
    return Buffer{&operand, l.flatten(function.getArgument(next++))};
  };
  q = take(a.q);
  k = take(a.k);
  v = take(a.v);
  for (const AttentionOperand &other : a.others)
    others.push_back(take(other));
  out = take(a.out);
  if (packed)
    packKeys();
  int64_t steps = rowBlocks;
  for (auto [dim, size] : llvm::enumerate(a.rows))
    if (rowDim != dim)
      steps *= size;
  l.distribute(steps, parallel, [&](Value number) { emitRows(number); });
  func::ReturnOp::create(builder, l.loc);
  return function;
}

func::FuncOp execution::emitAttention(OpBuilder &builder,
                                      const Attention &attention) {
  return Kernel(builder, attention).emit();
}
