//===- FitGroup.h - Search for the parameters of one group ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The candidates of one group and the choice among them.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_QUANTIZE_FITGROUP_H
#define QUANTOPT_LIB_QUANTIZE_FITGROUP_H

#include "FitKernels.h"
#include "quantopt/Quantize/Search.h"

namespace quantopt {

/// Scale and zero point or minimum (0 for Symmetric) of a group.
struct ScaleAndOffset {
  float scale = 0, offset = 0;
};

/// `scale` as it is stored. What is not 0 stays so, and is large enough that
/// its inverse is finite; the upper bound leaves room for code * scale.
float roundScale(FloatKind kind, double scale);

/// The parameters of a prepared group; centered for ZeroKind::Minimum, not
/// otherwise.
ScaleAndOffset fitGroup(const FitGroup &group, const Scheme &scheme,
                        const SearchOptions &options);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_FITGROUP_H
