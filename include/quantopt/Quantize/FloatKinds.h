//===- FloatKinds.h - Floating-point types in storage -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rounding to the types that weights, activations and scales are stored in, in
// integer arithmetic: the bits are the same everywhere.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_FLOATKINDS_H
#define QUANTOPT_QUANTIZE_FLOATKINDS_H

#include <cstdint>

namespace quantopt {

/// The type of weights and activations.
enum class FloatKind : uint8_t { F16, BF16, F32 };

/// The type that scales and minima are stored in.
enum class ScaleKind : uint8_t {
  F16,
  BF16,
  F32,
  E8M0, ///< a power of two, 2^(byte - 127); OCP MX, MLIR's f8E8M0FNU
  E4M3, ///< up to 448, no infinity; OCP, MLIR's f8E4M3FN
};

/// Bits of one value of `kind`.
unsigned bitWidth(FloatKind kind);
unsigned bitWidth(ScaleKind kind);

/// Whether `kind` serves for values below 0.
bool isSigned(ScaleKind kind);

/// `value` rounded to nearest even in `kind` and widened again. Overflow
/// saturates to the largest finite value of `kind`: a scale is never infinite.
/// NaN stays NaN. E8M0 rounds 1.5 up to 2, and what is not positive to its
/// smallest value.
float roundTo(FloatKind kind, float value);
float roundTo(ScaleKind kind, float value);

/// The bits of `roundTo(kind, value)` as `kind` stores them, in the low
/// bitWidth(kind) bits. An infinity saturates as in roundTo.
uint32_t encodeFloat(FloatKind kind, float value);
uint32_t encodeFloat(ScaleKind kind, float value);

/// The value of the low bitWidth(kind) bits of `bits`, read as a `kind`.
float decodeFloat(FloatKind kind, uint32_t bits);
float decodeFloat(ScaleKind kind, uint32_t bits);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_FLOATKINDS_H
