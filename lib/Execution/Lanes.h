//===- Lanes.h - Code on vectors of 16 lanes --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_LANES_H
#define QUANTOPT_LIB_EXECUTION_LANES_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/IRMapping.h"

namespace quantopt::execution {

/// Builds code on vectors and the loops around it. Whatever the processor has,
/// a vector is 16 lanes, so that results are the same everywhere. Memory is a
/// buffer of one dimension, indices count its elements.
class Lanes {
public:
  static constexpr int64_t count = 16;

  Lanes(mlir::OpBuilder &builder, mlir::Location loc)
      : builder(builder), loc(loc) {}

  static mlir::VectorType type(mlir::Type element) {
    return mlir::VectorType::get({count}, element);
  }

  // Indices.
  mlir::Value index(int64_t value);
  mlir::Value add(mlir::Value x, mlir::Value y);
  mlir::Value sub(mlir::Value x, mlir::Value y);
  mlir::Value mul(mlir::Value x, int64_t y);
  mlir::Value div(mlir::Value x, int64_t y);
  mlir::Value rem(mlir::Value x, int64_t y);
  mlir::Value minimum(mlir::Value x, mlir::Value y);
  mlir::Value equal(mlir::Value x, mlir::Value y);
  mlir::Value boolean(bool value);

  // Control.
  void loop(mlir::Value begin, mlir::Value end,
            llvm::function_ref<void(mlir::Value)> body, int64_t step = 1);
  llvm::SmallVector<mlir::Value>
  loop(mlir::Value begin, mlir::Value end, mlir::ValueRange start,
       llvm::function_ref<llvm::SmallVector<mlir::Value>(mlir::Value,
                                                         mlir::ValueRange)>
           body);
  void ifTrue(mlir::Value condition, llvm::function_ref<void()> body);
  /// `steps` independent steps, shared between threads if `parallel`.
  void distribute(int64_t steps, bool parallel,
                  llvm::function_ref<void(mlir::Value)> body);

  // Memory.
  mlir::Value flatten(mlir::Value buffer);
  mlir::Value stack(int64_t size, mlir::Type element);
  mlir::Value heap(int64_t size, mlir::Type element);
  mlir::Value load(mlir::Value memory, mlir::Value index);
  void store(mlir::Value value, mlir::Value memory, mlir::Value index);
  /// Asks for the line of an element, which need not exist, up to the second
  /// cache.
  void prefetch(mlir::Value memory, mlir::Value index);
  /// The lanes from `exist` on are 0, and not read.
  mlir::Value loadLanes(mlir::Value memory, mlir::Value index,
                        int64_t exist = count);
  /// The lanes from `exist` on are not written.
  void storeLanes(mlir::Value lanes, mlir::Value memory, mlir::Value index,
                  int64_t exist = count);

  // Two bf16 a lane, for processors with dot products of them (AVX512-BF16).
  mlir::Value loadPairs(mlir::Value memory, mlir::Value index);
  void storePairs(mlir::Value pairs, mlir::Value memory, mlir::Value index);
  /// The two from `index` on, in all lanes.
  mlir::Value splatPair(mlir::Value memory, mlir::Value index);
  mlir::Value makePairs(mlir::Value first, mlir::Value second);
  /// Rounded to nearest, one a lane.
  mlir::Value toBF16(mlir::Value lanes);
  mlir::Value addDotOfPairs(mlir::Value x, mlir::Value y, mlir::Value sum);

  // Lanes. Values to and from f32 may be scalars too.
  mlir::Value scalar(float value);
  mlir::Value splat(mlir::Value scalar);
  mlir::Value countFrom(mlir::Value index);
  mlir::Value toF32(mlir::Value value);
  mlir::Value fromF32(mlir::Value value, mlir::Type element);
  mlir::Value fma(mlir::Value x, mlir::Value y, mlir::Value z);
  mlir::Value minus(mlir::Value x, mlir::Value y);
  mlir::Value exp(mlir::Value x);
  mlir::Value maximum(mlir::Value x, mlir::Value y);
  /// `other` in the lanes from `exist` on.
  mlir::Value keepLanes(mlir::Value lanes, int64_t exist, mlir::Value other);
  /// All lanes combined, in all lanes.
  mlir::Value
  reduce(mlir::Value lanes,
         llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> combine);
  /// Lane i is the sum of the lanes of vector i modulo their number, which is a
  /// power of two up to 16.
  mlir::Value sumEach(llvm::SmallVector<mlir::Value> vectors);
  /// Lane i of vector j becomes lane j of vector i, of 16.
  void transpose(llvm::MutableArrayRef<mlir::Value> vectors);
  /// Whether a lane is above `limit`, or not a number.
  mlir::Value anyAbove(mlir::Value lanes, double limit);
  /// A copy of a scalar elementwise op on lanes; what is not in `mapping` yet
  /// is a constant.
  void cloneOnLanes(mlir::Operation &op, mlir::IRMapping &mapping);

  mlir::OpBuilder &builder;
  mlir::Location loc;

private:
  mlir::Value mask(int64_t exist);
  mlir::Value loadBits(mlir::Value memory, mlir::Value index, int64_t exist);
  mlir::Value shuffle(mlir::Value x, mlir::Value y,
                      llvm::function_ref<int64_t(int64_t)> lane);
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_LANES_H
