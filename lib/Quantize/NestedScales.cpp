//===- NestedScales.cpp - Scales that are quantized themselves ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the bytes of a nested plane stand for.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/NestedScales.h"

#include <algorithm>
#include <cmath>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

/// Point `index` of `intervals` + 1 from .1 to 1, to the bit where PyTorch's
/// linspace puts it: from the nearer end, one rounding.
static float boundary(int index, int intervals) {
  double step = (1.0f - 0.1f) / static_cast<float>(intervals);
  if (index < (intervals + 1) / 2)
    return static_cast<float>(0.1f + step * index);
  return static_cast<float>(1.0 - step * (intervals - index));
}

/// Seven decades; each has twice the values of the one below, the middles of
/// equal intervals.
static ByteValues makeDynamicMap() {
  ByteValues values;
  auto next = values.begin();
  *next++ = 0.0f;
  *next++ = 1.0f; // has no negative counterpart
  const float decades[] = {1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1.0f};
  for (int decade = 0; decade < 7; ++decade) {
    int intervals = 1 << decade;
    for (int i = 0; i < intervals; ++i) {
      float middle =
          (boundary(i, intervals) + boundary(i + 1, intervals)) * 0.5f;
      *next++ = decades[decade] * middle;
      *next++ = -(decades[decade] * middle);
    }
  }
  std::sort(values.begin(), values.end());
  return values;
}

const ByteValues &quantopt::dynamicMap() {
  static const ByteValues values = makeDynamicMap();
  return values;
}

static ByteValues decodeAll(ScaleKind kind) {
  ByteValues values;
  for (uint32_t byte = 0; byte < values.size(); ++byte)
    values[byte] = decodeFloat(kind, byte);
  return values;
}

const ByteValues &quantopt::byteValues(Nesting nesting) {
  static const ByteValues small = decodeAll(ScaleKind::E4M3);
  return nesting == Nesting::Dynamic ? dynamicMap() : small;
}

float quantopt::nestedScale(Nesting nesting, float value, float scale,
                            float offset) {
  float scaled = value * scale;
  return nesting == Nesting::Dynamic ? scaled + offset : scaled;
}
