//===- KernelBuilder.h - Shorthand for the IR of a kernel -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Integers are i32 where nothing else is said; addresses of global memory are
// i64, those of shared memory i32 offsets into the kernel's shared memory.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_GPU_KERNELBUILDER_H
#define QUANTOPT_LIB_CODEGEN_GPU_KERNELBUILDER_H

#include "quantopt/Codegen/GPU/LinearKernels.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace quantopt::kernels {

using mlir::Value;
using mlir::ValueRange;
using Values = llvm::SmallVector<Value>;

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  /// Starts kernel `name` in `module`; its arguments are the buffers of
  /// `operands`. It is complete when finish() has been called.
  KernelBuilder(mlir::gpu::GPUModuleOp module, llvm::StringRef name,
                const LinearProblem &problem, llvm::ArrayRef<Operand> operands,
                int64_t threads, int64_t blocksPerProcessor);
  void finish();

  /// Address of an operand, i64.
  Value operand(Operand operand);
  bool hasOperand(Operand operand) const;

  Value constant(int64_t value);
  Value constant64(int64_t value);
  Value floatConstant(double value);
  Value add(Value a, Value b);
  Value add(Value a, int64_t b) { return b ? add(a, constant(b)) : a; }
  Value sub(Value a, Value b);
  Value mul(Value a, int64_t b);
  Value div(Value a, int64_t b); ///< unsigned
  Value rem(Value a, int64_t b); ///< unsigned
  Value bitAnd(Value a, int64_t b);
  Value bitOr(Value a, Value b);
  Value bitXor(Value a, Value b);
  Value shiftLeft(Value a, int64_t b);
  Value shiftRight(Value a, int64_t b); ///< logical
  Value less(Value a, Value b);         ///< unsigned
  Value less(Value a, int64_t b) { return less(a, constant(b)); }
  Value same(Value a, Value b);
  Value equal(Value a, int64_t b) { return same(a, constant(b)); }
  Value both(Value a, Value b); ///< of two conditions; null is true
  Value select(Value condition, Value a, Value b);
  Value fma(Value a, Value b, Value c); ///< f32
  Value addFloat(Value a, Value b);
  Value subFloat(Value a, Value b);
  Value mulFloat(Value a, Value b);
  Value asFloat(Value bits);
  Value asBits(Value number);

  Value thread(); ///< in its block
  Value lane();
  Value warp();      ///< the same in all lanes, and LLVM knows it
  Value block();     ///< x
  Value blockY();    ///< y
  Value numBlocks(); ///< x
  void barrier();    ///< of the block

  /// The same value, of which LLVM knows nothing: what is computed from it
  /// stays where it is, instead of taking registers all through a loop.
  Value opaque(Value value);

  /// address + factor * index, in 64 bits.
  Value advance(Value address, Value index, int64_t factor = 1);

  /// A loop from `begin` to `end` by `step`, all i32.
  Values loop(Value begin, Value end, int64_t step, ValueRange initial,
              llvm::function_ref<Values(Value, ValueRange)> body);
  /// An optional part; no results. A null condition is true.
  void when(Value condition, llvm::function_ref<void()> body);

  /// One of two, with values.
  Values either(Value condition, llvm::function_ref<Values()> ifTrue,
                llvm::function_ref<Values()> ifFalse);

  /// PTX; results $0... come first. Several results are of one struct.
  Values inlineAsm(mlir::TypeRange results, const llvm::Twine &text,
                   llvm::StringRef constraints, ValueRange operands,
                   bool sideEffects);

  /// Constant words of global memory, `count` (1, 2 or 4) of them at an address
  /// of that alignment; 0 where `condition` (may be null) is false.
  Values loadWords(Value address, unsigned count, Value condition);
  /// The same, past the first-level cache; `evictFirst`: and first to leave the
  /// second one.
  Values streamWords(Value address, unsigned count, Value condition,
                     bool evictFirst);
  /// A constant byte or two of them, as i32.
  Value loadSmall(Value address, unsigned bytes, Value condition);

  /// Shared memory by byte offset; 1, 2 or 4 words.
  Values loadShared(Value offset, unsigned count);
  void storeShared(Value offset, ValueRange words);
  /// A pointer to shared memory as the PTX instructions take it, i32.
  Value sharedAddress(Value offset);

  /// Words of global memory that this kernel writes, too; 1, 2 or 4, aligned
  /// to all of them.
  void storeWords(Value address, ValueRange words);
  /// The same, as other blocks have left them.
  Values loadShareable(Value address, unsigned count);
  /// Adds 1 to a counter; what it was.
  Value countUp(Value address);
  /// What was written before is seen by all blocks that see what is written
  /// after it.
  void fence();

  /// Copies 16 bytes to shared memory, asynchronously: the first `bytes`, then
  /// zeros.
  void copyAsync(Value offset, Value address, Value bytes);
  void commitCopies();
  /// Waits until at most `groups` commits of this thread are under way.
  void waitForCopies(int64_t groups);
  /// One number as `kind`.
  void storeNumber(Value address, Value number, FloatKind kind);

  /// Two f32 as a pair of `kind`, `low` in the low half.
  Value packPair(Value low, Value high, FloatKind kind);
  /// The f32 value of the low (0) or high (1) half of a word.
  Value unpack(Value word, unsigned half, FloatKind kind);
  /// (a & b) | c
  Value andOr(Value a, Value b, Value c);
  /// The low (0) or high (1) half of a word in both halves.
  Value splatHalf(Value word, unsigned half);
  /// Bytes of {a, b} picked by the nibbles of `selector`.
  Value permute(Value a, Value b, Value selector);
  Value permute(Value a, Value b, int64_t selector) {
    return permute(a, b, constant(selector));
  }
  /// Arithmetic on pairs of `kind`; in the low and the high half alike.
  Value pairFma(Value a, Value b, Value c, FloatKind kind);
  Value pairMul(Value a, Value b, FloatKind kind);
  Value pairAdd(Value a, Value b, FloatKind kind);
  /// Both halves `value`.
  Value pairConstant(double value, FloatKind kind);

  /// mma.m16n8k16: {d0..d3} = a * b + d.
  Values mma(ValueRange a, Value b0, Value b1, ValueRange d, FloatKind kind);

  /// mbarriers and what they are for; addresses are of sharedAddress().
  void initBarrier(Value address, int64_t arrivals);
  void dropBarrier(Value address);
  /// Waits for the phase of this parity.
  void waitBarrier(Value address, Value parity);
  /// Writes to shared memory before it come before what the asynchronous proxy
  /// (bulk copies, wgmma) does after it.
  void fenceAsync();
  /// Arrives, and announces the bytes of copies that the phase waits for.
  void expectBytes(Value address, int64_t bytes);
  /// By one thread: starts a copy of `bytes` (a multiple of 16) to shared
  /// memory, of which the barrier is told.
  void copyBulk(Value offset, Value address, int64_t bytes, Value barrier);

  /// Before the first product: registers written by the warps are there.
  void startWarpgroup();
  /// Starts {d...} = a * b + d with a of 64 x 16 in registers, b by descriptor.
  /// Neither may be touched before waitWarpgroup().
  Values warpgroupMma(ValueRange a, Value descriptor, ValueRange d,
                      FloatKind kind);
  void commitWarpgroup();
  /// All products are done; d. Both operands of the products are named, so that
  /// LLVM puts nothing else into their registers before.
  Values waitWarpgroup(ValueRange d, ValueRange a);

private:
  enum class Caching { All, NotFirst, EvictFirst };
  Values load(Value address, unsigned count, Value condition, Caching caching);
  Value sharedPointer(Value offset);
  mlir::Type wordType(unsigned count);
  Value vectorOf(ValueRange words);

  mlir::gpu::GPUFuncOp function;
  llvm::SmallVector<Operand> operands;
  Value policy, sharedBase;
};

} // namespace quantopt::kernels

#endif // QUANTOPT_LIB_CODEGEN_GPU_KERNELBUILDER_H
