//===- RefineTest.cpp - Tests of the steps after GPTQ ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against slow coordinate descent, and against disturbed scales.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Refine.h"
#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

struct Problem {
  Problem(int64_t n, int64_t k, unsigned seed)
      : n(n), k(k), w(randomFloats(n * k, seed)),
        h(slowHessian(correlatedInputs(3 * k, k, seed + 7), 3 * k, k)),
        factor(GptqFactor::make(h, k)), damped(factor.dampedHessian(false)) {}

  int64_t n, k;
  std::vector<float> w, h;
  GptqFactor factor;
  std::vector<float> damped;

  double dampedError(const QuantizedMatrix &q, int64_t row) const {
    std::vector<float> d = dequantized(q);
    for (size_t i = 0; i < d.size(); ++i)
      d[i] -= w[i];
    return slowForm(d.data() + row * k, k, damped);
  }
};

TEST(Refine, DampedHessian) {
  Problem p(1, 9, 3);
  std::vector<float> ordered = p.factor.dampedHessian(true);
  double mean = 0;
  for (int64_t i = 0; i < 9; ++i)
    mean += p.h[i * 10] / 9.0;
  EXPECT_NEAR(p.factor.scale(), mean, 1e-6 * mean);
  for (int64_t i = 0; i < 9; ++i)
    for (int64_t j = 0; j < 9; ++j) {
      EXPECT_NEAR(p.damped[i * 9 + j],
                  p.h[i * 9 + j] / mean + (i == j ? 0.01 : 0), 1e-5);
      EXPECT_EQ(ordered[i * 9 + j],
                p.damped[p.factor.order()[i] * 9 + p.factor.order()[j]]);
    }
}

/// One sweep over a row, gradients taken anew for every column. False if a
/// value came near to the border of two codes.
bool slowSweep(const Problem &p, QuantizedMatrix &q, int64_t row) {
  for (int64_t c : p.factor.order()) {
    double gradient = 0, pivot = p.damped[c * p.k + c];
    for (int64_t j = 0; j < p.k; ++j)
      gradient += (double(slowValue(q, row, j, q.codes[row * p.k + j])) -
                   p.w[row * p.k + j]) *
                  p.damped[c * p.k + j];
    double target =
        slowValue(q, row, c, q.codes[row * p.k + c]) - gradient / pivot;
    double nearest = 1e300, second = 1e300;
    int best = 0;
    for (int code = 0; code <= q.scheme.maxCode(); ++code) {
      double distance = std::fabs(slowValue(q, row, c, code) - target);
      if (distance < nearest) {
        second = nearest;
        nearest = distance;
        best = code;
      } else if (slowValue(q, row, c, code) != slowValue(q, row, c, best)) {
        second = std::min(second, distance);
      }
    }
    if (second - nearest < 1e-3 * (second + nearest))
      return false;
    q.codes[row * p.k + c] = best;
  }
  return true;
}

TEST(Refine, SweepEqualsSlowCoordinateDescent) {
  for (const Scheme &scheme :
       allKinds(3, Granularity::Channel, 1, ScaleKind::F32))
    for (int64_t k : {1, 6, 40, 130}) {
      Problem p(20, k, 10 + k);
      if (k == 1 && scheme.zero == ZeroKind::Minimum)
        continue; // one value: any code stands for it
      QuantizedMatrix start = quantizeRoundToNearest(p.w, p.n, k, scheme, {});
      QuantizedMatrix swept = sweepCodes(start, p.w, p.factor), slow = start;
      EXPECT_EQ(swept.scales, start.scales);
      int64_t compared = 0, moved = 0;
      for (int64_t row = 0; row < p.n; ++row) {
        if (!slowSweep(p, slow, row))
          continue;
        ++compared;
        for (int64_t j = row * k; j < (row + 1) * k; ++j) {
          // Tables may hold a value twice.
          ASSERT_EQ(slowValue(slow, row, j - row * k, swept.codes[j]),
                    slowValue(slow, row, j - row * k, slow.codes[j]))
              << k << " " << j;
          moved += swept.codes[j] != start.codes[j];
        }
        EXPECT_LE(p.dampedError(swept, row),
                  p.dampedError(start, row) * (1 + 1e-5) + 1e-9);
      }
      EXPECT_GE(compared * 2, p.n);
      if (k > 1)
        EXPECT_GT(moved, 0);
    }
}

