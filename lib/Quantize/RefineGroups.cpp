//===- RefineGroups.cpp - Codes and parameters, a group at a time ---------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// With E = Q - W and all other groups as they are, the error in the values q of
// group g is, but for a constant, (q - t)^T H_gg (q - t) with
// t = q_now - H_gg^-1 (H E^T)_g. With H_gg = N^T D N, N unit lower triangular,
// that is a sum of one square a column, of which each depends on the columns up
// to its own: rounding them in turn is GPTQ inside the group, and its error is
// known as soon as the last is rounded. So parameters can be tried out.
//
//===----------------------------------------------------------------------===//

#include "Blas.h"
#include "RowBlock.h"
#include "ScaleGrid.h"
#include "quantopt/Quantize/Refine.h"

#include <algorithm>
#include <numeric>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

/// Longer groups are left: a candidate costs the square of the length.
static constexpr int64_t kLongestGroup = 256;

/// The parameters tried: scales by factors, and zero points by codes or middles
/// of the range by fractions of the scale.
static constexpr double kScaleFactors[] = {1, 0.98, 1.02, 0.96, 1.04};
static constexpr double kZeroSteps[] = {0, -1, 1};
static constexpr double kMiddleSteps[] = {0, -1.0 / 3, 1.0 / 3};

namespace {

/// H_gg as the solve needs it. The columns, counted from the first of the
/// group, are in the order in which they are rounded.
struct GroupFactor {
  std::vector<int64_t> order;
  std::vector<float> lower;  ///< N, [count, count]
  std::vector<float> pivots; ///< D, [count]
};

/// Parameters of one group for one vector of rows.
struct LaneParameters {
  float scale[kLanes], inverse[kLanes], offset[kLanes];
  uint8_t byte[kLanes]; ///< of the scale, if scales are nested
};

/// What a thread needs for a group of one vector of rows: columns of kLanes
/// values in the order of GroupFactor.
struct GroupSpace {
  std::vector<float> target, difference, value, best;
  std::vector<uint8_t> code, bestCode;
  float error[kLanes], bestError[kLanes];

  void resize(int64_t count) {
    for (auto *plane : {&target, &difference, &value, &best})
      plane->resize(count * kLanes);
    code.resize(count * kLanes);
    bestCode.resize(count * kLanes);
  }
};

} // namespace

/// Sets target to t and bestError to the error of the values now in best, from
/// the gradient (H E^T)_g in difference.
QUANTOPT_CLONES static void findTarget(const GroupFactor &factor,
                                       GroupSpace &space) {
  int64_t count = factor.pivots.size();
  float *z = space.difference.data();
  FloatLanes error = 0.0f;
  for (int64_t i = count - 1; i >= 0; --i) {
    FloatLanes sum;
    load(sum, z + i * kLanes);
    for (int64_t j = i + 1; j < count; ++j) {
      FloatLanes other;
      load(other, z + j * kLanes);
      sum -= other * factor.lower[j * count + i];
    }
    store(z + i * kLanes, sum);
    error += sum * sum * (1.0f / factor.pivots[i]);
  }
  store(space.bestError, error);
  for (int64_t i = 0; i < count; ++i) {
    FloatLanes step, now;
    load(step, z + i * kLanes);
    step *= 1.0f / factor.pivots[i];
    for (int64_t j = 0; j < i; ++j) {
      FloatLanes other;
      load(other, z + j * kLanes);
      step -= other * factor.lower[i * count + j];
    }
    store(z + i * kLanes, step);
    load(now, space.best.data() + i * kLanes);
    store(space.target.data() + i * kLanes, now - step);
  }
}

