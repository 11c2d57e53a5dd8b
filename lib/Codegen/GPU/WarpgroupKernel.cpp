//===- WarpgroupKernel.cpp - y = x * W^T with wgmma -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// On sm_90a. Four warps multiply 64 rows of W, decoded into registers, with the
// tokens of a stage in shared memory, which bulk copies fill. While the tensor
// cores are at one block of k, the warps decode the next.
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
    Values sums;  ///< up to here
    Values a;     ///< of the next block, decoded
    Values words; ///< of the block after that
  };
  Values pack(const State &state);
  State unpack(ValueRange values);
  /// Multiplies block `column`, and decodes the next meanwhile.
  void advance(State &state, Value column);

  Values sumColumns(Value begin, Value end) override;
  Value barrierAddress(Value stage);
  void startCopy(Value stage, Value column);
  /// A registers of the four steps.
  Values decode(ValueRange words);
  /// Starts the products of a block of k.
  Values multiply(Value stage, ValueRange a, ValueRange sums);

  /// Blocks of k of the current row block; whether this thread starts copies.
  Value first, last, isFirst;
};
} // namespace

Value Warpgroup::barrierAddress(Value stage) {
  return b.sharedAddress(b.add(b.mul(stage, 8), shape.stages * stageBytes));
}

/// By one thread.
void Warpgroup::startCopy(Value stage, Value column) {
  Value tile = b.add(b.mul(b.blockY(), stripes.columns), column);
  Value from = b.advance(b.operand(Operand::Arranged), tile, stageBytes);
  b.copyBulk(b.mul(stage, stageBytes), from, stageBytes, barrierAddress(stage));
}

Values Warpgroup::decode(ValueRange words) {
  WeightDecoder::Block block = decoder.open(words);
  Values a;
  for (unsigned step = 0; step < kSteps; ++step)
    a.append(decoder.fragment(block, step));
  return a;
}

Values Warpgroup::multiply(Value stage, ValueRange a, ValueRange sums) {
  b.startWarpgroup();
  // K-major with the 128-byte swizzle: 8 rows are 1024 bytes.
  Value address = b.sharedAddress(b.mul(stage, stageBytes));
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
  values.append(state.words);
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
  state.words = take(numWords());
  return state;
}

void Warpgroup::advance(State &state, Value column) {
  Value index = b.sub(column, first);
  Value stage = b.rem(index, shape.stages);
  Value parity = b.bitAnd(b.div(index, shape.stages), 1);
  b.waitBarrier(barrierAddress(stage), parity);
  // All have done with the stage before this one.
  b.barrier();
  Value ahead = b.add(column, shape.stages - 1);
  b.when(b.both(isFirst, b.less(ahead, last)), [&] {
    startCopy(b.rem(b.add(index, shape.stages - 1), shape.stages), ahead);
  });
  Values products = multiply(stage, state.a, state.sums);
  Values a = decode(state.words);
  Value following = b.add(column, 2);
  state.words = load(following, b.less(following, last));
  state.sums = b.waitWarpgroup(products, state.a);
  state.a = a;
}

Values Warpgroup::sumColumns(Value begin, Value end) {
  first = begin;
  last = end;
  isFirst = b.equal(b.thread(), 0);
  b.when(isFirst, [&] {
    for (int64_t i = 0; i < shape.stages; ++i)
      b.initBarrier(barrierAddress(b.constant(i)), 1);
    b.fenceAsync();
  });
  b.barrier();
  b.when(isFirst, [&] {
    for (int64_t i = 0; i < shape.stages - 1; ++i) {
      Value column = b.add(first, i);
      b.when(b.less(column, last), [&] { startCopy(b.constant(i), column); });
    }
  });
  State state;
  state.sums.assign(numSums(), b.floatConstant(0));
  state.a = decode(load(first, Value()));
  Value second = b.add(first, 1);
  state.words = load(second, b.less(second, last));
  // Two blocks of k in a round, with registers of their own: ptxas would else
  // decode into those that the tensor cores still read, and wait for them.
  state = unpack(b.loop(first, b.add(last, -1), 2, pack(state),
                        [&](Value column, ValueRange values) {
                          State now = unpack(values);
                          advance(now, column);
                          advance(now, b.add(column, 1));
                          return pack(now);
                        }));
  Value isOdd = b.equal(b.bitAnd(b.sub(last, first), 1), 1);
  state.sums = b.either(
      isOdd,
      [&] {
        State rest = state;
        advance(rest, b.add(last, -1));
        return rest.sums;
      },
      [&] { return state.sums; });
  b.barrier();
  b.when(isFirst, [&] {
    for (int64_t i = 0; i < shape.stages; ++i)
      b.dropBarrier(barrierAddress(b.constant(i)));
  });
  b.barrier();
  return state.sums;
}

KernelLaunch kernels::emitWarpgroup(mlir::gpu::GPUModuleOp module,
                                    const LinearProblem &problem,
                                    const TileShape &shape) {
  Stripes stripes(problem, shape);
  KernelLaunch launch;
  launch.kernel =
      kernelName(shape.dense ? "warpgroup_dense" : "warpgroup", problem,
                 {shape.tokens, shape.warps, shape.stages, shape.stripes});
  launch.grid = {stripes.count, stripes.tokenBlocks, 1};
  launch.block.x = shape.warps * kWarp;
  launch.sharedBytes = shape.stages * (shape.tokens * 128 + 8);
  launch.operands = weightOperands(problem, shape.dense);
  launch.operands.append({Operand::Arranged, Operand::Y});
  if (!stripes.whole())
    launch.operands.append({Operand::Partials, Operand::Arrivals});
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder builder(module, launch.kernel, problem, launch.operands,
                        launch.block.x,
                        /*blocksPerProcessor=*/shape.dense ? 1 : 2);
  Warpgroup(builder, problem, shape).emit();
  builder.finish();
  return launch;
}
