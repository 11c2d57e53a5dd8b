//===- Gptq.h - Quantization against the Hessian of the inputs --*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// GPTQ (Frantar et al., 2022): quantize a weight matrix column by column, each
// time moving the rounding error to the columns not yet quantized, so that the
// squared error of the output rather than of the weights becomes small.
//
// Group parameters are fixed on the original weights beforehand (static
// groups), so that the order of columns leaves no trace in the result: there is
// no g_idx.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_GPTQ_H
#define QUANTOPT_QUANTIZE_GPTQ_H

#include "quantopt/Quantize/Search.h"

#include <memory>

namespace quantopt {

/// The order in which GPTQ takes the columns.
enum class ActOrder : uint8_t {
  None,   ///< as they stand
  Static, ///< by falling diagonal of H
  Gar,    ///< whole groups by their largest diagonal, inside a group by falling
          ///< diagonal
};

/// A damping (GptqFactorOptions::damp) for H from `tokens` rows of `k` inputs:
/// k / (2 tokens), at most 1. H of few rows takes noise for correlation, and
/// more so the nearer their number is to k.
double dampForTokens(int64_t k, int64_t tokens);

struct GptqFactorOptions {
  /// Added to the diagonal of H, in units of its mean. If H + damp is not
  /// safely positive definite, damp rises by .01, .02, .04, ... up to 1.
  double damp = 0.01;
  ActOrder order = ActOrder::Static;
  /// ActOrder::Gar only: columns per group (Scheme::groupLength).
  int64_t groupLength = 0;

  bool operator==(const GptqFactorOptions &) const = default;
};

/// H in the form that GPTQ needs, made once and shared by all linears that read
/// the same input.
///
/// A column whose diagonal of H is 0 is dead: no sample ever used it. It gets
/// H_dd = 1, and its weights count as 0. With J the reversal of indices and
/// J (H + damp) J = L L^T (fp64, LAPACK), U = J L^-1 J is upper triangular and
/// (H + damp)^-1 = U^T U; the inverse itself is never formed.
class GptqFactor {
public:
  /// From `hessian` [k, k], symmetric (as HessianAccumulator gives it). Check
  /// error() and fallback() afterwards; copies share their data.
  static GptqFactor make(std::vector<float> hessian, int64_t k,
                         const GptqFactorOptions &options = {});

  /// Not empty if H cannot be used at all: it holds a NaN or an infinity, a
  /// negative diagonal, or is of the wrong size.
  const std::string &error() const { return data->error; }
  /// Not empty if no damping made H positive definite: GPTQ then rounds to
  /// nearest, and its result carries this text.
  const std::string &fallback() const { return data->fallback; }

  int64_t size() const { return data->k; }
  /// Damping in use, in units of the mean diagonal.
  double damp() const { return data->damp; }
  /// Cholesky factorisations tried; 1 if the damping asked for was enough.
  int attempts() const { return data->attempts; }
  int64_t deadColumns() const { return data->deadColumns; }
  /// H as given, undamped, [k, k].
  std::span<const float> hessian() const { return data->hessian; }
  /// Its diagonal, [k]; 0 for dead columns.
  std::span<const float> diagonal() const { return data->diagonal; }
  /// What an error of a column weighs in a search for group parameters, [k]: 0
  /// for dead columns, diagonal() after a fallback, else p^(1/4) d^(3/4) with
  /// d the diagonal of H and p_i = 1 / U_ii^2 the part of it that later columns
  /// cannot make good. GPTQ's own error is sum p_i e_i^2; the share of d keeps
  /// the noise of little data out of it.
  std::span<const float> importance() const { return data->importance; }
  /// order()[i] is the column taken as the i-th.
  std::span<const int64_t> order() const { return data->order; }
  /// H / scale() with the damping on its diagonal and dead columns as in the
  /// identity, [k, k]: in the order of order() if `ordered`, else as they
  /// stand.
  std::vector<float> dampedHessian(bool ordered) const;
  /// U [k, k] row-major in the order of order(), lower triangle 0. It belongs
  /// to H divided by scale().
  std::span<const float> upper() const { return data->upper; }
  /// What H was divided by before it was factorised (its mean diagonal).
  double scale() const { return data->scale; }

private:
  struct Data {
    std::string error, fallback;
    int64_t k = 0, deadColumns = 0;
    double damp = 0, scale = 1;
    int attempts = 0;
    std::vector<float> hessian, diagonal, importance, upper;
    std::vector<int64_t> order;
  };
  std::shared_ptr<const Data> data;
};

struct GptqOptions {
  SearchOptions search;
  /// Columns quantized before the rest is updated by one matrix product.
  int64_t blockSize = 128;
  /// Keep, per row, the round-to-nearest codes where their error is smaller
  /// (possible where damping or rounding outweighs). With it the objective is
  /// never above that of round-to-nearest.
  bool keepBetter = true;
  /// Rounds of sweepGroups, refitScales and sweepCodes (Refine.h) after the
  /// solve. 2 is where gains fade.
  int refinements = 0;
};

struct GptqResult {
  /// Not empty if nothing was quantized: a bad scheme, size or factor, or a
  /// weight that is not finite ("weight is nan at row 3 column 7").
  std::string error;
  QuantizedMatrix matrix;
  double damp = 0;         ///< as GptqFactor::damp
  int dampAttempts = 0;    ///< as GptqFactor::attempts
  int64_t deadColumns = 0; ///< columns whose weights were taken as 0
  /// Not empty if the codes are round-to-nearest because GPTQ could not run.
  std::string fallback;
  /// Rows where round-to-nearest was better and was kept.
  int64_t roundToNearestRows = 0;
  /// Whether round-to-nearest was kept for the whole matrix.
  bool keptRoundToNearest = false;
  /// tr(D H D^T) of the result, of plain round-to-nearest without search, and
  /// tr(W H W^T), all with the undamped H.
  double objective = 0, roundToNearestObjective = 0, reference = 0;

  /// ||(Q - W) X||^2 / ||W X||^2; 0 if the reference is 0.
  double relativeError() const {
    return reference > 0 ? objective / reference : 0;
  }
  /// The same of plain round-to-nearest.
  double roundToNearestRelativeError() const {
    return reference > 0 ? roundToNearestObjective / reference : 0;
  }
};

/// `w` [n, k] with the columns that no sample used set to 0.
std::vector<float> clearDeadColumns(std::span<const float> w, int64_t n,
                                    int64_t k, const GptqFactor &factor);

/// Quantizes `w` [n, k], row-major, against `factor`. Granularity::Flat is
/// refused. Rows are worked on in
/// fixed blocks shared out to OpenMP threads; the result is the same for any
/// number of them.
GptqResult quantizeGptq(std::span<const float> w, int64_t n, int64_t k,
                        const Scheme &scheme, const GptqFactor &factor,
                        const GptqOptions &options = {});

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_GPTQ_H
