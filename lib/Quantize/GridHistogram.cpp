//===- GridHistogram.cpp - Weights over their grid ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/GridHistogram.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace quantopt {

static std::vector<uint8_t> allCodes(const Scheme &scheme) {
  std::vector<uint8_t> codes(scheme.maxCode() + 1);
  std::iota(codes.begin(), codes.end(), 0);
  return codes;
}

namespace {
/// Counts into a histogram whose range is set.
class Counter {
public:
  explicit Counter(Histogram &histogram)
      : counts(histogram.counts), from(histogram.from),
        last(histogram.counts.size() - 1) {
    double width = histogram.to - histogram.from;
    perUnit = width > 0 ? histogram.counts.size() / width : 0;
  }
  void add(double value) {
    double bin = std::clamp((value - from) * perUnit, 0.0, last);
    ++counts[static_cast<size_t>(bin)];
  }

private:
  std::vector<int64_t> &counts;
  double from, last, perUnit;
};
} // namespace

static void countAbsolute(std::span<const float> w, int64_t bins,
                          GridHistogram &result) {
  double sum = 0, squares = 0;
  for (float value : w) {
    sum += value;
    squares += static_cast<double>(value) * value;
  }
  double mean = sum / w.size();
  auto [low, high] = std::minmax_element(w.begin(), w.end());
  result.minimum = *low;
  result.maximum = *high;
  result.deviation = std::sqrt(std::max(0.0, squares / w.size() - mean * mean));
  result.absolute.from = std::max(result.minimum, mean - 6 * result.deviation);
  result.absolute.to = std::min(result.maximum, mean + 6 * result.deviation);
  result.absolute.counts.resize(bins);
  Counter counter(result.absolute);
  for (float value : w)
    counter.add(value);
}

/// The grid of the group whose scale is the median of all magnitudes.
static std::vector<float> typicalGrid(const QuantizedMatrix &matrix) {
  std::vector<size_t> order(matrix.scales.size());
  std::iota(order.begin(), order.end(), 0);
  auto median = order.begin() + (order.size() - 1) / 2;
  std::nth_element(order.begin(), median, order.end(), [&](size_t a, size_t b) {
    return std::abs(matrix.scales[a]) < std::abs(matrix.scales[b]);
  });
  std::vector<uint8_t> codes = allCodes(matrix.scheme);
  std::vector<float> grid(codes.size());
  dequantizeGroup(matrix.scheme, matrix.scales[*median],
                  matrix.offsets.empty() ? 0 : matrix.offsets[*median], codes,
                  grid.data());
  return grid;
}

/// Sets up `result.unitGrid` and what is counted on it. Returns the codes of
/// its lowest and its highest value.
static std::array<uint8_t, 2> setUpUnits(const Scheme &scheme, int64_t bins,
                                         GridHistogram &result) {
  std::vector<uint8_t> codes = allCodes(scheme);
  std::vector<float> &grid = result.unitGrid;
  grid.resize(codes.size());
  dequantizeGroup(scheme, /*scale=*/1, /*offset=*/0, codes, grid.data());
  auto [low, high] = std::minmax_element(grid.begin(), grid.end());
  double margin = .5 * (*high - *low) / scheme.maxCode();
  result.units = {*low - margin, *high + margin, std::vector<int64_t>(bins)};
  result.codeCounts.resize(codes.size());
  return {static_cast<uint8_t>(low - grid.begin()),
          static_cast<uint8_t>(high - grid.begin())};
}

GridHistogram gridHistogram(std::span<const float> w,
                            const QuantizedMatrix &matrix, int64_t bins) {
  GridHistogram result;
  countAbsolute(w, bins, result);
  result.typicalGrid = typicalGrid(matrix);
  const Scheme &scheme = matrix.scheme;
  std::array<uint8_t, 2> ends = setUpUnits(scheme, bins, result);
  double unitLow = result.unitGrid[ends[0]];
  double unitRange = result.unitGrid[ends[1]] - unitLow;

  Counter counter(result.units);
  for (int64_t row = 0; row < matrix.n; ++row) {
    for (int64_t begin = 0, end; begin < matrix.k; begin = end) {
      end = scheme.groupEnd(row, begin, matrix.k);
      // The ends of this group's grid, in the order of the codes: with a
      // negative scale `low` is above `high`, and the map below turns it back.
      int64_t at = scheme.scaleIndex(row, begin, matrix.k);
      float offset = matrix.offsets.empty() ? 0 : matrix.offsets[at];
      float values[2];
      dequantizeGroup(scheme, matrix.scales[at], offset, ends, values);
      double low = values[0], range = double(values[1]) - low;
      if (range == 0)
        continue;
      double perUnit = unitRange / range;
      for (int64_t i = row * matrix.k + begin; i < row * matrix.k + end; ++i) {
        double value = unitLow + (w[i] - low) * perUnit;
        counter.add(value);
        result.beyond += value < result.units.from || value > result.units.to;
        ++result.codeCounts[matrix.codes[i]];
      }
    }
  }
  return result;
}

} // namespace quantopt
