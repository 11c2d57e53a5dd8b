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
// Where rows are few, as when a token is decoded, keys are cut into parts,
// which threads share, each with sums of its own; at the end they are added up.
// Vectors always have 16 lanes; what the processor has does not change a bit.
//
//===----------------------------------------------------------------------===//

#include "AttentionKernel.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Rows of a block, so that v and k are read from the second cache so seldom;
/// its scores should stay there.
static constexpr int64_t maxBlockRows = 32, maxScoreBytes = 512 << 10;
/// Up to this size they are on the stack.
static constexpr int64_t maxStackBytes = 32 << 10;
/// From so many rows that share their keys on, keys are transposed first: what
/// that costs is about the sums across lanes of as many rows.
static constexpr int64_t minPackedRows = 32;
/// Keys that are masked or not together. Their scores are in the first cache;
/// where few rows read them, and threads take turns, they are fewer.
static constexpr int64_t manyRowsBlock = 64, fewRowsBlock = 32;
static constexpr AttentionTile manyRowsTile = {8, 2}, fewRowsTile = {4, 4};
/// Steps that threads should have to share, so that few heads are not an odd
/// number of them. Each should read some blocks one after the other.
static constexpr int64_t wantedSteps = 6;
/// Multiply-adds worth a fork and join.
static constexpr int64_t minParallelWork = 1 << 19;
/// From here down a score swallows any product that is not enormous itself. A
/// row counts as masked from somewhat further up, so that what is left out of
/// others is far below their maximum.
static constexpr double deadScore = -1e30, liveScore = -1e29;

AttentionKernel::AttentionKernel(OpBuilder &builder, const Attention &attention,
                                 bool bf16Products)
    : a(attention), l(builder, attention.out.tensor.getLoc()),
      halves(bf16Products) {}

void AttentionKernel::chooseBlocks() {
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
  packed = rowsPerKey >= minPackedRows || a.k.innerStride != 1 ||
           a.q.innerStride != 1;
  sharedMask =
      a.masks && !maskVaries([&](unsigned dim) { return rowDim != dim; });
  halves &= packed && a.q.innerStride == 1 && a.depth % 2 == 0;
  wordSize = halves ? 2 : 1;
  wordLanes = wordSize * Lanes::count;
  tile = packed ? manyRowsTile : fewRowsTile;
  blockKeys = packed ? manyRowsBlock : fewRowsBlock;
  numBlocks = llvm::divideCeil(a.keys, blockKeys);
  int64_t fits = maxScoreBytes / (numBlocks * blockKeys * 4);
  int64_t limit = std::clamp<int64_t>(fits, tile.rows, maxBlockRows);
  rowBlocks = llvm::divideCeil(largest, limit);
  blockRows = llvm::divideCeil(largest, rowBlocks);
  parallel = work >= minParallelWork;
  if (parallel)
    parts = std::clamp<int64_t>(llvm::divideCeil(wantedSteps, countSteps()), 1,
                                numBlocks);
  // A line more than the keys take: powers of two would be the same few lines
  // of the cache.
  scoreStride = llvm::divideCeil(numBlocks, parts) * blockKeys + Lanes::count;
  depthVectors = llvm::divideCeil(a.depth, Lanes::count);
  widthVectors = llvm::divideCeil(a.width, Lanes::count);
}

/// Blocks of rows of all heads.
int64_t AttentionKernel::countSteps() const {
  int64_t steps = rowBlocks;
  for (auto [dim, size] : llvm::enumerate(a.rows))
    if (rowDim != dim)
      steps *= size;
  return steps;
}

/// Element number `row` * `perRow` + `offset` of scratch memory.
Value AttentionKernel::place(Value row, int64_t perRow, Value offset) {
  Value index = l.mul(row, perRow);
  return offset ? l.add(index, offset) : index;
}

Value AttentionKernel::placeOfResult(Value row, int64_t vector) {
  return place(row, widthVectors * Lanes::count,
               l.index(vector * Lanes::count));
}

Value AttentionKernel::at(const Buffer &buffer, Value row, Value offset) {
  Value index = l.add(buffer.base, l.mul(row, rowStride(*buffer.operand)));
  return offset ? l.add(index, offset) : index;
}