/// Rounds target under `parameters` into value and code, with its error.
template <CodeKind kind>
QUANTOPT_INLINE void roundGroupLoop(const GroupFactor &factor,
                                    const LaneParameters &parameters,
                                    const CodeRange &range, GroupSpace &space) {
  int64_t count = factor.pivots.size();
  GroupRows group = {parameters.scale, parameters.inverse, parameters.offset};
  FloatLanes error = 0.0f;
  for (int64_t i = 0; i < count; ++i) {
    const float *lower = factor.lower.data() + i * count;
    FloatLanes target, wanted, value;
    load(target, space.target.data() + i * kLanes);
    wanted = target;
    for (int64_t j = 0; j < i; ++j) {
      FloatLanes other;
      load(other, space.difference.data() + j * kLanes);
      wanted += other * lower[j];
    }
    quantizeLanes<kind>(wanted, group, 0, range, value,
                        space.code.data() + i * kLanes);
    store(space.value.data() + i * kLanes, value);
    store(space.difference.data() + i * kLanes, target - value);
    FloatLanes missed = wanted - value;
    error += missed * missed * factor.pivots[i];
  }
  store(space.error, error);
}

QUANTOPT_CLONES static void roundGroup(const GroupFactor &factor,
                                       const LaneParameters &parameters,
                                       const CodeRange &range,
                                       GroupSpace &space) {
  switch (range.kind) {
  case CodeKind::Zero:
    return roundGroupLoop<CodeKind::Zero>(factor, parameters, range, space);
  case CodeKind::Minimum:
    return roundGroupLoop<CodeKind::Minimum>(factor, parameters, range, space);
  case CodeKind::Table:
    return roundGroupLoop<CodeKind::Table>(factor, parameters, range, space);
  }
}

/// Empty if H_gg is not positive definite.
static GroupFactor factorGroup(const std::vector<float> &hessian, int64_t k,
                               int64_t begin, std::vector<int64_t> order) {
  int64_t count = order.size();
  // The Cholesky factor L of the reversed matrix is the reversed transpose of
  // D^1/2 N.
  std::vector<double> lower(count * count);
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j <= i; ++j)
      lower[i * count + j] = hessian[(begin + order[count - 1 - i]) * k +
                                     begin + order[count - 1 - j]];
  if (!choleskyLower(lower.data(), count, count))
    return {};
  GroupFactor factor;
  factor.order = std::move(order);
  factor.lower.resize(count * count);
  for (int64_t i = 0; i < count; ++i) {
    auto root = [&](int64_t j) {
      return lower[(count - 1 - j) * count + count - 1 - i];
    };
    factor.pivots.push_back(static_cast<float>(root(i) * root(i)));
    for (int64_t j = 0; j < i; ++j)
      factor.lower[i * count + j] = static_cast<float>(root(j) / root(i));
  }
  return factor;
}

/// One for each group, columns in the order that `factor` has for them.
static std::vector<GroupFactor> factorGroups(const std::vector<float> &hessian,
                                             const Scheme &scheme,
                                             const GptqFactor &factor) {
  int64_t k = factor.size(), length = scheme.groupLength(k);
  std::vector<std::vector<int64_t>> orders(scheme.numGroups(k));
  for (int64_t column : factor.order())
    orders[column / length].push_back(column % length);
  std::vector<GroupFactor> groups(orders.size());
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t group = 0; group < int64_t(groups.size()); ++group)
    groups[group] =
        factorGroup(hessian, k, group * length, std::move(orders[group]));
  return groups;
}

namespace {

/// The sweep over the groups of one block of rows.
class GroupSweep {
public:
  GroupSweep(QuantizedMatrix &result, std::span<const float> w,
             const std::vector<float> &hessian,
             const std::vector<GroupFactor> &factors)
      : result(result), scheme(result.scheme), range(scheme),
        grid(scheme, result.nested), w(w), hessian(hessian), factors(factors),
        columns(result.k),
        middle(static_cast<double>(int64_t(1) << (scheme.bits - 1))) {
    std::iota(columns.begin(), columns.end(), 0);
  }

