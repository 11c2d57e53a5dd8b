//===- RowsByExpert.cpp - The rows that each expert multiplies ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/RowsByExpert.h"

#include <algorithm>
#include <cstring>
#include <numeric>

using namespace quantopt;

RowsByExpert::RowsByExpert(std::span<const int64_t> expertOf)
    : expertOf(expertOf), order(expertOf.size()) {
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::pair(expertOf[a], a) < std::pair(expertOf[b], b);
  });
}

std::span<const int64_t> RowsByExpert::rows(int64_t expert) const {
  auto begin =
      std::partition_point(order.begin(), order.end(),
                           [&](int64_t row) { return expertOf[row] < expert; });
  auto end = std::partition_point(
      begin, order.end(), [&](int64_t row) { return expertOf[row] == expert; });
  return {begin, end};
}

void quantopt::gatherRows(MatrixRef from, std::span<const int64_t> rows,
                          void *to) {
  int64_t bytes = from.cols * byteWidth(from.kind);
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(static_cast<char *>(to) + i * bytes,
                static_cast<const char *>(from.data) + rows[i] * bytes, bytes);
}

void quantopt::scatterRows(const void *from, std::span<const int64_t> rows,
                           MutableMatrixRef to) {
  int64_t bytes = to.cols * byteWidth(to.kind);
  for (size_t i = 0; i < rows.size(); ++i)
    std::memcpy(static_cast<char *>(to.data) + rows[i] * bytes,
                static_cast<const char *>(from) + i * bytes, bytes);
}
