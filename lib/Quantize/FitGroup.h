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
#include "ScaleGrid.h"
#include "quantopt/Quantize/Search.h"

namespace quantopt {

/// Scale and zero point or minimum (0 for Symmetric) of a group.
struct GroupFit {
  StoredScale scale;
  float offset = 0;
};

/// The parameters of a prepared group; centered for ZeroKind::Minimum, not
/// otherwise. Scale `index` of the plane is rounded on `grid`.
GroupFit fitGroup(const FitGroup &group, const Scheme &scheme,
                  const SearchOptions &options, const ScaleGrid &grid,
                  int64_t index);

} // namespace quantopt

#endif // QUANTOPT_LIB_QUANTIZE_FITGROUP_H