Value AttentionKernel::broadcastFrom(const Buffer &buffer, Value index) {
  return l.toF32(l.splat(l.load(buffer.memory, index)));
}

Value AttentionKernel::firstKey(const KeyBlock &block) {
  return l.mul(block.number, blockKeys);
}

void AttentionKernel::forAllBlocks(
    llvm::function_ref<void(const KeyBlock &)> body) {
  int64_t whole = a.keys / blockKeys;
  if (whole > 0)
    l.loop(l.index(0), l.index(whole),
           [&](Value number) { body({number, {}, blockKeys}); });
  if (whole < numBlocks)
    body({l.index(whole), {}, a.keys % blockKeys});
}

void AttentionKernel::forOwnBlocks(
    llvm::function_ref<void(const KeyBlock &)> body) {
  auto emit = [&](Value number, int64_t keys) {
    Value turn = parts > 1 ? l.div(number, parts) : number;
    KeyBlock block = {number, l.mul(turn, blockKeys), keys};
    if (!a.masks)
      return body(block);
    l.ifTrue(l.load(live, l.add(liveBase, number)), [&] { body(block); });
  };
  int64_t whole = a.keys / blockKeys;
  if (whole > 0)
    l.loop(
        part, l.index(whole), [&](Value number) { emit(number, blockKeys); },
        parts);
  if (whole == numBlocks)
    return;
  Value last = l.index(whole);
  if (parts == 1)
    return emit(last, a.keys % blockKeys);
  l.ifTrue(l.equal(part, l.index(whole % parts)),
           [&] { emit(last, a.keys % blockKeys); });
}

void AttentionKernel::forTiles(llvm::function_ref<void(Value, int64_t)> body) {
  int64_t whole = blockRows / tile.rows;
  if (whole > 0)
    l.loop(l.index(0), l.index(whole),
           [&](Value number) { body(l.mul(number, tile.rows), tile.rows); });
  if (int64_t rest = blockRows % tile.rows)
    body(l.index(whole * tile.rows), rest);
}

void AttentionKernel::forRows(llvm::function_ref<void(Value)> body) {
  l.loop(l.index(0), l.index(blockRows), body);
}

/// Calls `pack` for each block of keys of each matrix of `operand`, with the
/// places where it begins there and in packed memory, and its number.
void AttentionKernel::packMatrices(
    const AttentionOperand &operand, int64_t blockSize,
    llvm::function_ref<void(Value, Value, Value)> pack) {
  l.distribute(countMatrices(operand) * numBlocks, parallel, [&](Value number) {
    Value block = l.rem(number, numBlocks), matrix = l.div(number, numBlocks);
    Value from = l.mul(block, blockKeys * operand.keyStride);
    for (auto [size, stride] :
         llvm::reverse(llvm::zip(a.rows, operand.rowStrides)))
      if (stride != 0) {
        from = l.add(from, l.mul(l.rem(matrix, size), stride));
        matrix = l.div(matrix, size);
      }
    pack(from, l.mul(number, blockSize), block);
  });
}

/// Matrices of keys or values.
int64_t AttentionKernel::countMatrices(const AttentionOperand &operand) const {
  int64_t count = 1;
  for (auto [size, stride] : llvm::zip(a.rows, operand.rowStrides))
    if (stride != 0)
      count *= size;
  return count;
}

/// Which of them the block of rows reads.
Value AttentionKernel::matrixNumber(const AttentionOperand &operand) {
  Value number = l.index(0);
  for (auto [position, size, stride] :
       llvm::zip(rowPosition, a.rows, operand.rowStrides))
    if (stride != 0)
      number = l.add(l.mul(number, size), position);
  return number;
}

