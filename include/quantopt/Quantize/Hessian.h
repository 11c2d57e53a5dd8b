//===- Hessian.h - Second moments of the inputs of a linear -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// H = X^T X / rows, the Hessian (up to a factor) of the squared output error of
// a linear layer, summed over calibration samples.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_HESSIAN_H
#define QUANTOPT_QUANTIZE_HESSIAN_H

#include <cstdint>
#include <span>
#include <vector>

namespace quantopt {

/// One calibration sample's inputs of a linear: `rows` x k floats, row-major.
struct RowBlock {
  const float *data = nullptr;
  int64_t rows = 0;
  /// How much each row counts, [rows]; null: all the same, 1.
  const float *weights = nullptr;
};

/// Sums X^T X in f32 over blocks of rows, each row times its weight.
///
/// The upper triangle is cut into fixed tiles of at most 256 x 256. Tiles are
/// shared out to OpenMP threads, and each walks all samples in the order given:
/// the result is the same for any number of threads.
class HessianAccumulator {
public:
  explicit HessianAccumulator(int64_t k);

  /// Adds `samples`, each of k columns.
  void add(std::span<const RowBlock> samples);

  /// Columns.
  int64_t size() const { return k; }
  /// Rows added so far.
  int64_t rows() const { return numRows; }

  /// H = X^T diag(weights) X / rows, [k, k], symmetric, both triangles filled;
  /// zero if no row was added. The accumulator stays usable.
  std::vector<float> finish() const;

  /// The same, handing the memory of the sum over (half the peak). Once: the
  /// accumulator is of no use afterwards.
  std::vector<float> take();

  /// The diagonal of H: the mean square of each input column, [k].
  std::vector<float> meanSquare() const;

private:
  int64_t k;
  int64_t numRows = 0;
  std::vector<float> sum; // [k, k], the upper triangle holds the sum.
};

/// Sums over the inputs of a linear, of `k` columns, in f64. The same for any
/// number of threads.
class InputMoments {
public:
  explicit InputMoments(int64_t k) : k(k), squares(k, 0.0) {}

  void add(std::span<const RowBlock> samples);

  /// Rows that are not all zero.
  int64_t liveRows() const { return numLive; }
  /// The mean square of each column over all rows, [k]; 0 if there is no row.
  std::vector<float> meanSquares() const;

private:
  int64_t k, numRows = 0, numLive = 0;
  std::vector<double> squares; ///< [k]
};

/// Weights for the rows of `block` of k columns that level their sizes: each
/// the mean square of its row to the power -`exponent`, 0 for a row of zeros.
/// With 0 every row counts with its square, as its output error does; with 1
/// all rows count the same. Where a model has tokens of extreme size (attention
/// sinks), these rule H though little depends on their error, which the norm
/// that follows divides by that size again.
std::vector<float> levelingWeights(const RowBlock &block, int64_t k,
                                   double exponent);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_HESSIAN_H
