//===- MatrixRegisters.cpp - AMX: products of small matrices --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixRegisters.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

Value MatrixRegisters::number(int64_t index) {
  return LLVM::ConstantOp::create(b, b.getI8Type(), index);
}

void MatrixRegisters::configure() {
  // Palette 1; 2 bytes of each register's row from byte 16 on, then how many
  // rows each has from byte 48 on.
  SmallVector<int64_t> bytes(64, 0);
  bytes[0] = 1;
  auto set = [&](int64_t index, int64_t rows, int64_t rowBytes) {
    bytes[16 + 2 * index] = rowBytes;
    bytes[48 + index] = rows;
  };
  for (int64_t input = 0; input < kOperands; ++input) {
    for (int64_t weight = 0; weight < kOperands; ++weight)
      set(sums(input, weight), inputRows, kRowBytes);
    set(inputRegister(input), inputRows, words * 4);
    set(weightRegister(input), words, kRowBytes);
  }
  VectorType type = b.vector(64, b.getI8Type());
  Value memory =
      LLVM::AllocaOp::create(b, b.pointerType(), type, b.word(1), kRowBytes);
  b.store(b.vectorOf(type, ArrayRef<int64_t>(bytes)), memory);
  b.intrinsic("llvm.x86.ldtilecfg", {memory});
}

void MatrixRegisters::release() {
  b.intrinsic("llvm.x86.tilerelease", ValueRange{});
}

void MatrixRegisters::clearSums(int64_t input, int64_t weight) {
  b.intrinsic("llvm.x86.tilezero", {number(sums(input, weight))});
}

void MatrixRegisters::loadInput(int64_t input, Value address,
                                int64_t rowBytes) {
  b.intrinsic("llvm.x86.tileloadd64",
              {number(inputRegister(input)), address, b.constant(rowBytes)});
}

void MatrixRegisters::loadWeight(int64_t weight, Value address) {
  b.intrinsic("llvm.x86.tileloadd64",
              {number(weightRegister(weight)), address, b.constant(kRowBytes)});
}

void MatrixRegisters::multiply(StringRef name, int64_t input, int64_t weight) {
  b.intrinsic(name, {number(sums(input, weight)), number(inputRegister(input)),
                     number(weightRegister(weight))});
}

void MatrixRegisters::multiplyBytes(int64_t input, int64_t weight,
                                    bool isSigned) {
  multiply(isSigned ? "llvm.x86.tdpbssd" : "llvm.x86.tdpbsud", input, weight);
}

void MatrixRegisters::multiplyPairs(int64_t input, int64_t weight) {
  multiply("llvm.x86.tdpbf16ps", input, weight);
}

void MatrixRegisters::storeSums(int64_t input, int64_t weight, Value address) {
  b.intrinsic("llvm.x86.tilestored64",
              {number(sums(input, weight)), address, b.constant(kRowBytes)});
}
