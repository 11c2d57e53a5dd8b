//===- ExpandedScales.h - A scale for every group of a row ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Kernels read scales of 16 or 32 bits, of groups that end with a row. Other
// schemes have equal ones of that kind.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PACKING_EXPANDEDSCALES_H
#define QUANTOPT_PACKING_EXPANDEDSCALES_H

#include "quantopt/Quantize/Scheme.h"

#include <optional>

namespace quantopt {

/// The scheme of granularity Channel or Group, with scales of f16, bf16 or f32
/// that are not nested, in which an [n, k] matrix of `scheme` has the same
/// values: nested scales become f32, E8M0 bf16 and E4M3 f16, which hold them
/// exactly; a scale that rows share is copied. Nothing for Flat if a row has a
/// group that begins in one row and ends inside another.
std::optional<Scheme> expandedScheme(const Scheme &scheme, int64_t n,
                                     int64_t k);

/// `matrix` in the scheme that expandedScheme gives for it.
QuantizedMatrix expandScales(QuantizedMatrix matrix);

} // namespace quantopt

#endif // QUANTOPT_PACKING_EXPANDEDSCALES_H
