//===- FitGroup.cpp - Search for the parameters of one group --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// "lsq" and "grid2lsq" of docs/algorithms, section 8. Every candidate range
// gives codes; these, taken as fixed, give the scale (and minimum) of least
// weighted squared error; those are rounded to the type they are stored in, and
// the error is measured with what rounding left.
//
//===----------------------------------------------------------------------===//

#include "FitGroup.h"

#include <algorithm>
#include <cmath>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

namespace {

/// The search in one group. `center` is 0 but for ZeroKind::Minimum.
class Fitter {
public:
  Fitter(const FitGroup &group, const Scheme &scheme,
         const SearchOptions &options, const ScaleGrid &grid, int64_t index)
      : group(group), scheme(scheme), options(options), grid(grid),
        index(index), table(sortedTable(scheme.table)), low(group.low),
        high(group.high), largest(static_cast<float>(scheme.maxCode())),
        middle(static_cast<float>(int64_t(1) << (scheme.bits - 1))) {}

  GroupFit run();

private:
  bool isMinimum() const { return scheme.zero == ZeroKind::Minimum; }
  bool mayBeNegative() const;
  StoredScale roundScale(double scale) const {
    return grid.round(index, scale);
  }
  GroupFit fromRange(double low, double high) const;
  GroupFit fromExtremes() const;
  double tableScale(bool negative) const;
  GroupFit fromTableExtremes() const;
  bool refit(GroupFit &candidate) const;
  bool refitScale(GroupFit &candidate) const;
  bool refitScaleAndMinimum(GroupFit &candidate) const;
  double error(const GroupFit &candidate) const;
  CodeMap codeMap(const GroupFit &candidate) const;
  void consider(GroupFit candidate);
  void compare(const GroupFit &candidate);
  void searchClips();
  void searchSymmetric();
  void searchTable();
  void searchRanges();

  const FitGroup &group;
  const Scheme &scheme;
  const SearchOptions &options;
  const ScaleGrid &grid;
  int64_t index;
  const SortedTable *table;
  float low, high; ///< what codes have to cover
  float largest, middle;
  GroupFit best;
  double bestError = 0;
};

} // namespace

static constexpr int kLeastSquaresSteps = 13;

/// 1 to .55 in steps of .05, as AWQ does.
static constexpr int kClipSteps = 10;

/// .7 to 1.1; 1 is among them.
static double leastSquaresFactor(int step) { return 0.7 + step * (0.4 / 12); }

/// .7 to 1.5: the steps of a table are widest at its ends, so that it may pay
/// to leave the outermost values unused.
static double tableFactor(int step) { return 0.7 + step * (0.8 / 12); }

static constexpr double kGridFactors[] = {0.75, 0.825, 0.9, 0.975, 1.05};

/// Spreads the codes over [low, high].
GroupFit Fitter::fromRange(double low, double high) const {
  GroupFit result;
  result.scale = roundScale((high - low) / largest);
  if (isMinimum()) {
    // Of equal values the minimum alone is the value.
    result.offset = roundTo(scheme.scaleType, static_cast<float>(low));
  } else if (result.scale.value != 0) {
    double zero = std::rint(-low / result.scale.value);
    result.offset = static_cast<float>(std::clamp<double>(zero, 0, largest));
  }
  return result;
}

bool Fitter::mayBeNegative() const {
  return options.fullRange && scheme.zero == ZeroKind::Symmetric &&
         isSigned(scheme.scaleType) && scheme.nesting == Nesting::None &&
         (!table || table->isSkewed());
}

/// The scale of least magnitude at which no weight is beyond the table.
double Fitter::tableScale(bool negative) const {
  double below = -std::min(low, 0.0f), above = std::max(high, 0.0f);
  if (negative)
    return -std::max(above / -table->lowest(), below / table->highest());
  return std::max(below / -table->lowest(), above / table->highest());
}

GroupFit Fitter::fromTableExtremes() const {
  double scale = tableScale(false);
  if (scheme.scaleType == ScaleKind::E8M0 && scale > 0) {
    // OCP MX: the power of two of the largest weight over that of the largest
    // value, so that weights may be beyond it.
    double most = std::max(-low, high);
    return {
        roundScale(std::exp2(std::ilogb(most) - std::ilogb(table->highest()))),
        0};
  }
  if (mayBeNegative() && -tableScale(true) < scale)
    scale = tableScale(true);
  return {roundScale(scale), 0};
}

GroupFit Fitter::fromExtremes() const {
  if (table)
    return fromTableExtremes();
  if (scheme.zero != ZeroKind::Symmetric) {
    if (isMinimum())
      return fromRange(low, high);
    return fromRange(std::min(low, 0.0f), std::max(high, 0.0f));
  }
  bool negative = -low >= high;
  double signedMost = negative ? low : high;
  if (mayBeNegative())
    return {roundScale(-signedMost / middle), 0};
  return {roundScale(2 * std::fabs(signedMost) / largest), 0};
}

CodeMap Fitter::codeMap(const GroupFit &candidate) const {
  float inverse = 1.0f / candidate.scale.value;
  if (table)
    return {inverse, 0, 0, table};
  if (isMinimum()) {
    float minimum = static_cast<float>(static_cast<double>(candidate.offset) -
                                       group.center);
    return {inverse, -(minimum * inverse), largest};
  }
  bool symmetric = scheme.zero == ZeroKind::Symmetric;
  return {inverse, symmetric ? middle : candidate.offset, largest};
}

