//===- ContractionPlan.cpp - A contraction as a matrix product ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Contract.h"

#include <algorithm>

using namespace quantopt;

using Loop = ContractionLoop;
using Loops = std::vector<ContractionLoop>;

/// Joins neighbours that together step like one loop.
static Loops merge(Loops loops) {
  std::sort(loops.begin(), loops.end(), [](const Loop &x, const Loop &y) {
    return std::max({x.a, x.b, x.c}) > std::max({y.a, y.b, y.c});
  });
  Loops merged;
  for (const Loop &loop : loops) {
    if (!merged.empty()) {
      Loop &outer = merged.back();
      if (outer.a == loop.a * loop.size && outer.b == loop.b * loop.size &&
          outer.c == loop.c * loop.size) {
        outer = {outer.size * loop.size, loop.a, loop.b, loop.c};
        continue;
      }
    }
    merged.push_back(loop);
  }
  return merged;
}

/// Takes the loop that makes the best matrix dimension: the longest.
static Loop takeLongest(Loops &loops, Loops &rest) {
  if (loops.empty())
    return {1, 0, 0, 0};
  auto longest = std::max_element(
      loops.begin(), loops.end(),
      [](const Loop &x, const Loop &y) { return x.size < y.size; });
  Loop taken = *longest;
  loops.erase(longest);
  rest.insert(rest.end(), loops.begin(), loops.end());
  return taken;
}

ContractionPlan quantopt::planContraction(std::span<const Loop> loops) {
  ContractionPlan plan;
  Loops rows, columns;
  for (const Loop &loop : loops) {
    if (loop.size == 1)
      continue;
    if (loop.c == 0)
      plan.sums.push_back(loop);
    else if ((loop.a != 0) == (loop.b != 0))
      plan.batch.push_back(loop);
    else
      (loop.a ? rows : columns).push_back(loop);
  }
  rows = merge(rows);
  columns = merge(columns);
  plan.sums = merge(plan.sums);
  plan.row = takeLongest(rows, plan.batch);
  plan.column = takeLongest(columns, plan.batch);
  for (const Loop &loop : plan.batch)
    plan.batches *= loop.size;
  for (const Loop &loop : plan.sums)
    plan.k *= loop.size;
  return plan;
}
