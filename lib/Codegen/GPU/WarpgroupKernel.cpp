//===- WarpgroupKernel.cpp - y = x * W^T with wgmma -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On sm_90a. Four warps multiply 64 rows of W, decoded into registers, with the
// tokens of a stage in shared memory. Bulk copies fill the stages with x and
// with the codes, several blocks of k ahead. While the tensor cores are at one
// block, the warps decode the next.
//
//===----------------------------------------------------------------------===//

#include "Striped.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

namespace {
class Warpgroup : public Striped {
public:
  Warpgroup(KernelBuilder &builder, const LinearProblem &problem,
            const TileShape &shape)
      : Striped(builder, problem, shape,
                shape.dense ? Scaling::None : Scaling::Weights) {}

private:
  /// Between two blocks of k.
  struct State {
    Values sums;       ///< up to here
    Values a;          ///< of the next block, decoded
    Values parameters; ///< of the block after that
  };
  Values pack(const State &state);
  State unpack(ValueRange values);
  /// Multiplies block `column`, which is not the last, and decodes the next
  /// meanwhile.
  void advance(State &state, Value column);

  Values sumColumns(Value begin, Value end) override;
  Value stageOf(Value column);
  Value codesOffset(Value stage);
  Value barrierAddress(Value stage);
  void waitFor(Value column);
  /// Starts the copies of a block's x and codes, each warp that of its codes.
  void startCopies(Value stage, Value column);
  /// The scales and offsets of a block.
  Values loadParameters(Value column, Value exists);
  /// A registers of the four steps of a block that is there.
  Values decode(Value column, ValueRange parameters);
  /// Starts the products of a block of k.
  Values multiply(Value column, ValueRange a, ValueRange sums);

  int64_t codeBytes() const { return shape.warps * decoder.codeBytesOfBlock(); }

  /// Blocks of k of the current row block.
  Value first, last;
  Value isFirstThread, isFirstLane;
};
} // namespace

Value Warpgroup::stageOf(Value column) {
  return b.rem(b.sub(column, first), shape.stages);
}

/// Of this warp's codes.
Value Warpgroup::codesOffset(Value stage) {
  Value ofStage = b.add(b.mul(stage, codeBytes()), shape.stages * stageBytes);
  return b.add(ofStage, b.mul(warp, decoder.codeBytesOfBlock()));
}

Value Warpgroup::barrierAddress(Value stage) {
  return b.sharedAddress(
      b.add(b.mul(stage, 8), shape.stages * (stageBytes + codeBytes())));
}

void Warpgroup::waitFor(Value column) {
  Value phase = b.div(b.sub(column, first), shape.stages);
  b.waitBarrier(barrierAddress(stageOf(column)), b.bitAnd(phase, 1));
}

void Warpgroup::startCopies(Value stage, Value column) {
  Value barrier = barrierAddress(stage);
  b.when(isFirstThread, [&] {
    b.expectBytes(barrier, stageBytes + codeBytes());
    Value tile = b.add(b.mul(b.blockY(), stripes.columns), column);
    Value from = b.advance(b.operand(Operand::Arranged), tile, stageBytes);
    b.copyBulk(b.mul(stage, stageBytes), from, stageBytes, barrier);
  });
  b.when(isFirstLane, [&] {
    b.copyBulk(codesOffset(stage), decoder.codeAddress(rowTile(0), column),
               decoder.codeBytesOfBlock(), barrier);
  });
}

Values Warpgroup::loadParameters(Value column, Value exists) {
  return decoder.loadParameters(rowTile(0), column, exists);
}

Values Warpgroup::decode(Value column, ValueRange parameters) {
  Values words = decoder.loadSharedCodes(codesOffset(stageOf(column)));
  llvm::append_range(words, parameters);
  WeightDecoder::Block block = decoder.open(words);
  Values a;
  for (unsigned step = 0; step < kSteps; ++step)
    a.append(decoder.fragment(block, step));
  return a;
}

