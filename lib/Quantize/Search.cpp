//===- Search.cpp - Scale and zero of each group --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Cuts a matrix into its groups, fits each and chooses codes.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Search.h"

#include "CodeTables.h"
#include "FitGroup.h"

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

/// About as many weights are given to a thread at a time.
static constexpr int64_t kWeightsPerTask = 1 << 14;

/// Appends the weights of one group: `importance` scaled to mean 1 (so that
/// sums of any unit stay in the range of f32), then zeros up to a whole vector.
static void appendWeights(std::vector<float> &plane,
                          std::span<const float> importance, int64_t count) {
  size_t begin = plane.size();
  double sum = 0;
  for (float value : importance)
    sum += value;
  if (importance.empty() || !(sum > 0)) {
    plane.resize(begin + count, 1.0f);
  } else {
    double unit = count / sum;
    for (float value : importance)
      plane.push_back(static_cast<float>(value * unit));
  }
  plane.resize(begin + roundUpToLanes(count), 0.0f);
}

/// The blocks of `hessian` [k, k] on its diagonal, one for each group, `plane`
/// floats apart: scaled to mean 1 on the diagonal, with zeros in the spare
/// lanes of each row. A block of zeros becomes the identity. Nothing if there
/// is no hessian or groups are too long for their errors to be measured by it.
static std::vector<float> momentPlanes(std::span<const float> hessian,
                                       int64_t k, int64_t length,
                                       int64_t plane) {
  if (hessian.empty() || roundUpToLanes(length) > kMostMoments)
    return {};
  std::vector<float> planes((k + length - 1) / length * plane, 0.0f);
  for (int64_t begin = 0; begin < k; begin += length) {
    int64_t count = std::min(length, k - begin);
    double sum = 0;
    for (int64_t i = begin; i < begin + count; ++i)
      sum += hessian[i * k + i];
    double unit = sum > 0 ? count / sum : 0;
    float *to = planes.data() + begin / length * plane;
    for (int64_t i = 0; i < count; ++i, to += roundUpToLanes(count)) {
      const float *from = hessian.data() + (begin + i) * k + begin;
      for (int64_t j = 0; j < count; ++j)
        to[j] = static_cast<float>(from[j] * unit);
      if (unit == 0)
        to[i] = 1;
    }
  }
  return planes;
}

/// Fits the parameters of every group of rows, scales on `grid`.
static GroupParameters
fitRows(std::span<const float> w, int64_t n, int64_t k, const Scheme &scheme,
        const SearchOptions &options, std::span<const float> importance,
        std::span<const float> hessian, const ScaleGrid &grid) {
  int64_t length = scheme.groupLength(k), groups = scheme.numGroups(k);
  int64_t stride = roundUpToLanes(length);
  int64_t task = std::max<int64_t>(kWeightsPerTask / length, 1);
  std::vector<float> weights;
  weights.reserve(groups * stride);
  for (int64_t begin = 0; begin < k; begin += length) {
    int64_t count = std::min(length, k - begin);
    appendWeights(weights,
                  importance.empty() ? importance
                                     : importance.subspan(begin, count),
                  count);
  }

  int64_t plane = stride * stride;
  std::vector<float> moments = momentPlanes(hessian, k, length, plane);

  bool hasOffsets = scheme.zero != ZeroKind::Symmetric;
  GroupParameters result;
  result.scales.resize(n * groups);
  result.offsets.resize(hasOffsets ? n * groups : 0);
  result.nested = grid.level(n * groups);
#pragma omp parallel
  {
    FitGroup group;
    group.values.resize(stride);
    group.weighted.resize(stride);
#pragma omp for schedule(dynamic, task)
    for (int64_t index = 0; index < n * groups; ++index) {
      int64_t row = index / groups, at = index % groups;
      int64_t begin = at * length, count = std::min(length, k - begin);
      if (!moments.empty())
        group.moments = moments.data() + at * plane;
      std::copy_n(w.begin() + row * k + begin, count, group.values.begin());
      group.weights = weights.data() + at * stride;
      prepareGroup(group, count, scheme.zero == ZeroKind::Minimum);
      GroupFit fit = fitGroup(group, scheme, options, grid, index);
      result.scales[index] = fit.scale.value;
      if (hasOffsets)
        result.offsets[index] = fit.offset;
      if (!result.nested.bytes.empty())
        result.nested.bytes[index] = fit.scale.byte;
    }
  }
  return result;
}

GroupParameters quantopt::fitParameters(std::span<const float> w, int64_t n,
                                        int64_t k, const Scheme &scheme,
                                        const SearchOptions &options,
                                        std::span<const float> importance,
                                        std::span<const float> hessian) {
  if (n == 0 || k == 0)
    return {};
  bool isFlat = scheme.granularity == Granularity::Flat;
  if (isFlat || scheme.granularity == Granularity::Tensor) {
    // Groups do not end with a row: all weights as one row.
    std::vector<float> repeated;
    for (int64_t row = 0; row < n && !importance.empty(); ++row)
      repeated.insert(repeated.end(), importance.begin(), importance.end());
    Scheme inOneRow = scheme;
    inOneRow.granularity = isFlat ? Granularity::Group : Granularity::Channel;
    return fitParameters(w, 1, n * k, inOneRow, options, repeated);
  }
  if (scheme.nesting == Nesting::None)
    return fitRows(w, n, k, scheme, options, importance, hessian,
                   ScaleGrid(scheme.scaleType));
  // Free scales say where the second level has to be fine.
  GroupParameters free = fitRows(w, n, k, scheme, options, importance, hessian,
                                 ScaleGrid(ScaleKind::F32));
  return fitRows(w, n, k, scheme, options, importance, hessian,
                 ScaleGrid(scheme, free.scales));
}

/// code = clamp(round((value - base) * inverse + zero), 0, largest). One of
/// `base` and `zero` is 0, and subtracting or adding 0 is exact.
QUANTOPT_CLONES static void chooseCodesLoop(const float *values, int64_t count,
                                            float base, float inverse,
                                            float zero, float largest,
                                            uint8_t *codes) {
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes value = 0.0f;
    int64_t lanes = std::min(kLanes, count - i);
    if (lanes == kLanes)
      load(value, values + i);
    else
      std::memcpy(&value, values + i, lanes * sizeof(float));
    FloatLanes scaled = (value - base) * inverse;
    FloatLanes code = scaled + zero;
    clampToCodes(code, largest);
    FloatLanes rounded = code + kRoundingOffset;
    IntLanes bits;
    std::memcpy(&bits, &rounded, sizeof(bits));
    ByteLanes bytes = __builtin_convertvector(bits & 255, ByteLanes);
    if (lanes == kLanes)
      std::memcpy(codes + i, &bytes, sizeof(bytes));
    else
      std::memcpy(codes + i, &bytes, lanes);
  }
}

void quantopt::chooseCodes(const Scheme &scheme, float scale, float offset,
                           std::span<const float> values, uint8_t *codes) {
  float inverse = scale == 0 ? 0.0f : 1.0f / scale;
  if (const SortedTable *table = sortedTable(scheme.table))
    return chooseTableCodes(*table, inverse, values, codes);
  float largest = static_cast<float>(scheme.maxCode());
  float base = 0, zero = offset;
  if (scheme.zero == ZeroKind::Minimum)
    std::swap(base, zero);
  else if (scheme.zero == ZeroKind::Symmetric)
    zero = static_cast<float>(int64_t(1) << (scheme.bits - 1));
  chooseCodesLoop(values.data(), values.size(), base, inverse, zero, largest,
                  codes);
}
