//===- ScaleGrid.cpp - The values that scales can take --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rounding of scales, on one level and on two.
//
//===----------------------------------------------------------------------===//

#include "ScaleGrid.h"

#include "Blockwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

/// The smallest scale above 0: its inverse must be finite.
static float smallestScale(ScaleKind kind) {
  switch (kind) {
  case ScaleKind::F16:
    return 0x1p-24f;
  case ScaleKind::E4M3:
    return 0x1p-9f;
  case ScaleKind::E8M0:
    return 0x1p-127f;
  case ScaleKind::BF16:
  case ScaleKind::F32:
    return std::numeric_limits<float>::min();
  }
  return 0;
}

ScaleGrid::ScaleGrid(const Scheme &scheme, const NestedScales &nested)
    : kind(scheme.scaleType), nesting(scheme.nesting), scales(nested.scales),
      offset(nested.offset) {}

ScaleGrid::ScaleGrid(const Scheme &scheme, std::span<const float> plane)
    : kind(scheme.scaleType), nesting(scheme.nesting) {
  if (nesting == Nesting::Dynamic) {
    NestedScales nested = nestDynamic(plane);
    scales = std::move(nested.scales);
    offset = nested.offset;
  } else if (nesting == Nesting::PerTensor && !plane.empty()) {
    // The largest scale gets the largest value.
    float most = *std::max_element(plane.begin(), plane.end());
    float largest = roundTo(kind, std::numeric_limits<float>::max());
    scales.push_back(most > 0 ? std::max(most / largest, 0x1p-100f) : 1.0f);
  }
}

NestedScales ScaleGrid::level(int64_t count) const {
  if (nesting == Nesting::None)
    return {};
  return {std::vector<uint8_t>(count), scales, offset};
}

/// The nearest value of the same sign.
StoredScale ScaleGrid::roundDynamic(int64_t index, float scale) const {
  const ByteValues &map = dynamicMap();
  float a = scales[index / nestedLength(nesting, 0)];
  auto valueOf = [&](int byte) {
    return nestedScale(nesting, map[byte], a, offset);
  };
  // The first byte whose value is not below `scale`.
  int byte = 0;
  for (int width = 128; width > 0; width /= 2)
    if (valueOf(byte + width - 1) < scale)
      byte += width;
  if (byte > 0) {
    float below = valueOf(byte - 1), above = valueOf(byte);
    bool isUsable = scale <= 0 || below >= smallestScale(kind);
    if (isUsable && scale - below <= above - scale)
      --byte;
  }
  return {valueOf(byte), static_cast<uint8_t>(byte)};
}

StoredScale ScaleGrid::round(int64_t index, double scale) const {
  constexpr double kMost = 0x1p112;
  float bounded = static_cast<float>(std::clamp(scale, -kMost, kMost));
  if (nesting == Nesting::Dynamic)
    return roundDynamic(index, bounded);
  float unit = nesting == Nesting::PerTensor ? scales[0] : 1.0f;
  float rounded = roundTo(kind, std::fabs(bounded) / unit);
  if (scale != 0)
    rounded = std::max(rounded, smallestScale(kind));
  StoredScale stored;
  if (bitWidth(kind) == 8)
    stored.byte = static_cast<uint8_t>(encodeFloat(kind, rounded));
  stored.value = isSigned(kind) && scale < 0 ? -rounded * unit : rounded * unit;
  return stored;
}
