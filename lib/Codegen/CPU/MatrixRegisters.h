//===- MatrixRegisters.h - AMX: products of small matrices ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Eight registers of up to 16 rows of 64 bytes (Intel's Architectures Software
// Developer's Manual, volume 1, chapter 18). Here the first four hold sums, two
// hold x and two hold W: sums [x rows, 16 rows of W] += x [x rows, words] * W
// [words, 16 rows of W], of words of 4 bytes or of 2 bf16.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_MATRIXREGISTERS_H
#define QUANTOPT_LIB_CODEGEN_CPU_MATRIXREGISTERS_H

#include "KernelBuilder.h"

namespace quantopt::cpu {

class MatrixRegisters {
public:
  /// Rows of x and of W in a register, and the most words of k.
  static constexpr int64_t kRows = 16, kWords = 16;
  /// Registers of x, and of W.
  static constexpr int64_t kOperands = 2;
  /// A row of sums or W, and the most of one of x.
  static constexpr int64_t kRowBytes = 64;

  MatrixRegisters(KernelBuilder &builder, int64_t inputRows, int64_t words)
      : b(builder), inputRows(inputRows), words(words) {}

  /// Before and behind all others.
  void configure();
  void release();

  void clearSums(int64_t input, int64_t weight);
  void loadInput(int64_t input, Value address, int64_t rowBytes);
  /// Words of W, one after the other in memory.
  void loadWeight(int64_t weight, Value address);
  /// Bytes of x are signed.
  void multiplyBytes(int64_t input, int64_t weight, bool isSigned);
  void multiplyPairs(int64_t input, int64_t weight);
  /// i32 or f32, one row of x after the other.
  void storeSums(int64_t input, int64_t weight, Value address);

private:
  static int64_t sums(int64_t input, int64_t weight) {
    return input * kOperands + weight;
  }
  static int64_t inputRegister(int64_t index) { return 4 + index; }
  static int64_t weightRegister(int64_t index) { return 6 + index; }
  Value number(int64_t index);
  void multiply(llvm::StringRef name, int64_t input, int64_t weight);

  KernelBuilder &b;
  const int64_t inputRows, words;
};

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_MATRIXREGISTERS_H
