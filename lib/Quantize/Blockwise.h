//===- Blockwise.h - What bitsandbytes computes -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// NF4 and FP4 without search are to have the very bits that the package
// bitsandbytes gives (0.50, on a CPU). This file holds what is peculiar to it;
// elsewhere the same formats are free to be better.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_BLOCKWISE_H
#define QUANTOPT_LIB_QUANTIZE_BLOCKWISE_H

#include "quantopt/Quantize/Scheme.h"

namespace quantopt {

/// Whether bitsandbytes has the format: NF4 or FP4 with f32 scales, which may
/// be nested, for blocks of the flattened matrix.
bool isBlockwise(const Scheme &scheme, int64_t k);

/// Quantizes `w` [n, k], finite, as bitsandbytes' quantize_4bit does. Codes are
/// chosen with the scales before these are rounded to nested ones.
QuantizedMatrix quantizeBlockwise(std::span<const float> w, int64_t n,
                                  int64_t k, const Scheme &scheme);

/// The second level of `scales`, as quantize_blockwise on their distance from
/// the mean gives it; `bytes` included.
NestedScales nestDynamic(std::span<const float> scales);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_BLOCKWISE_H
