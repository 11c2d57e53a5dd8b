//===- Matrix.h - Rows of numbers that live elsewhere -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_MATRIX_H
#define QUANTOPT_RUNTIME_MATRIX_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// Bytes of one value of `kind`. Inline, so that the runtime needs no other
/// library for it.
inline int64_t byteWidth(FloatKind kind) {
  return kind == FloatKind::F32 ? 4 : 2;
}

/// A row-major [rows, cols] matrix without gaps, not owned.
struct MatrixRef {
  const void *data = nullptr;
  int64_t rows = 0, cols = 0;
  FloatKind kind = FloatKind::F32;
};

/// The same, to be written.
struct MutableMatrixRef {
  void *data = nullptr;
  int64_t rows = 0, cols = 0;
  FloatKind kind = FloatKind::F32;
};

/// `count` values of `kind` at `from` as floats.
void widen(FloatKind kind, const void *from, int64_t count, float *to);

/// `count` floats rounded to nearest even in `kind`. Overflow gives infinity,
/// as the arithmetic of compiled code does.
void narrow(FloatKind kind, const float *from, int64_t count, void *to);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_MATRIX_H