/// Solves a x = b for a symmetric positive definite `a` [k, k].
std::vector<double> solve(std::vector<double> a, std::vector<double> b) {
  int64_t k = b.size();
  for (int64_t i = 0; i < k; ++i)
    for (int64_t j = i + 1; j < k; ++j) {
      double factor = a[j * k + i] / a[i * k + i];
      for (int64_t c = i; c < k; ++c)
        a[j * k + c] -= factor * a[i * k + c];
      b[j] -= factor * b[i];
    }
  for (int64_t i = k - 1; i >= 0; --i) {
    for (int64_t c = i + 1; c < k; ++c)
      b[i] -= a[i * k + c] * b[c];
    b[i] /= a[i * k + i];
  }
  return b;
}

/// Error and codes of one group under the parameters that `q` has for it:
/// columns in the order of the solve, each rounded where it is best if the
/// later ones could be anything.
double slowRoundGroup(const Problem &p, QuantizedMatrix &q, int64_t row,
                      const std::vector<int64_t> &columns,
                      const std::vector<double> &target) {
  int64_t count = columns.size();
  std::vector<double> d(count); // value - target
  for (int64_t i = 0; i < count; ++i) {
    // The best later columns for those before: H_ll d_l = -H_le d_e.
    int64_t later = count - i;
    std::vector<double> a(later * later), b(later);
    for (int64_t r = 0; r < later; ++r) {
      for (int64_t c = 0; c < later; ++c)
        a[r * later + c] = p.damped[columns[i + r] * p.k + columns[i + c]];
      for (int64_t c = 0; c < i; ++c)
        b[r] -= p.damped[columns[i + r] * p.k + columns[c]] * d[c];
    }
    double wanted = target[i] + solve(a, b)[0];
    double nearest = 1e300;
    for (int code = 0; code <= q.scheme.maxCode(); ++code) {
      double value = slowValue(q, row, columns[i], code);
      if (std::fabs(value - wanted) < nearest) {
        nearest = std::fabs(value - wanted);
        q.codes[row * p.k + columns[i]] = code;
        d[i] = value - target[i];
      }
    }
  }
  double error = 0;
  for (int64_t i = 0; i < count; ++i)
    for (int64_t j = 0; j < count; ++j)
      error += d[i] * p.damped[columns[i] * p.k + columns[j]] * d[j];
  return error;
}

/// The sweep over the groups of one row.
void slowSweepGroups(const Problem &p, QuantizedMatrix &q, int64_t row) {
  int64_t length = q.scheme.groupLength(p.k), groups = q.scheme.numGroups(p.k);
  double middle = 1 << (q.scheme.bits - 1);
  for (int64_t group = 0; group < groups; ++group) {
    std::vector<int64_t> columns;
    for (int64_t column : p.factor.order())
      if (column / length == group)
        columns.push_back(column);
    int64_t count = columns.size();
    std::vector<double> a, gradient, target;
    double least = 0;
    for (int64_t i : columns) {
      gradient.push_back(0);
      for (int64_t j = 0; j < p.k; ++j)
        gradient.back() += (slowValue(q, row, j, q.codes[row * p.k + j]) -
                            double(p.w[row * p.k + j])) *
                           p.damped[i * p.k + j];
      for (int64_t j : columns)
        a.push_back(p.damped[i * p.k + j]);
    }
    std::vector<double> step = solve(a, gradient);
    for (int64_t i = 0; i < count; ++i) {
      target.push_back(
          slowValue(q, row, columns[i], q.codes[row * p.k + columns[i]]) -
          step[i]);
      least += step[i] * gradient[i];
    }
    const QuantizedMatrix now = q;
    int64_t index = row * groups + group;
    for (double factor : {1.0, 0.98, 1.02, 0.96, 1.04})
      for (int zeroStep : {0, -1, 1}) {
        QuantizedMatrix tried = now;
        float &scale = tried.scales[index];
        scale = static_cast<float>(scale * factor);
        if (q.scheme.zero == ZeroKind::Integer)
          tried.offsets[index] = std::clamp<float>(
              tried.offsets[index] + zeroStep, 0, q.scheme.maxCode());
        else if (q.scheme.zero == ZeroKind::Minimum)
          tried.offsets[index] += middle * (now.scales[index] - double(scale)) +
                                  zeroStep * now.scales[index] / 3.0;
        double error = slowRoundGroup(p, tried, row, columns, target);
        if (error < least * (1 - 1e-6)) {
          least = error;
          q = tried;
        }
      }
  }
}