  void run(int64_t block);

private:
  void sweepGroup(int64_t group);
  void sweepLanes(int64_t group, int64_t lane);
  int64_t scaleIndex(int64_t group, int64_t lane) const;
  LaneParameters parametersNow(int64_t group, int64_t lane) const;
  LaneParameters candidate(const LaneParameters &now, int64_t group,
                           int64_t lane, double factor, int step) const;
  void keepBetter(const LaneParameters &tried, LaneParameters &best);

  QuantizedMatrix &result;
  const Scheme &scheme;
  CodeRange range;
  ScaleGrid grid;
  std::span<const float> w;
  const std::vector<float> &hessian;
  const std::vector<GroupFactor> &factors;
  std::vector<int64_t> columns; ///< as they stand
  double middle;
  RowsAsColumns rows; ///< columns: E
  std::vector<float> values, gradients;
  GroupSpace space;
};

} // namespace

/// Of the row that is lane `lane` of the block; spare lanes have that of the
/// last row.
int64_t GroupSweep::scaleIndex(int64_t group, int64_t lane) const {
  int64_t row = rows.first + std::min(lane, rows.rows - 1);
  return row * scheme.numGroups(result.k) + group;
}

LaneParameters GroupSweep::parametersNow(int64_t group, int64_t lane) const {
  LaneParameters now = {};
  if (scheme.nesting != Nesting::None)
    for (int64_t i = 0; i < kLanes; ++i)
      now.byte[i] = result.nested.bytes[scaleIndex(group, lane + i)];
  int64_t at = group * kRowBlock + lane;
  std::copy_n(rows.scales.begin() + at, kLanes, now.scale);
  std::copy_n(rows.inverses.begin() + at, kLanes, now.inverse);
  std::copy_n(rows.offsets.begin() + at, kLanes, now.offset);
  return now;
}

/// Neighbours of the parameters `now`, rounded as they are stored.
LaneParameters GroupSweep::candidate(const LaneParameters &now, int64_t group,
                                     int64_t lane, double factor,
                                     int step) const {
  LaneParameters next = now;
  for (int64_t i = 0; i < kLanes; ++i) {
    if (now.scale[i] == 0)
      continue;
    StoredScale scale =
        grid.round(scaleIndex(group, lane + i), now.scale[i] * factor);
    next.scale[i] = scale.value;
    next.byte[i] = scale.byte;
    next.inverse[i] = scale.value == 0 ? 0.0f : 1.0f / scale.value;
    if (scheme.zero == ZeroKind::Integer) {
      double zero = now.offset[i] + kZeroSteps[step];
      next.offset[i] = static_cast<float>(
          std::clamp<double>(zero, 0, static_cast<double>(scheme.maxCode())));
    } else if (scheme.zero == ZeroKind::Minimum) {
      double center =
          now.offset[i] + (middle + kMiddleSteps[step]) * now.scale[i];
      next.offset[i] =
          roundTo(scheme.scaleType,
                  static_cast<float>(center - middle * next.scale[i]));
    }
  }
  return next;
}

/// Takes over the lanes whose error fell.
void GroupSweep::keepBetter(const LaneParameters &tried, LaneParameters &best) {
  for (int64_t lane = 0; lane < kLanes; ++lane) {
    if (!(space.error[lane] < space.bestError[lane]))
      continue;
    space.bestError[lane] = space.error[lane];
    best.scale[lane] = tried.scale[lane];
    best.offset[lane] = tried.offset[lane];
    best.byte[lane] = tried.byte[lane];
    for (size_t i = lane; i < space.best.size(); i += kLanes) {
      space.best[i] = space.value[i];
      space.bestCode[i] = space.code[i];
    }
  }
}

