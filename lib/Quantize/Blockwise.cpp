//===- Blockwise.cpp - What bitsandbytes computes -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// See Blockwise.h.
//
//===----------------------------------------------------------------------===//

#include "Blockwise.h"

#include "CodeTables.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

//===----------------------------------------------------------------------===//
// The mean as PyTorch takes it
//===----------------------------------------------------------------------===//

/// PyTorch sums vectors of 8 floats, or single ones if there are fewer, into
/// four sums by turns.
static constexpr int64_t kVector = 8, kTurns = 4;

/// Sums rows of `width` floats by a cascade of 4 levels: a level goes to the
/// next one when it holds `step` sums of its own.
static void sumRows(const float *values, int64_t rows, int64_t width,
                    float *sums) {
  constexpr int kLevels = 4;
  int64_t ceilLog2 = rows <= 2 ? 1 : std::bit_width(uint64_t(rows - 1));
  int64_t power = std::max<int64_t>(4, ceilLog2 / kLevels);
  int64_t step = int64_t(1) << power;
  float levels[kLevels][kTurns * kVector] = {};
  auto add = [&](float *to, const float *from) {
    for (int64_t i = 0; i < width; ++i)
      to[i] += from[i];
  };
  for (int64_t row = 0; row < rows; ++row) {
    add(levels[0], values + row * width);
    int64_t done = row + 1;
    if (done % step != 0)
      continue;
    for (int level = 1; level < kLevels; ++level) {
      add(levels[level], levels[level - 1]);
      std::fill_n(levels[level - 1], width, 0.0f);
      if (done & ((step - 1) << (level * power)))
        break;
    }
  }
  std::copy_n(levels[0], width, sums);
  for (int level = 1; level < kLevels; ++level)
    add(sums, levels[level]);
}

/// The mean to the bit of torch.mean on one thread (with more of them its sum
/// depends on their number, from 32768 values on).
static float meanAsPyTorch(std::span<const float> values) {
  int64_t count = values.size(), lanes = count < kVector ? 1 : kVector;
  int64_t width = kTurns * lanes, rows = count / width, vectors = count / lanes;
  float sums[kTurns * kVector];
  sumRows(values.data(), rows, width, sums);
  for (int64_t at = rows * width; at < vectors * lanes; ++at)
    sums[at % lanes] += values[at];
  for (int64_t i = lanes; i < width; ++i)
    sums[i % lanes] += sums[i];
  float total = 0;
  for (int64_t at = vectors * lanes; at < count; ++at)
    total += values[at];
  for (int64_t i = 0; i < lanes; ++i)
    total += sums[i];
  if (std::isfinite(total))
    return total / static_cast<float>(count);
  double wide = std::accumulate(values.begin(), values.end(), 0.0);
  return static_cast<float>(wide / static_cast<double>(count));
}

//===----------------------------------------------------------------------===//
// Nested scales
//===----------------------------------------------------------------------===//

/// The byte of a value in [-1, 1]: the package looks it up by the nearest of
/// 2^16 equal steps.
static uint8_t lookUp(float value) {
  constexpr int kSteps = 65535;
  value = std::clamp(value, -1.0f, 1.0f);
  double position = static_cast<double>((value + 1.0f) * 0.5f) * kSteps + 0.5;
  int step = static_cast<int>(static_cast<float>(position));
  float rounded = -1.0f + static_cast<float>(2 * step) / kSteps;
  const ByteValues &map = dynamicMap();
  int byte = 0;
  for (int width = 128; width > 0; width /= 2)
    if (float middle = 0.5f * (map[byte + width - 1] + map[byte + width]);
        middle < rounded)
      byte += width;
  return static_cast<uint8_t>(byte);
}

NestedScales quantopt::nestDynamic(std::span<const float> scales) {
  NestedScales nested;
  if (scales.empty())
    return nested;
  nested.offset = meanAsPyTorch(scales);
  nested.bytes.resize(scales.size());
  size_t length = nestedLength(Nesting::Dynamic, scales.size());
  for (size_t begin = 0; begin < scales.size(); begin += length) {
    size_t end = std::min(begin + length, scales.size());
    float most = 0;
    for (size_t i = begin; i < end; ++i)
      most = std::max(most, std::fabs(scales[i] - nested.offset));
    nested.scales.push_back(most);
    // Equal scales: whatever the byte, it counts nothing.
    for (size_t i = begin; i < end && most > 0; ++i)
      nested.bytes[i] = lookUp((scales[i] - nested.offset) * (1.0f / most));
  }
  return nested;
}

//===----------------------------------------------------------------------===//
// Codes
//===----------------------------------------------------------------------===//

bool quantopt::isBlockwise(const Scheme &scheme, int64_t k) {
  bool hasTable =
      scheme.table == CodeTable::NF4 || scheme.table == CodeTable::FP4;
  bool isFlat =
      scheme.granularity == Granularity::Flat ||
      (scheme.granularity == Granularity::Group && k % scheme.groupSize == 0);
  return hasTable && isFlat && scheme.scaleType == ScaleKind::F32 &&
         scheme.nesting != Nesting::PerTensor;
}

/// Codes of one block; returns its absolute maximum. A block that is not whole
/// is divided by that, a whole one multiplied with its inverse.
static float quantizeBlock(std::span<const float> values, bool isWhole,
                           const SortedTable &table, uint8_t *codes) {
  constexpr float kLeast = 1e-38f;
  float most = 0;
  for (float value : values)
    most = std::max(most, std::fabs(value));
  if (isWhole) {
    chooseTableCodes(table, 1.0f / std::max(most, kLeast), values, codes);
    return most;
  }
  most = std::max(most, kLeast);
  std::vector<float> divided(values.begin(), values.end());
  for (float &value : divided)
    value /= most;
  chooseTableCodes(table, 1.0f, divided, codes);
  return most;
}

QuantizedMatrix quantopt::quantizeBlockwise(std::span<const float> w, int64_t n,
                                            int64_t k, const Scheme &scheme) {
  const SortedTable &table = *sortedTable(scheme.table);
  QuantizedMatrix result{scheme, n, k, {}, {}, {}};
  int64_t length = scheme.groupSize, count = n * k;
  result.codes.resize(count);
  result.scales.resize((count + length - 1) / length);
#pragma omp parallel for schedule(static)
  for (int64_t begin = 0; begin < count; begin += length) {
    int64_t size = std::min(length, count - begin);
    result.scales[begin / length] =
        quantizeBlock(w.subspan(begin, size), size == length, table,
                      result.codes.data() + begin);
  }
  if (scheme.nesting == Nesting::None)
    return result;
  result.nested = nestDynamic(result.scales);
  const NestedScales &nested = result.nested;
  for (size_t i = 0; i < result.scales.size(); ++i)
    result.scales[i] =
        nestedScale(Nesting::Dynamic, dynamicMap()[nested.bytes[i]],
                    nested.scales[i / nestedLength(Nesting::Dynamic, count)],
                    nested.offset);
  return result;
}
