//===- Hessian.cpp - Second moments of the inputs of a linear -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Tile by tile through a float matrix product.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Hessian.h"

#include "Blas.h"

#include <algorithm>
#include <cmath>

using namespace quantopt;

static constexpr int64_t kTile = 256;

/// As few tiles as cover k, of equal length: a short last one is slow.
static int64_t tileLength(int64_t k) {
  int64_t tiles = std::max<int64_t>(1, (k + kTile - 1) / kTile);
  int64_t length = (k + tiles - 1) / tiles;
  return std::max<int64_t>(16, (length + 15) / 16 * 16);
}

/// Columns [begin, begin + width) of a sample of k columns, every row times its
/// weight, or the root of it, in `buffer` if they are not all 1.
static MatrixView weightedColumns(const RowBlock &sample, int64_t k,
                                  int64_t begin, int64_t width, bool root,
                                  std::vector<float> &buffer) {
  const float *from = sample.data + begin;
  if (!sample.weights)
    return {from, k};
  buffer.resize(sample.rows * width);
  for (int64_t row = 0; row < sample.rows; ++row) {
    float weight = sample.weights[row];
    if (root)
      weight = std::sqrt(weight);
    for (int64_t j = 0; j < width; ++j)
      buffer[row * width + j] = from[row * k + j] * weight;
  }
  return {buffer.data(), width};
}

HessianAccumulator::HessianAccumulator(int64_t k) : k(k), sum(k * k, 0.0f) {}

void HessianAccumulator::add(std::span<const RowBlock> samples) {
  useSingleThreadedBlas();
  for (const RowBlock &sample : samples)
    numRows += sample.rows;
  int64_t length = tileLength(k), tiles = (k + length - 1) / length;
  // Tile t is (i, j) with i <= j and t = j (j + 1) / 2 + i.
#pragma omp parallel for schedule(dynamic, 1)
  for (int64_t tile = 0; tile < tiles * (tiles + 1) / 2; ++tile) {
    int64_t j = 0;
    while ((j + 1) * (j + 2) / 2 <= tile)
      ++j;
    int64_t row = (tile - j * (j + 1) / 2) * length, column = j * length;
    int64_t height = std::min(length, k - row);
    int64_t width = std::min(length, k - column);
    float *to = sum.data() + row * k + column;
    std::vector<float> buffer;
    for (const RowBlock &sample : samples) {
      if (sample.rows == 0)
        continue; // may have no data to point into
      // On the diagonal half of the products would be of no use.
      if (row == column)
        addSquare(width, sample.rows,
                  weightedColumns(sample, k, column, width, true, buffer), to,
                  k);
      else
        multiplyTransposed(
            height, width, sample.rows, 1.0f,
            weightedColumns(sample, k, row, height, false, buffer),
            {sample.data + column, k}, 1.0f, to, k);
    }
  }
}

/// Divides the upper triangle of `h` by `rows` and mirrors it.
static void finishInPlace(std::vector<float> &h, int64_t k, int64_t rows) {
  double unit = rows > 0 ? 1.0 / static_cast<double>(rows) : 0.0;
  int64_t tiles = (k + kTile - 1) / kTile;
  // By tiles, so that the mirrored writes stay in the cache.
#pragma omp parallel for schedule(dynamic, 1) collapse(2)
  for (int64_t tileRow = 0; tileRow < tiles; ++tileRow) {
    for (int64_t tileColumn = 0; tileColumn < tiles; ++tileColumn) {
      if (tileColumn < tileRow)
        continue;
      int64_t rowEnd = std::min(k, (tileRow + 1) * kTile);
      int64_t columnEnd = std::min(k, (tileColumn + 1) * kTile);
      for (int64_t i = tileRow * kTile; i < rowEnd; ++i)
        for (int64_t j = std::max(i, tileColumn * kTile); j < columnEnd; ++j) {
          float value = static_cast<float>(h[i * k + j] * unit);
          h[i * k + j] = value;
          h[j * k + i] = value;
        }
    }
  }
}

std::vector<float> HessianAccumulator::finish() const {
  std::vector<float> result = sum;
  finishInPlace(result, k, numRows);
  return result;
}

std::vector<float> HessianAccumulator::take() {
  std::vector<float> result = std::move(sum);
  finishInPlace(result, k, numRows);
  return result;
}

std::vector<float> HessianAccumulator::meanSquare() const {
  std::vector<float> result(k);
  double unit = numRows > 0 ? 1.0 / static_cast<double>(numRows) : 0.0;
  for (int64_t i = 0; i < k; ++i)
    result[i] = static_cast<float>(sum[i * k + i] * unit);
  return result;
}

void InputMoments::add(std::span<const RowBlock> samples) {
  for (const RowBlock &sample : samples) {
    numRows += sample.rows;
    for (int64_t row = 0; row < sample.rows; ++row) {
      const float *x = sample.data + row * k;
      numLive += std::any_of(x, x + k, [](float value) { return value != 0; });
    }
  }
  int64_t tiles = (k + kTile - 1) / kTile;
#pragma omp parallel for schedule(static)
  for (int64_t tile = 0; tile < tiles; ++tile) {
    int64_t begin = tile * kTile, width = std::min(kTile, k - begin);
    double *sums = squares.data() + begin;
    for (const RowBlock &sample : samples)
      for (int64_t row = 0; row < sample.rows; ++row) {
        const float *x = sample.data + row * k + begin;
        for (int64_t j = 0; j < width; ++j)
          sums[j] += static_cast<double>(x[j]) * x[j];
      }
  }
}

std::vector<float> InputMoments::meanSquares() const {
  std::vector<float> result(k, 0.0f);
  for (int64_t i = 0; numRows > 0 && i < k; ++i)
    result[i] = static_cast<float>(squares[i] / static_cast<double>(numRows));
  return result;
}

std::vector<float> quantopt::levelingWeights(const RowBlock &block, int64_t k,
                                             double exponent) {
  std::vector<float> weights(block.rows);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < block.rows; ++row) {
    double sum = 0;
    for (int64_t j = 0; j < k; ++j) {
      double value = block.data[row * k + j];
      sum += value * value;
    }
    weights[row] =
        sum > 0 ? static_cast<float>(std::pow(sum / k, -exponent)) : 0.0f;
  }
  return weights;
}