/// Keys as the products read them: for each block of keys and each depth, or
/// two as bf16, a line of keys.
void AttentionKernel::packKeys() {
  int64_t blockSize = a.depth * blockKeys;
  Type element =
      halves ? Type(l.builder.getBF16Type()) : Type(l.builder.getF32Type());
  packedKeys = l.heap(countMatrices(a.k) * numBlocks * blockSize, element);
  packMatrices(a.k, blockSize, [&](Value from, Value to, Value block) {
    Value keys = l.minimum(l.index(blockKeys),
                           l.sub(l.index(a.keys), l.mul(block, blockKeys)));
    l.loop(l.index(0), l.index(a.depth), [&](Value d) {
      Value source = l.add(from, l.mul(d, a.k.innerStride));
      Value line = l.add(l.mul(l.div(d, wordSize), wordSize * blockKeys),
                         l.rem(d, wordSize));
      auto store = [&](Value key, Value value) {
        l.store(l.fromF32(value, element), packedKeys,
                l.add(l.add(to, line), l.mul(key, wordSize)));
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

/// Values as bf16, those of two keys beside each other.
void AttentionKernel::packValues() {
  int64_t lineSize = widthVectors * wordLanes;
  int64_t blockSize = blockKeys / 2 * lineSize;
  packedValues = l.heap(countMatrices(a.v) * numBlocks * blockSize,
                        l.builder.getBF16Type());
  packMatrices(a.v, blockSize, [&](Value from, Value to, Value block) {
    // Keys that do not exist have weights of 0: any value will do.
    Value last = l.sub(l.index(a.keys - 1), l.mul(block, blockKeys));
    l.loop(l.index(0), l.index(blockKeys / 2), [&](Value pair) {
      for (int64_t vector = 0; vector < widthVectors; ++vector) {
        auto load = [&](int64_t second) {
          Value key = l.minimum(l.add(l.mul(pair, 2), l.index(second)), last);
          Value index = l.add(l.add(from, l.mul(key, a.v.keyStride)),
                              l.index(vector * Lanes::count));
          return l.toBF16(l.toF32(
              l.loadLanes(v.memory, index, a.width - vector * Lanes::count)));
        };
        Value place = l.add(l.add(to, l.mul(pair, lineSize)),
                            l.index(vector * wordLanes));
        l.storePairs(l.makePairs(load(0), load(1)), packedValues, place);
      }
    });
  });
}

/// The rows of q as bf16.
void AttentionKernel::roundQueries() {
  qHalves =
      l.stack(blockRows * depthVectors * Lanes::count, l.builder.getBF16Type());
  weightHalves = l.stack(blockRows * blockKeys, l.builder.getBF16Type());
  forRows([&](Value row) {
    for (int64_t vector = 0; vector < depthVectors; ++vector) {
      Value along = l.index(vector * Lanes::count);
      Value x = l.loadLanes(q.memory, at(q, row, along),
                            a.depth - vector * Lanes::count);
      l.storeLanes(l.toBF16(l.toF32(x)), qHalves,
                   place(row, depthVectors * Lanes::count, along));
    }
  });
}

/// Whether masked scores differ along a row dimension that `isAsked`.
bool AttentionKernel::maskVaries(
    llvm::function_ref<bool(unsigned)> isAsked) const {
  auto moves = [&](ArrayRef<int64_t> strides) {
    for (auto [dim, stride] : llvm::enumerate(strides))
      if (stride != 0 && isAsked(dim))
        return true;
    return false;
  };
  return llvm::any_of(a.indexStrides, moves) ||
         llvm::any_of(a.others, [&](const AttentionOperand &other) {
           return moves(other.rowStrides);
         });
}

/// Finds the live blocks of all blocks of rows where heads share them.
void AttentionKernel::findSharedLiveBlocks() {
  live = l.heap(rowBlocks * numBlocks, l.builder.getI1Type());
  l.distribute(rowBlocks, parallel, [&](Value number) {
    takeRows(number);
    maxima = l.stack(blockRows * Lanes::count, l.builder.getF32Type());
    Value lowest = l.splat(l.scalar(-INFINITY));
    forRows([&](Value row) {
      l.storeLanes(lowest, maxima, place(row, Lanes::count));
    });
    findLiveBlocks();
  });
}

/// Sets `live` for each block of keys: whether some row of the block of rows
/// needs it. A row that masks every key needs all.
void AttentionKernel::findLiveBlocks() {
  Value zero = l.splat(l.scalar(0)), lowest = l.splat(l.scalar(-INFINITY));
  bool varies = maskVaries([&](unsigned dim) { return rowDim == dim; });
  Value rows = l.index(varies ? blockRows : 1);
  // `maxima` holds, meanwhile, each row's largest score of a product of 0.
  forAllBlocks([&](const KeyBlock &block) {
    Value rowsLargest = l.loop(
        l.index(0), rows, {lowest},
        [&](Value row, ValueRange carried) -> SmallVector<Value> {
          Value largest = l.loadLanes(maxima, place(row, Lanes::count));
          Value ofBlock = carried[0];
          for (int64_t along = 0; along < block.keys; along += Lanes::count) {
            int64_t count = block.keys - along;
            Value key = l.add(firstKey(block), l.index(along));
            Value t =
                l.keepLanes(emitScore(zero, row, key, count), count, lowest);
            largest = l.maximum(largest, t);
            ofBlock = l.maximum(ofBlock, t);
          }
          l.storeLanes(largest, maxima, place(row, Lanes::count));
          return {ofBlock};
        })[0];
    l.store(l.anyAbove(rowsLargest, deadScore), live,
            l.add(liveBase, block.number));
  });
  Value allLive =
      l.loop(l.index(0), rows, {l.boolean(true)},
             [&](Value row, ValueRange carried) -> SmallVector<Value> {
               Value largest = l.loadLanes(maxima, place(row, Lanes::count));
               l.storeLanes(lowest, maxima, place(row, Lanes::count));
               return {arith::AndIOp::create(l.builder, l.loc, carried[0],
                                             l.anyAbove(largest, liveScore))};
             })[0];
  Value someDead =
      arith::XOrIOp::create(l.builder, l.loc, allLive, l.boolean(true));
  l.ifTrue(someDead, [&] {
    l.loop(l.index(0), l.index(numBlocks), [&](Value block) {
      l.store(l.boolean(true), live, l.add(liveBase, block));
    });
  });
}

/// The largest score of each row, in all lanes.
void AttentionKernel::spreadMaxima() {
  forRows([&](Value row) {
    Value at = place(row, Lanes::count);
    Value largest = l.reduce(l.loadLanes(maxima, at),
                             [&](Value x, Value y) { return l.maximum(x, y); });
    // Keys of a part may all be -inf to a row, whose weights are 0 then.
    if (parts > 1)
      largest = l.maximum(
          largest, l.splat(l.scalar(std::numeric_limits<float>::lowest())));
    l.storeLanes(largest, maxima, at);
  });
}

Value AttentionKernel::sumOfRow(Value row) {
  return l.reduce(
      l.loadLanes(sums, place(row, Lanes::count)), [&](Value x, Value y) {
        return arith::AddFOp::create(l.builder, l.loc, x, y).getResult();
      });
}

/// Writes the quotients of `values` and `sum`.
void AttentionKernel::storeRow(Value row, ValueRange values, Value sum) {
  for (auto [vector, value] : llvm::enumerate(values)) {
    int64_t along = vector * Lanes::count;
    Value quotient = arith::DivFOp::create(l.builder, l.loc, value, sum);
    l.storeLanes(l.fromF32(quotient, out.operand->type().getElementType()),
                 out.memory, at(out, row, l.index(along)), a.width - along);
  }
}

void AttentionKernel::storeResults() {
  l.loop(ownRows, l.index(blockRows), [&](Value row) {
    SmallVector<Value> values;
    for (int64_t vector = 0; vector < widthVectors; ++vector)
      values.push_back(l.loadLanes(results, placeOfResult(row, vector)));
    storeRow(row, values, sumOfRow(row));
  });
}

/// Vector 0 of a row of a part is the maximum, 1 the sum, then the result.
Value AttentionKernel::placeOfPart(Value number, Value row, int64_t vector) {
  return place(l.add(l.mul(number, blockRows), row),
               (2 + widthVectors) * Lanes::count,
               l.index(vector * Lanes::count));
}

void AttentionKernel::storePart(Value number) {
  forRows([&](Value row) {
    auto store = [&](Value lanes, int64_t vector) {
      l.storeLanes(lanes, partials, placeOfPart(number, row, vector));
    };
    store(l.loadLanes(maxima, place(row, Lanes::count)), 0);
    store(sumOfRow(row), 1);
    for (int64_t vector = 0; vector < widthVectors; ++vector)
      store(l.loadLanes(results, placeOfResult(row, vector)), 2 + vector);
  });
}

/// Adds up the parts of a block of rows, each by what its maximum is below the
/// maximum of all.
void AttentionKernel::mergeParts(Value number) {
  takeRows(number);
  Value zero = l.splat(l.scalar(0)), lowest = l.splat(l.scalar(-INFINITY));
  l.loop(ownRows, l.index(blockRows), [&](Value row) {
    auto load = [&](Value part, int64_t vector) {
      Value step = l.add(l.mul(number, parts), part);
      return l.loadLanes(partials, placeOfPart(step, row, vector));
    };
    Value largest =
        l.loop(l.index(0), l.index(parts), {lowest},
               [&](Value part, ValueRange carried) -> SmallVector<Value> {
                 return {l.maximum(carried[0], load(part, 0))};
               })[0];
    SmallVector<Value> start(1 + widthVectors, zero);
    SmallVector<Value> all = l.loop(
        l.index(0), l.index(parts), start, [&](Value part, ValueRange carried) {
          Value weight = l.exp(l.minus(load(part, 0), largest));
          SmallVector<Value> next;
          for (auto [i, sum] : llvm::enumerate(carried))
            next.push_back(l.fma(weight, load(part, 1 + i), sum));
          return next;
        });
    storeRow(row, ArrayRef(all).drop_front(), all[0]);
  });
}

/// Sets positions and places of the block of rows with this number among all.
void AttentionKernel::takeRows(Value number) {
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
  liveBase = l.mul(turn, numBlocks);
  if (packed)
    packedBase = l.mul(matrixNumber(a.k), numBlocks * a.depth * blockKeys);
  if (halves)
    valuesBase = l.mul(matrixNumber(a.v),
                       numBlocks * blockKeys * widthVectors * Lanes::count);
}

/// Results of a block of rows from a part of the keys.
void AttentionKernel::emitRows(Value number) {
  part = l.rem(number, parts);
  takeRows(l.div(number, parts));
  Type f32 = l.builder.getF32Type();
  int64_t scoreSize = blockRows * scoreStride;
  scores = scoreSize * 4 <= maxStackBytes ? l.stack(scoreSize, f32)
                                          : l.heap(scoreSize, f32);
  maxima = l.stack(blockRows * Lanes::count, f32);
  sums = l.stack(blockRows * Lanes::count, f32);
  results = l.stack(blockRows * widthVectors * Lanes::count, f32);
  if (halves)
    roundQueries();
  bool finds = a.masks && !sharedMask;
  if (finds) {
    live = l.stack(numBlocks, l.builder.getI1Type());
    liveBase = l.index(0);
  }
  Value zero = l.splat(l.scalar(0)), lowest = l.splat(l.scalar(-INFINITY));
  forRows([&](Value row) {
    Value at = this->place(row, Lanes::count);
    l.storeLanes(lowest, maxima, at);
    l.storeLanes(zero, sums, at);
    for (int64_t vector = 0; vector < widthVectors; ++vector)
      l.storeLanes(zero, results, placeOfResult(row, vector));
  });
  if (finds)
    findLiveBlocks();
  forOwnBlocks([&](const KeyBlock &block) {
    packed ? emitScoresByColumns(block) : emitScoresByDots(block);
  });
  spreadMaxima();
  forOwnBlocks([&](const KeyBlock &block) { emitSumsOfBlock(block); });
  if (parts == 1)
    storeResults();
  else
    storePart(number);
}

func::FuncOp AttentionKernel::emit() {
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
  if (halves)
    packValues();
  if (sharedMask)
    findSharedLiveBlocks();
  int64_t steps = countSteps();
  if (parts > 1)
    partials =
        l.heap(steps * parts * blockRows * (2 + widthVectors) * Lanes::count,
               builder.getF32Type());
  l.distribute(steps * parts, parallel,
               [&](Value number) { emitRows(number); });
  if (parts > 1)
    l.loop(l.index(0), l.index(steps),
           [&](Value number) { mergeParts(number); });
  func::ReturnOp::create(builder, l.loc);
  return function;
}

func::FuncOp execution::emitAttention(OpBuilder &builder,
                                      const Attention &attention,
                                      bool bf16Products) {
  return AttentionKernel(builder, attention, bf16Products).emit();
}