TEST(Refine, GroupSweepEqualsSlowSearch) {
  for (const Scheme &scheme :
       allKinds(3, Granularity::Group, 8, ScaleKind::F32))
    for (int64_t k : {1, 8, 21}) {
      Problem p(20, k, 30 + k);
      QuantizedMatrix start = quantizeRoundToNearest(p.w, p.n, k, scheme, {});
      QuantizedMatrix swept = sweepGroups(start, p.w, p.factor), slow = start;
      EXPECT_EQ(verify(swept), "");
      int64_t equal = 0, better = 0;
      for (int64_t row = 0; row < p.n; ++row) {
        slowSweepGroups(p, slow, row);
        double error = p.dampedError(swept, row);
        double before = p.dampedError(start, row);
        EXPECT_LE(error, before * (1 + 1e-5) + 1e-9);
        better += error < 0.99 * before;
        bool sameCodes = true; // but for values that a table holds twice
        for (int64_t j = 0; j < k; ++j)
          sameCodes &= slowValue(start, row, j, swept.codes[row * k + j]) ==
                       slowValue(start, row, j, slow.codes[row * k + j]);
        equal += sameCodes && std::fabs(error - p.dampedError(slow, row)) <=
                                  1e-4 * error + 1e-9;
      }
      // Two choices of nearly the same error may change places.
      EXPECT_GE(equal, p.n - 2) << k;
      if (k > 1)
        EXPECT_GE(better, p.n / 2) << k;
    }
}

TEST(Refine, GroupSweepLeavesWhatIsTooLarge) {
  Problem p(4, 300, 3);
  for (Granularity granularity : {Granularity::Tensor, Granularity::Channel}) {
    Scheme scheme{4, granularity, 1, ZeroKind::Integer, ScaleKind::F16};
    QuantizedMatrix start = quantizeRoundToNearest(p.w, p.n, p.k, scheme, {});
    EXPECT_TRUE(sameBytes(sweepGroups(start, p.w, p.factor), start));
  }
}

TEST(Refine, ScalesAreAtTheMinimum) {
  for (const Scheme &scheme :
       allKinds(4, Granularity::Group, 16, ScaleKind::F32)) {
    Problem p(6, 50, 4);
    QuantizedMatrix start =
        quantizeRoundToNearest(p.w, p.n, p.k, scheme, {SearchKind::None});
    QuantizedMatrix fitted = refitScales(start, p.w, p.factor);
    EXPECT_EQ(verify(fitted), "");
    EXPECT_EQ(fitted.codes, start.codes);
    EXPECT_NE(fitted.scales, start.scales);
    if (scheme.zero == ZeroKind::Integer)
      EXPECT_EQ(fitted.offsets, start.offsets);
    for (int64_t row = 0; row < p.n; ++row) {
      double least = p.dampedError(fitted, row);
      EXPECT_LT(least, 0.999 * p.dampedError(start, row));
      for (int64_t i = row * 4; i < (row + 1) * 4; ++i)
        for (float factor : {0.99f, 1.01f}) {
          QuantizedMatrix disturbed = fitted;
          disturbed.scales[i] *= factor;
          EXPECT_GT(p.dampedError(disturbed, row), least);
          if (scheme.zero != ZeroKind::Minimum)
            continue;
          disturbed = fitted;
          disturbed.offsets[i] *= factor;
          EXPECT_GT(p.dampedError(disturbed, row), least);
        }
    }
  }
}

