//===- AsymmetricTarget.h - Weights that make up for drift ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// In a quantized model a linear W gets inputs xq that differ from those of the
// float model, xf; and where its result is added to a residual h, that has
// drifted as well. What is wanted of it is W xf + hf - hq. The weight that
// comes nearest to that, given xq, is
//
//   W* = W + (W D + R) (H + ridge)^-1,
//   H = E[xq xq^T], D = E[(xf - xq) xq^T], R = E[(hf - hq) xq^T],
//
// and for any Q, ||Q xq - (W xf + hf - hq)||^2 is tr((Q - W*) H (Q - W*)^T) up
// to a constant and the ridge. So W* is quantized in place of W.
//
// On few samples W* fits their noise as well. How much of the step is kept is
// therefore judged on samples that had no part in it: with the step d of the
// first half of them, the second half asks for the strength s that minimises
// ||s d xq - (W (xf - xq) + hf - hq)||^2. Noise falls with the number of
// samples; s is carried over to all of them by that rule.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_ASYMMETRICTARGET_H
#define QUANTOPT_QUANTIZE_ASYMMETRICTARGET_H

#include "quantopt/Quantize/Hessian.h"

#include <string>

namespace quantopt {

/// A value in the float model and in the quantized one, sample by sample.
struct StreamRows {
  std::span<const RowBlock> floats, quantized;
};

/// How much of the step from W to W* is taken.
enum class AsymmetricStrength : uint8_t {
  Whole,
  Judged, ///< as held-out samples say; none with fewer than two samples
};

/// One of the linears that read the same input.
struct TargetLinear {
  std::span<const float> w; ///< W [n, k]; outlives the targets
  int64_t n = 0;
  /// What its result is added to, [rows, n]; without samples if nothing.
  StreamRows residual;
  AsymmetricStrength strength = AsymmetricStrength::Judged;
};

/// ||q - f||^2 / ||f||^2 over all rows of `columns`; 0 if q is f. The same for
/// any number of OpenMP threads.
double relativeDrift(const StreamRows &values, int64_t columns);

/// Sums E[(f - q) x^T] in f32, tile by tile.
class DriftAccumulator {
public:
  /// For values of m columns and inputs of k.
  DriftAccumulator(int64_t m, int64_t k);

  /// Adds samples: `values` of both streams and the quantized stream's
  /// `inputs`, all of the same rows, which count as the weights of `inputs`
  /// say. The same for any number of OpenMP threads.
  void add(const StreamRows &values, std::span<const RowBlock> inputs);

  /// The mean over all rows, [m, k].
  std::vector<float> finish() const;

private:
  int64_t m, k;
  int64_t numRows = 0;
  std::vector<float> sum;
};

/// The weights to quantize in place of those of some linears that read the same
/// input. Sums are taken in f32 over fixed tiles, the solve is f64 (LAPACK);
/// the result is the same for any number of OpenMP threads.
class AsymmetricTargets {
public:
  /// Added to the diagonal of H, in units of its mean.
  static constexpr double kRidge = 0.01;
  /// Rows of W that a strength is judged by, evenly spread.
  static constexpr int64_t kJudgedRows = 128;

  /// From `inputs` [rows, k] in both streams; rows count as the weights of the
  /// quantized ones say. Check error() afterwards.
  AsymmetricTargets(const StreamRows &inputs, int64_t k,
                    std::span<const TargetLinear> linears);

  /// Not empty if an input or a residual is not finite.
  const std::string &error() const { return errorText; }

  /// H, as HessianAccumulator::take gives it. Once.
  std::vector<float> takeHessian() { return std::move(hessian); }

  /// How much of the step linear `index` takes, 0 to 1. 0 if H + ridge is not
  /// positive definite.
  double strength(size_t index) const { return linears[index].strength; }

  /// W + strength (W* - W) of linear `index`, [n, k].
  std::vector<float> weights(size_t index) const;

private:
  struct Linear {
    TargetLinear given;
    std::vector<float> residualDrift; ///< R [n, k]; empty if 0
    double strength = 0;
  };
  class Judge;

  int64_t k;
  std::vector<Linear> linears;
  std::vector<float> hessian, drift; ///< H and D, [k, k]
  std::vector<double> factor; ///< of H + ridge; empty if nobody takes a step
  std::string errorText;
};

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_ASYMMETRICTARGET_H
