//===- RowBlock.cpp - Rows as columns -------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// See RowBlock.h.
//
//===----------------------------------------------------------------------===//

#include "RowBlock.h"

#include <algorithm>

using namespace quantopt;

void RowsAsColumns::begin(int64_t block, int64_t n) {
  first = block * kRowBlock;
  rows = std::min(kRowBlock, n - first);
  padded = roundUpToLanes(rows);
}

void RowsAsColumns::loadGroups(const Scheme &scheme,
                               std::span<const float> scalePlane,
                               std::span<const float> offsetPlane, int64_t k) {
  int64_t groups = scheme.numGroups(k);
  bool shared = scheme.granularity == Granularity::Tensor;
  float middle = static_cast<float>(int64_t(1) << (scheme.bits - 1));
  scales.assign(groups * kRowBlock, 0.0f);
  inverses.assign(groups * kRowBlock, 0.0f);
  offsets.assign(groups * kRowBlock, 0.0f);
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      int64_t from = (shared ? 0 : (first + row) * groups) + group;
      int64_t to = group * kRowBlock + row;
      float scale = scalePlane[from];
      scales[to] = scale;
      inverses[to] = scale == 0 ? 0.0f : 1.0f / scale;
      offsets[to] =
          scheme.zero == ZeroKind::Symmetric ? middle : offsetPlane[from];
    }
  }
}

GroupRows RowsAsColumns::groupOf(const Scheme &scheme, int64_t column,
                                 int64_t k) const {
  int64_t at = column / scheme.groupLength(k) * kRowBlock;
  return {scales.data() + at, inverses.data() + at, offsets.data() + at};
}

/// A vector of rows at a time: writes fill whole cache lines.
template <typename T>
static void gatherRows(std::vector<T> &to, const T *plane, int64_t rows,
                       int64_t padded, std::span<const int64_t> order) {
  int64_t k = order.size();
  to.resize(k * padded);
  for (int64_t begin = 0; begin < padded; begin += kLanes) {
    int64_t count = std::min(kLanes, rows - begin);
    for (int64_t i = 0; i < k; ++i) {
      T *target = to.data() + i * padded + begin;
      const T *source = plane + begin * k + order[i];
      for (int64_t row = 0; row < kLanes; ++row)
        target[row] = row < count ? source[row * k] : T(0);
    }
  }
}

void RowsAsColumns::gather(std::vector<float> &to, const float *w,
                           std::span<const int64_t> order) const {
  gatherRows<float>(to, w + first * order.size(), rows, padded, order);
}

void RowsAsColumns::gather(std::vector<uint8_t> &to, const uint8_t *plane,
                           std::span<const int64_t> order) const {
  gatherRows<uint8_t>(to, plane + first * order.size(), rows, padded, order);
}

void RowsAsColumns::gatherValues(std::vector<float> &to,
                                 const QuantizedMatrix &matrix,
                                 std::span<const int64_t> order) const {
  std::vector<float> plain(rows * matrix.k);
  dequantizeRows(matrix, first, first + rows, plain);
  gatherRows<float>(to, plain.data(), rows, padded, order);
}

void RowsAsColumns::scatterCodes(uint8_t *plane,
                                 std::span<const int64_t> order) const {
  int64_t k = order.size();
  for (int64_t begin = 0; begin < rows; begin += kLanes) {
    int64_t count = std::min(kLanes, rows - begin);
    for (int64_t i = 0; i < k; ++i) {
      const uint8_t *source = codes.data() + i * padded + begin;
      uint8_t *target = plane + (first + begin) * k + order[i];
      for (int64_t row = 0; row < count; ++row)
        target[row * k] = source[row];
    }
  }
}