TEST(Refine, PaysAfterGptq) {
  Problem p(64, 160, 5);
  for (const Scheme &scheme :
       allKinds(4, Granularity::Group, 64, ScaleKind::F16)) {
    GptqOptions options;
    double before =
        quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options).objective;
    double last = before;
    for (int rounds = 1; rounds <= 2; ++rounds) {
      options.refinements = rounds;
      GptqResult result =
          quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
      EXPECT_EQ(verify(result.matrix), "");
      EXPECT_LT(result.objective, last);
      last = result.objective;
    }
    EXPECT_LT(last, 0.985 * before);
  }
}

TEST(Refine, OddShapesAndDeadColumns) {
  std::mt19937 engine(6);
  const int64_t sizes[] = {1, 2, 15, 16, 31, 64, 100, 129};
  for (int trial = 0; trial < 200; ++trial) {
    Scheme scheme = randomScheme(engine);
    int64_t n = sizes[engine() % 8], k = sizes[engine() % 8];
    std::vector<float> x = correlatedInputs(2 * k, k, trial);
    for (int64_t i = 0; i < 2 * k; ++i)
      x[i * k + k / 2] = 0;
    std::vector<float> w = randomFloats(n * k, trial);
    for (int64_t j = 0; j < std::min<int64_t>(k, 20); ++j)
      w[j] = trial % 3; // groups of zeros and of one value
    GptqFactor factor = GptqFactor::make(slowHessian(x, 2 * k, k), k);
    GptqOptions options;
    options.refinements = 2;
    options.search.fullRange = trial % 2;
    GptqResult result = quantizeGptq(w, n, k, scheme, factor, options);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(verify(result.matrix), "") << trial;
    ASSERT_LE(result.objective, result.roundToNearestObjective);
    options.refinements = 0;
    ASSERT_LE(result.objective,
              quantizeGptq(w, n, k, scheme, factor, options).objective);
  }
}

TEST(Refine, ThreadsDoNotCount) {
  Problem p(200, 130, 8);
  Scheme scheme;
  scheme.zero = ZeroKind::Minimum;
  GptqOptions options;
  options.refinements = 1;
  omp_set_num_threads(1);
  GptqResult one = quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
  for (int threads = 2; threads <= 4; ++threads) {
    omp_set_num_threads(threads);
    GptqResult other = quantizeGptq(p.w, p.n, p.k, scheme, p.factor, options);
    EXPECT_TRUE(sameBytes(one.matrix, other.matrix));
    EXPECT_EQ(one.objective, other.objective);
  }
}

TEST(Refine, NestedScalesStayOnTheirGrid) {
  Problem p(24, 96, 8);
  for (Nesting nesting : {Nesting::Dynamic, Nesting::PerTensor}) {
    Scheme scheme{4,
                  Granularity::Group,
                  16,
                  ZeroKind::Symmetric,
                  nesting == Nesting::Dynamic ? ScaleKind::F32
                                              : ScaleKind::E4M3,
                  CodeTable::E2M1,
                  nesting};
    QuantizedMatrix start = quantizeRoundToNearest(p.w, p.n, p.k, scheme, {});
    for (auto *step : {refitScales, sweepGroups}) {
      QuantizedMatrix next = step(start, p.w, p.factor);
      ASSERT_EQ(verify(next), "");
      EXPECT_NE(next.nested.bytes, start.nested.bytes);
      EXPECT_EQ(next.nested.scales, start.nested.scales);
      EXPECT_EQ(next.nested.offset, start.nested.offset);
      double before = 0, after = 0;
      for (int64_t row = 0; row < p.n; ++row) {
        before += p.dampedError(start, row);
        after += p.dampedError(next, row);
      }
      EXPECT_LT(after, 0.95 * before);
    }
  }
}

} // namespace
