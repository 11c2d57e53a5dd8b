//===- CodeDecoder.h - From packed codes to what is multiplied --*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_CODEDECODER_H
#define QUANTOPT_LIB_CODEGEN_CPU_CODEDECODER_H

#include "Kernels.h"

namespace quantopt::cpu {

/// Knows the scheme and nothing of the loop around it. A weight is
/// (operand + bias - zero) * scale * factor: zero is that of the scheme, or the
/// middle code; with a minimum (operand + bias) * scale + minimum.
class CodeDecoder {
public:
  CodeDecoder(KernelBuilder &builder, const Scheme &scheme, Compute compute,
              const VectorTarget &target);

  /// The lines of one vector of rows, in one block of k.
  struct Block {
    Value address;     ///< of its first line, at the vector's lanes
    Values lines = {}; ///< that have been loaded
  };
  /// The vector to be multiplied with word `word` of x: lanes of i32 (bytes, or
  /// pairs of bf16) or f32.
  Value operand(Block &block, int64_t word);

  bool isSigned() const { return hasSignedBytes; }
  int64_t bias() const { return added; }
  float factor() const { return multiplied; }

  /// Where halves of a word of x come from, in each 4 neighbours in k: words of
  /// bf16 hold columns 0 and 2, then 1 and 3, as the bytes of a lane are parted
  /// by one mask.
  static constexpr int kPairOrder[4] = {0, 2, 1, 3};

private:
  Value line(Block &block, int64_t index);
  Value codes(Block &block, int64_t step);
  Value byteOperand(Block &block, int64_t step);
  Value pairOperand(Block &block, int64_t word);
  Value floatOperand(Block &block, int64_t word);
  Value centered(Value lanes);

  KernelBuilder &b;
  const Scheme scheme;
  const Compute compute;
  const VectorTarget target;
  mlir::VectorType words;
  bool hasSignedBytes = false;
  int64_t added = 0;
  float multiplied = 1;
  llvm::SmallVector<int64_t> byteTable;
};

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_CODEDECODER_H