/// The best scale for the codes that `candidate` gives.
bool Fitter::refitScale(GroupFit &candidate) const {
  CodeMap map = codeMap(candidate);
  CodeSums sums = sumCodes(group, map, map.offset);
  if (!(sums.square > 0))
    return false;
  double scale = sums.product / sums.square;
  if (!(mayBeNegative() ? scale != 0 : scale > 0))
    return false;
  candidate.scale = roundScale(scale);
  return true;
}

/// The best scale, and with it rounded the best minimum. The codes are counted
/// from their middle, where the sums cancel least.
bool Fitter::refitScaleAndMinimum(GroupFit &candidate) const {
  CodeSums sums = sumCodes(group, codeMap(candidate), middle);
  double weight = group.sumWeights;
  double spread = weight * sums.square - sums.code * sums.code;
  if (!(spread > 1e-6 * weight * sums.square))
    return false;
  double scale =
      (weight * sums.product - group.sumWeighted * sums.code) / spread;
  if (!(scale > 0))
    return false;
  candidate.scale = roundScale(scale);
  double rounded = candidate.scale.value;
  double base = (group.sumWeighted - rounded * sums.code) / weight;
  double minimum = base + group.center - middle * rounded;
  candidate.offset = roundTo(scheme.scaleType, static_cast<float>(minimum));
  return true;
}

bool Fitter::refit(GroupFit &candidate) const {
  return isMinimum() ? refitScaleAndMinimum(candidate) : refitScale(candidate);
}

double Fitter::error(const GroupFit &candidate) const {
  CodeMap map = codeMap(candidate);
  float shift = map.offset, base = 0;
  if (isMinimum()) {
    shift = middle;
    base = static_cast<float>(
        static_cast<double>(candidate.offset) - group.center +
        static_cast<double>(middle) * candidate.scale.value);
  }
  auto sum = group.moments ? sumOutputErrors : sumErrors;
  return sum(group, map, shift, candidate.scale.value, base);
}

void Fitter::consider(GroupFit candidate) {
  if (candidate.scale.value == 0 || !refit(candidate))
    return;
  compare(candidate);
}

void Fitter::compare(const GroupFit &candidate) {
  double candidateError = error(candidate);
  if (!(candidateError < bestError))
    return;
  best = candidate;
  bestError = candidateError;
}

/// The extremes of the weights cut to so much of the largest magnitude.
void Fitter::searchClips() {
  float most = std::max(-low, high);
  for (int step = 1; step < kClipSteps; ++step) {
    float limit = most * static_cast<float>(1 - step * 0.05);
    low = std::max(group.low, -limit);
    high = std::min(group.high, limit);
    GroupFit candidate = fromExtremes();
    if (candidate.scale.value != 0)
      compare(candidate);
  }
  low = group.low;
  high = group.high;
}

void Fitter::searchSymmetric() {
  double most = std::max(-low, high);
  double unit = 2 * most / largest;
  for (int step = 0; step < kLeastSquaresSteps; ++step) {
    double scale = unit * leastSquaresFactor(step);
    consider({roundScale(scale), 0});
    if (mayBeNegative())
      consider({roundScale(-scale), 0});
  }
}

void Fitter::searchTable() {
  for (bool negative : {false, true}) {
    if (negative && !mayBeNegative())
      break;
    float last = 0;
    for (int step = 0; step < kLeastSquaresSteps; ++step) {
      StoredScale scale = roundScale(tableScale(negative) * tableFactor(step));
      if (scale.value != last) // powers of two are few
        consider({scale, 0});
      last = scale.value;
    }
  }
}

void Fitter::searchRanges() {
  double low = this->low, high = this->high;
  if (!isMinimum()) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
  }
  // The ends move towards 0, or where 0 is not between them towards the middle.
  double pivot = low <= 0 && high >= 0 ? 0 : low / 2 + high / 2;
  auto considerRange = [&](double lowFactor, double highFactor) {
    consider(fromRange(pivot + (low - pivot) * lowFactor,
                       pivot + (high - pivot) * highFactor));
  };
  if (options.kind == SearchKind::LeastSquares) {
    for (int step = 0; step < kLeastSquaresSteps; ++step)
      considerRange(leastSquaresFactor(step), leastSquaresFactor(step));
    return;
  }
  for (double lowFactor : kGridFactors)
    for (double highFactor : kGridFactors)
      considerRange(lowFactor, highFactor);
}

GroupFit Fitter::run() {
  best = fromExtremes();
  if (options.kind == SearchKind::None || best.scale.value == 0)
    return best;
  bestError = error(best);
  if (options.kind == SearchKind::Clip)
    searchClips();
  else if (table)
    searchTable();
  else if (scheme.zero == ZeroKind::Symmetric)
    searchSymmetric();
  else
    searchRanges();
  return best;
}

GroupFit quantopt::fitGroup(const FitGroup &group, const Scheme &scheme,
                            const SearchOptions &options, const ScaleGrid &grid,
                            int64_t index) {
  return Fitter(group, scheme, options, grid, index).run();
}
