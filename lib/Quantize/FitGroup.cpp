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
#include <limits>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

namespace {

/// The search in one group. `center` is 0 but for ZeroKind::Minimum.
class Fitter {
public:
  Fitter(const FitGroup &group, const Scheme &scheme,
         const SearchOptions &options)
      : group(group), scheme(scheme), options(options),
        largest(static_cast<float>(scheme.maxCode())),
        middle(static_cast<float>(int64_t(1) << (scheme.bits - 1))) {}

  ScaleAndOffset run();

private:
  bool isMinimum() const { return scheme.zero == ZeroKind::Minimum; }
  float roundScale(double scale) const {
    return quantopt::roundScale(scheme.scaleType, scale);
  }
  ScaleAndOffset fromRange(double low, double high) const;
  ScaleAndOffset fromExtremes() const;
  bool refit(ScaleAndOffset &candidate) const;
  bool refitScale(ScaleAndOffset &candidate) const;
  bool refitScaleAndMinimum(ScaleAndOffset &candidate) const;
  double error(const ScaleAndOffset &candidate) const;
  CodeMap codeMap(const ScaleAndOffset &candidate) const;
  void consider(ScaleAndOffset candidate);
  void searchSymmetric();
  void searchRanges();

  const FitGroup &group;
  const Scheme &scheme;
  const SearchOptions &options;
  float largest, middle;
  ScaleAndOffset best;
  double bestError = 0;
};

} // namespace

static constexpr int kLeastSquaresSteps = 13;

/// .7 to 1.1; 1 is among them.
static double leastSquaresFactor(int step) { return 0.7 + step * (0.4 / 12); }

static constexpr double kGridFactors[] = {0.75, 0.825, 0.9, 0.975, 1.05};

float quantopt::roundScale(FloatKind kind, double scale) {
  if (scale == 0)
    return 0;
  constexpr float kMost = 0x1p112f;
  float smallest =
      kind == FloatKind::F16 ? 0x1p-24f : std::numeric_limits<float>::min();
  double bounded = std::min<double>(std::fabs(scale), kMost);
  float rounded = roundTo(kind, static_cast<float>(bounded));
  return std::copysign(std::max(rounded, smallest), static_cast<float>(scale));
}

/// Spreads the codes over [low, high].
ScaleAndOffset Fitter::fromRange(double low, double high) const {
  ScaleAndOffset result;
  result.scale = roundScale((high - low) / largest);
  if (isMinimum()) {
    // Of equal values the minimum alone is the value.
    result.offset = roundTo(scheme.scaleType, static_cast<float>(low));
  } else if (result.scale != 0) {
    double zero = std::rint(-low / result.scale);
    result.offset = static_cast<float>(std::clamp<double>(zero, 0, largest));
  }
  return result;
}

ScaleAndOffset Fitter::fromExtremes() const {
  if (scheme.zero != ZeroKind::Symmetric) {
    if (isMinimum())
      return fromRange(group.low, group.high);
    return fromRange(std::min(group.low, 0.0f), std::max(group.high, 0.0f));
  }
  bool negative = -group.low >= group.high;
  double signedMost = negative ? group.low : group.high;
  if (options.fullRange)
    return {roundScale(-signedMost / middle), 0};
  return {roundScale(2 * std::fabs(signedMost) / largest), 0};
}

CodeMap Fitter::codeMap(const ScaleAndOffset &candidate) const {
  float inverse = 1.0f / candidate.scale;
  if (isMinimum()) {
    float minimum = static_cast<float>(static_cast<double>(candidate.offset) -
                                       group.center);
    return {inverse, -(minimum * inverse), largest};
  }
  bool symmetric = scheme.zero == ZeroKind::Symmetric;
  return {inverse, symmetric ? middle : candidate.offset, largest};
}

/// The best scale for the codes that `candidate` gives.
bool Fitter::refitScale(ScaleAndOffset &candidate) const {
  CodeMap map = codeMap(candidate);
  CodeSums sums = sumCodes(group, map, map.offset);
  if (!(sums.square > 0))
    return false;
  double scale = sums.product / sums.square;
  bool anySign = scheme.zero == ZeroKind::Symmetric && options.fullRange;
  if (!(anySign ? scale != 0 : scale > 0))
    return false;
  candidate.scale = roundScale(scale);
  return true;
}

/// The best scale, and with it rounded the best minimum. The codes are counted
/// from their middle, where the sums cancel least.
bool Fitter::refitScaleAndMinimum(ScaleAndOffset &candidate) const {
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
  double base = (group.sumWeighted - candidate.scale * sums.code) / weight;
  double minimum =
      base + group.center - static_cast<double>(middle) * candidate.scale;
  candidate.offset = roundTo(scheme.scaleType, static_cast<float>(minimum));
  return true;
}

bool Fitter::refit(ScaleAndOffset &candidate) const {
  return isMinimum() ? refitScaleAndMinimum(candidate) : refitScale(candidate);
}

double Fitter::error(const ScaleAndOffset &candidate) const {
  CodeMap map = codeMap(candidate);
  if (!isMinimum())
    return sumErrors(group, map, map.offset, candidate.scale, 0);
  double base = static_cast<double>(candidate.offset) - group.center +
                static_cast<double>(middle) * candidate.scale;
  return sumErrors(group, map, middle, candidate.scale,
                   static_cast<float>(base));
}

void Fitter::consider(ScaleAndOffset candidate) {
  if (candidate.scale == 0 || !refit(candidate))
    return;
  double candidateError = error(candidate);
  if (!(candidateError < bestError))
    return;
  best = candidate;
  bestError = candidateError;
}

void Fitter::searchSymmetric() {
  double most = std::max(-group.low, group.high);
  double unit = 2 * most / largest;
  for (int step = 0; step < kLeastSquaresSteps; ++step) {
    double scale = unit * leastSquaresFactor(step);
    consider({roundScale(scale), 0});
    if (options.fullRange)
      consider({roundScale(-scale), 0});
  }
}

void Fitter::searchRanges() {
  double low = group.low, high = group.high;
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

ScaleAndOffset Fitter::run() {
  best = fromExtremes();
  if (options.kind == SearchKind::None || best.scale == 0)
    return best;
  bestError = error(best);
  if (scheme.zero == ZeroKind::Symmetric)
    searchSymmetric();
  else
    searchRanges();
  return best;
}

ScaleAndOffset quantopt::fitGroup(const FitGroup &group, const Scheme &scheme,
                                  const SearchOptions &options) {
  return Fitter(group, scheme, options).run();
}
