//===- CodeTables.cpp - Codes that stand for unequal steps ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The values, and each table sorted.
//
//===----------------------------------------------------------------------===//

#include "CodeTables.h"

#include <algorithm>
#include <numeric>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;

namespace {

struct TableEntry {
  float values[16];
  /// Whether the second of two equal values is in use. bitsandbytes gives
  /// what is just above 0 to the second zero of FP4; for E2M1 that is a
  /// negative zero, which nothing needs.
  bool bothZeros;
};

} // namespace

static constexpr TableEntry kTables[] = {
    // NF4
    {{-1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
      -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
      0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f,
      0.33791524171829224f, 0.44070982933044434f, 0.5626170039176941f,
      0.7229568362236023f, 1.0f},
     false},
    // FP4
    {{0.0f, 0.0625f / 12, 8.0f / 12, 1.0f, 4.0f / 12, 6.0f / 12, 2.0f / 12,
      3.0f / 12, 0.0f, -0.0625f / 12, -8.0f / 12, -1.0f, -4.0f / 12, -6.0f / 12,
      -2.0f / 12, -3.0f / 12},
     true},
    // IQ4NL
    {{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113},
     false},
    // E2M1
    {{0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6},
     false},
};

static const TableEntry &entryOf(CodeTable table) {
  return kTables[static_cast<unsigned>(table) - 1];
}

std::span<const float, 16> quantopt::tableValues(CodeTable table) {
  return entryOf(table).values;
}

static SortedTable sortTable(const TableEntry &entry) {
  SortedTable sorted;
  std::iota(sorted.codes, sorted.codes + 16, 0);
  // Insertion sort keeps equal values in the order of their codes.
  for (int i = 1; i < 16; ++i)
    for (int j = i; j > 0 && entry.values[sorted.codes[j]] <
                                 entry.values[sorted.codes[j - 1]];
         --j)
      std::swap(sorted.codes[j], sorted.codes[j - 1]);
  for (int i = 0; i < 16; ++i)
    sorted.values[i] = entry.values[sorted.codes[i]];
  for (int i = 0; i < 15; ++i)
    sorted.borders[i] = (sorted.values[i] + sorted.values[i + 1]) * 0.5f;
  for (int i = 0; i < 14; ++i)
    if (!entry.bothZeros && sorted.values[i] == sorted.values[i + 1])
      sorted.borders[i] = sorted.borders[i + 1];
  return sorted;
}

bool SortedTable::isSkewed() const {
  for (int i = 0; i < 16; ++i)
    if (values[i] != -values[15 - i])
      return true;
  return false;
}

const SortedTable *quantopt::sortedTable(CodeTable table) {
  static const SortedTable sorted[] = {
      sortTable(kTables[0]), sortTable(kTables[1]), sortTable(kTables[2]),
      sortTable(kTables[3])};
  if (table == CodeTable::Linear)
    return nullptr;
  return &sorted[static_cast<unsigned>(table) - 1];
}

QUANTOPT_CLONES void quantopt::chooseTableCodes(const SortedTable &table,
                                                float inverse,
                                                std::span<const float> values,
                                                uint8_t *codes) {
  int64_t count = values.size();
  for (int64_t i = 0; i < count; i += kLanes) {
    FloatLanes value = 0.0f;
    int64_t lanes = std::min(kLanes, count - i);
    std::memcpy(&value, values.data() + i, lanes * sizeof(float));
    IntLanes nearest;
    nearestCodes(value * inverse, table, nearest);
    ByteLanes bytes = __builtin_convertvector(nearest, ByteLanes);
    std::memcpy(codes + i, &bytes, lanes);
  }
}

void quantopt::dequantizeTable(CodeTable table, float scale,
                               std::span<const uint8_t> codes, float *out) {
  float scaled[16];
  std::span<const float, 16> values = tableValues(table);
  for (int i = 0; i < 16; ++i)
    scaled[i] = values[i] * scale;
  for (size_t i = 0; i < codes.size(); ++i)
    out[i] = scaled[codes[i]];
}
