//===- KernelBuilder.h - Shorthand for the IR of CPU kernels ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_KERNELBUILDER_H
#define QUANTOPT_LIB_CODEGEN_CPU_KERNELBUILDER_H

#include "quantopt/Quantize/FloatKinds.h"
#include "quantopt/Quantize/Scheme.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace quantopt::cpu {

using mlir::Type;
using mlir::Value;
using mlir::ValueRange;
using Values = llvm::SmallVector<Value>;

/// Addresses are !llvm.ptr, counts and byte offsets are i64, and vectors are
/// those of LLVM.
class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  mlir::VectorType vector(int64_t lanes, Type element) {
    return mlir::VectorType::get(lanes, element);
  }
  Type pointerType();
  Type floatType(FloatKind kind);

  Value constant(int64_t value); ///< i64
  Value word(int64_t value);     ///< i32
  Value number(double value);    ///< f32
  Value splatInt(mlir::VectorType type, int64_t value);
  Value splatFloat(mlir::VectorType type, double value);
  /// A constant vector.
  Value vectorOf(mlir::VectorType type, llvm::ArrayRef<int64_t> values);
  Value vectorOf(mlir::VectorType type, llvm::ArrayRef<float> values);
  /// A scalar in all lanes.
  Value splat(Value scalar, int64_t lanes);

  Value add(Value a, Value b);
  Value mul(Value a, Value b);
  Value mul(Value a, int64_t b);
  Value sub(Value a, Value b);
  Value div(Value a, Value b); ///< unsigned
  Value div(Value a, int64_t b);
  Value min(Value a, Value b);             ///< signed
  Value max(Value a, Value b);             ///< signed
  Value shiftRight(Value a, int64_t bits); ///< logical, of any integers
  Value shiftLeft(Value a, int64_t bits);
  Value bitAnd(Value a, int64_t mask);
  Value bitOr(Value a, Value b);
  Value addFloat(Value a, Value b);
  Value subFloat(Value a, Value b);
  Value mulFloat(Value a, Value b);
  /// a * b + c, fused where the target can.
  Value multiplyAdd(Value a, Value b, Value c);
  Value toFloat(Value integers); ///< signed, to f32
  Value bitcast(Type type, Value value);

  /// The address of a buffer's first element.
  Value pointerTo(Value buffer);
  /// The size of a buffer's dimension.
  Value sizeOf(Value buffer, int64_t dimension);
  /// address + bytes.
  Value advance(Value address, Value bytes);
  Value advance(Value address, int64_t bytes);
  /// Memory of any alignment.
  Value load(Type type, Value address, int64_t bytes = 0);
  void store(Value value, Value address, int64_t bytes = 0);
  /// Only lanes of `mask`; the others are 0.
  Value loadMasked(mlir::VectorType type, Value address, Value mask);
  void storeMasked(Value value, Value address, Value mask);
  /// Lane numbers from 0, below `count` (i64).
  Value maskBelow(Value count, int64_t lanes);
  /// Into the second cache, or into the first.
  void prefetch(Value address, int64_t bytes);
  void prefetchSoon(Value address, int64_t bytes);
  /// Floats of a kind of memory as f32, and back.
  Value loadFloats(FloatKind kind, int64_t lanes, Value address,
                   int64_t bytes = 0);
  Value loadScales(ScaleKind kind, int64_t lanes, Value address);
  Value widen(Value value);
  Value narrow(FloatKind kind, Value value);

  Value intrinsic(llvm::StringRef name, Type type, ValueRange arguments);
  /// One without a result.
  void intrinsic(llvm::StringRef name, ValueRange arguments);

  /// A loop from 0 to `end` (i64) by `step`.
  Values loop(Value end, int64_t step, ValueRange initial,
              llvm::function_ref<Values(Value, ValueRange)> body);
  /// Shared between threads; iterations have no order.
  void parallel(Value end, llvm::function_ref<void(Value)> body);
  void when(Value condition, llvm::function_ref<void()> body);
  Value less(Value a, Value b);  ///< signed
  Value below(Value a, Value b); ///< unsigned
};

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_KERNELBUILDER_H