void GroupSweep::sweepLanes(int64_t group, int64_t lane) {
  const GroupFactor &factor = factors[group];
  int64_t count = factor.order.size();
  int64_t begin = group * scheme.groupLength(result.k);
  space.resize(count);
  for (int64_t i = 0; i < count; ++i) {
    int64_t from = factor.order[i] * rows.padded + lane;
    int64_t at = begin * rows.padded + from;
    std::copy_n(&gradients[from], kLanes, &space.difference[i * kLanes]);
    std::copy_n(&values[at], kLanes, &space.best[i * kLanes]);
    std::copy_n(&rows.codes[at], kLanes, &space.bestCode[i * kLanes]);
  }
  findTarget(factor, space);

  LaneParameters now = parametersNow(group, lane), best = now;
  int steps = scheme.zero == ZeroKind::Symmetric ? 1 : std::size(kZeroSteps);
  for (double scaleFactor : kScaleFactors)
    for (int step = 0; step < steps; ++step) {
      LaneParameters tried = candidate(now, group, lane, scaleFactor, step);
      roundGroup(factor, tried, range, space);
      keepBetter(tried, best);
    }

  for (int64_t i = 0; i < count; ++i) {
    int64_t at = (begin + factor.order[i]) * rows.padded + lane;
    for (int64_t j = 0; j < kLanes; ++j) {
      float value = space.best[i * kLanes + j];
      rows.columns[at + j] += value - values[at + j];
      values[at + j] = value;
      rows.codes[at + j] = space.bestCode[i * kLanes + j];
    }
  }
  for (int64_t j = 0; j < std::min(kLanes, rows.rows - lane); ++j) {
    int64_t index = scaleIndex(group, lane + j);
    result.scales[index] = best.scale[j];
    if (scheme.nesting != Nesting::None)
      result.nested.bytes[index] = best.byte[j];
    if (scheme.zero != ZeroKind::Symmetric)
      result.offsets[index] = best.offset[j];
  }
}

void GroupSweep::sweepGroup(int64_t group) {
  int64_t k = result.k, count = factors[group].order.size();
  int64_t begin = group * scheme.groupLength(k);
  gradients.resize(count * rows.padded);
  multiplyTransposed(count, rows.padded, k, 1.0f, {hessian.data() + begin, k},
                     {rows.columns.data(), rows.padded}, 0.0f, gradients.data(),
                     rows.padded);
  for (int64_t lane = 0; lane < rows.padded; lane += kLanes)
    sweepLanes(group, lane);
}

void GroupSweep::run(int64_t block) {
  rows.begin(block, result.n);
  rows.loadGroups(scheme, result.scales, result.offsets, result.k);
  rows.gather(rows.codes, result.codes.data(), columns);
  rows.gather(rows.columns, w.data(), columns);
  rows.gatherValues(values, result, columns);
  for (size_t i = 0; i < values.size(); ++i)
    rows.columns[i] = values[i] - rows.columns[i];
  for (size_t group = 0; group < factors.size(); ++group)
    if (!factors[group].order.empty())
      sweepGroup(group);
  rows.scatterCodes(result.codes.data(), columns);
}

QuantizedMatrix quantopt::sweepGroups(const QuantizedMatrix &matrix,
                                      std::span<const float> w,
                                      const GptqFactor &factor) {
  QuantizedMatrix result = matrix;
  int64_t n = matrix.n, k = matrix.k;
  if (matrix.scheme.granularity == Granularity::Tensor || n == 0 || k == 0 ||
      matrix.scheme.groupLength(k) > kLongestGroup)
    return result;
  useSingleThreadedBlas();
  std::vector<float> hessian = factor.dampedHessian(false);
  std::vector<GroupFactor> factors =
      factorGroups(hessian, matrix.scheme, factor);
  int64_t blocks = (n + kRowBlock - 1) / kRowBlock;
#pragma omp parallel
  {
    GroupSweep sweep(result, w, hessian, factors);
#pragma omp for schedule(dynamic, 1)
    for (int64_t block = 0; block < blocks; ++block)
      sweep.run(block);
  }
  return result;
}
