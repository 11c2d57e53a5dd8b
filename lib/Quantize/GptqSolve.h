//===- GptqSolve.h - The column loop of GPTQ --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Codes by error compensation, under parameters that are given.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_GPTQSOLVE_H
#define QUANTOPT_LIB_QUANTIZE_GPTQSOLVE_H

#include "quantopt/Quantize/Gptq.h"

namespace quantopt {

/// The GPTQ codes of `w` [n, k], in which dead columns are 0 already. `factor`
/// must hold a U; `blockSize` is at least 1.
QuantizedMatrix solveGptq(std::span<const float> w, int64_t n, int64_t k,
                          const Scheme &scheme,
                          const GroupParameters &parameters,
                          const GptqFactor &factor, int64_t blockSize);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_GPTQSOLVE_H
