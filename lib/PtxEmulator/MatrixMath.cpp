//===- MatrixMath.cpp - Products of small matrices ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "MatrixMath.h"

#include "quantopt/Quantize/TargetClones.h"

using namespace quantopt::ptx;

using Floats = float __attribute__((ext_vector_type(8)));
using Integers = uint32_t __attribute__((ext_vector_type(8)));

/// Eight columns of four rows at a time: the sums stay in registers.
template <typename V, typename T>
static inline __attribute__((always_inline)) void
multiply(const T *a, const T *b, T *c, unsigned n, unsigned k) {
  for (unsigned column = 0; column < n; column += 8)
    for (unsigned row = 0; row < 16; row += 4) {
      V sums[4];
      for (unsigned i = 0; i < 4; ++i)
        __builtin_memcpy(&sums[i], c + (row + i) * n + column, sizeof(V));
      for (unsigned j = 0; j < k; ++j) {
        V right;
        __builtin_memcpy(&right, b + j * n + column, sizeof(V));
        for (unsigned i = 0; i < 4; ++i) {
          V left = a[(row + i) * k + j];
          sums[i] = sums[i] + left * right;
        }
      }
      for (unsigned i = 0; i < 4; ++i)
        __builtin_memcpy(c + (row + i) * n + column, &sums[i], sizeof(V));
    }
}

QUANTOPT_CLONES static void multiplyFloats(const float *a, const float *b,
                                           float *c, unsigned n, unsigned k) {
  multiply<Floats, float>(a, b, c, n, k);
}

void quantopt::ptx::multiplyAdd(const float *a, const float *b, float *c,
                                unsigned n, unsigned k) {
  multiplyFloats(a, b, c, n, k);
}

void quantopt::ptx::multiplyAdd(const int32_t *a, const int32_t *b, int32_t *c,
                                unsigned n, unsigned k) {
  multiply<Integers, uint32_t>(reinterpret_cast<const uint32_t *>(a),
                               reinterpret_cast<const uint32_t *>(b),
                               reinterpret_cast<uint32_t *>(c), n, k);
}
