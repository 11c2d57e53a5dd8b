//===- CodeTable.h - Codes that stand for unequal steps ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tables of 16 values that 4-bit formats use instead of equal steps.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_CODETABLE_H
#define QUANTOPT_QUANTIZE_CODETABLE_H

#include <cstdint>
#include <span>

namespace quantopt {

/// What a code stands for before it is scaled.
enum class CodeTable : uint8_t {
  Linear, ///< no table: the code itself
  NF4,    ///< quantiles of a normal distribution in [-1, 1] (QLoRA, 2023)
  FP4,    ///< bitsandbytes' 4-bit float, divided by its largest value
  IQ4NL,  ///< llama.cpp's IQ4_NL: integers from -127 to 113
  E2M1,   ///< the 4-bit float of OCP MX and NVFP4: up to 6
};

/// The values of a table in the order of their codes. Not for Linear.
std::span<const float, 16> tableValues(CodeTable table);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_CODETABLE_H