Values Warpgroup::multiply(Value column, ValueRange a, ValueRange sums) {
  b.startWarpgroup();
  // K-major with the 128-byte swizzle: 8 rows are 1024 bytes.
  Value address = b.sharedAddress(b.mul(stageOf(column), stageBytes));
  Value low =
      b.bitOr(b.shiftRight(b.bitAnd(address, 0x3ffff), 4), b.constant(1 << 16));
  Value wide = arith::ExtUIOp::create(b, b.getI64Type(), low);
  Value descriptor = arith::OrIOp::create(
      b, wide, b.constant64((int64_t(1) << 62) | (int64_t(64) << 32)));
  Values result(sums);
  for (unsigned step = 0; step < kSteps; ++step) {
    // 16 k are 32 bytes.
    Value at = arith::AddIOp::create(b, descriptor, b.constant64(2 * step));
    result = b.warpgroupMma(a.slice(kRegisters * step, kRegisters), at, result,
                            problem.compute);
  }
  b.commitWarpgroup();
  return result;
}

Values Warpgroup::pack(const State &state) {
  Values values = state.sums;
  values.append(state.a);
  values.append(state.parameters);
  return values;
}

Warpgroup::State Warpgroup::unpack(ValueRange values) {
  State state;
  auto take = [&](int64_t count) {
    Values taken(values.take_front(count));
    values = values.drop_front(count);
    return taken;
  };
  state.sums = take(numSums());
  state.a = take(kSteps * kRegisters);
  state.parameters = take(decoder.numParameterWords());
  return state;
}

void Warpgroup::advance(State &state, Value column) {
  Values products = multiply(column, state.a, state.sums);
  Value next = b.add(column, 1), following = b.add(column, 2);
  waitFor(next);
  Values a = decode(next, state.parameters);
  state.parameters = loadParameters(following, b.less(following, last));
  state.sums = b.waitWarpgroup(products, state.a);
  state.a = a;
  // All have done with this stage, x and codes.
  b.barrier();
  Value refill = b.add(column, shape.stages);
  b.when(b.less(refill, last), [&] { startCopies(stageOf(column), refill); });
}

Values Warpgroup::sumColumns(Value begin, Value end) {
  first = begin;
  last = end;
  isFirstThread = b.equal(b.thread(), 0);
  isFirstLane = b.equal(b.lane(), 0);
  b.when(isFirstThread, [&] {
    for (int64_t i = 0; i < shape.stages; ++i)
      b.initBarrier(barrierAddress(b.constant(i)), 1);
    b.fenceAsync();
  });
  b.barrier();
  for (int64_t i = 0; i < shape.stages; ++i) {
    Value column = b.add(first, i);
    b.when(b.less(column, last), [&] { startCopies(b.constant(i), column); });
  }
  State state;
  state.sums.assign(numSums(), b.floatConstant(0));
  Values parameters = loadParameters(first, Value());
  Value second = b.add(first, 1);
  state.parameters = loadParameters(second, b.less(second, last));
  waitFor(first);
  state.a = decode(first, parameters);
  // Two blocks of k in a round, with registers of their own: ptxas would else
  // decode into those that the tensor cores still read, and wait for them.
  Value final = b.add(last, -1);
  state = unpack(b.loop(first, b.add(final, -1), 2, pack(state),
                        [&](Value column, ValueRange values) {
                          State now = unpack(values);
                          advance(now, column);
                          advance(now, b.add(column, 1));
                          return pack(now);
                        }));
  auto finish = [&](const State &state) {
    Values products = multiply(final, state.a, state.sums);
    return b.waitWarpgroup(products, state.a);
  };
  // The last block in both branches, for the same reason.
  Value isEven = b.equal(b.bitAnd(b.sub(last, first), 1), 0);
  Values sums = b.either(
      isEven,
      [&] {
        State rest = state;
        advance(rest, b.add(final, -1));
        return finish(rest);
      },
      [&] { return finish(state); });
  b.barrier();
  b.when(isFirstThread, [&] {
    for (int64_t i = 0; i < shape.stages; ++i)
      b.dropBarrier(barrierAddress(b.constant(i)));
  });
  b.barrier();
  return sums;
}

/// Of codes, or of dequantized weights.
static int64_t blockBytesOf(const LinearProblem &problem,
                            const TileShape &shape) {
  return shape.dense ? kDenseBlockBytes : blockBytes(problem.scheme.bits);
}

KernelLaunch kernels::emitWarpgroup(mlir::gpu::GPUModuleOp module,
                                    const LinearProblem &problem,
                                    const TileShape &shape) {
  int64_t sharedBytes =
      shape.stages *
      (shape.tokens * 128 + shape.warps * blockBytesOf(problem, shape) + 8);
  return emitStriped<Warpgroup>(module, "warpgroup", problem, shape,
                                Operand::Arranged, sharedBytes,
                                /*blocksPerProcessor=*/2);
}
