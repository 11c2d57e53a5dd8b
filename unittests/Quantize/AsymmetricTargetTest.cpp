//===- AsymmetricTargetTest.cpp - Tests of weights against drift ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Against sums, a solve and held-out errors in f64, straight from the rows.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/AsymmetricTarget.h"
#include "TestData.h"

#include <gtest/gtest.h>

#include <limits>
#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

using Rows = std::vector<std::vector<float>>; // [samples][rows * columns]

std::vector<RowBlock> blocksOf(const Rows &rows, int64_t columns) {
  std::vector<RowBlock> blocks;
  for (const std::vector<float> &sample : rows)
    blocks.push_back(
        {sample.data(), static_cast<int64_t>(sample.size()) / columns});
  return blocks;
}

/// Inputs of a linear and the residual that its result is added to, in both
/// streams. What the quantized stream got wrong follows in part from what it
/// has, and is noise else.
struct Streams {
  int64_t k, n;
  Rows inputs, floatInputs, residuals, floatResiduals;
  std::vector<float> w;
  std::vector<std::vector<float>> weights; // of the rows

  Streams(int64_t k, int64_t n, std::vector<int64_t> lengths, unsigned seed,
          float noise = 0.05f, float drift = 0.2f)
      : k(k), n(n), w(randomFloats(n * k, seed)) {
    std::vector<float> mixInputs = randomFloats(k * k, seed + 1),
                       mixResiduals = randomFloats(n * k, seed + 2);
    int64_t total = 0;
    for (int64_t rows : lengths)
      total += rows;
    // One draw, so that all samples are of one kind.
    std::vector<float> all = correlatedInputs(total, k, seed + 3);
    for (int64_t rows : lengths) {
      seed += 10;
      std::vector<float> x(all.end() - total * k,
                           all.end() - (total - rows) * k);
      total -= rows;
      std::vector<float> xf = randomFloats(rows * k, seed, noise),
                         h = randomFloats(rows * n, seed + 1),
                         hf = randomFloats(rows * n, seed + 2, noise);
      for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < k; ++i)
          xf[row * k + i] +=
              x[row * k + i] + drift / k * dot(x, row, mixInputs, i);
        for (int64_t i = 0; i < n; ++i)
          hf[row * n + i] +=
              h[row * n + i] + drift / k * dot(x, row, mixResiduals, i);
      }
      inputs.push_back(x);
      floatInputs.push_back(xf);
      residuals.push_back(h);
      floatResiduals.push_back(hf);
      weights.emplace_back(rows, 1.0f);
    }
  }

  double dot(const std::vector<float> &x, int64_t row,
             const std::vector<float> &matrix, int64_t i) const {
    double sum = 0;
    for (int64_t j = 0; j < k; ++j)
      sum += double(x[row * k + j]) * matrix[i * k + j];
    return sum;
  }

  /// What the linear lacks in output i of a row: W (xf - xq) + hf - hq.
  double missing(size_t sample, int64_t row, int64_t i, bool residual) const {
    double sum = 0;
    for (int64_t j = 0; j < k; ++j)
      sum += (double(floatInputs[sample][row * k + j]) -
              inputs[sample][row * k + j]) *
             w[i * k + j];
    if (residual)
      sum += double(floatResiduals[sample][row * n + i]) -
             residuals[sample][row * n + i];
    return sum;
  }

  AsymmetricTargets
  targets(bool residual = true,
          AsymmetricStrength strength = AsymmetricStrength::Whole) const {
    std::vector<RowBlock> x = blocksOf(inputs, k),
                          xf = blocksOf(floatInputs, k),
                          h = blocksOf(residuals, n),
                          hf = blocksOf(floatResiduals, n);
    for (size_t i = 0; i < x.size(); ++i)
      x[i].weights = weights[i].data();
    TargetLinear linear = {w, n, {}, strength};
    if (residual)
      linear.residual = {hf, h};
    return AsymmetricTargets({xf, x}, k, {&linear, 1});
  }
};

/// The step d [n, k] that minimises, over the samples of [begin, end),
/// mean weight |d x - missing|^2 + ridge |d|^2, by Gaussian elimination.
std::vector<double> slowStep(const Streams &s, size_t begin, size_t end,
                             bool residual) {
  int64_t k = s.k, n = s.n, columns = k + n, count = 0;
  std::vector<double> system(k * columns, 0.0);
  for (size_t sample = begin; sample < end; ++sample)
    for (int64_t row = 0; row < int64_t(s.weights[sample].size()); ++row) {
      ++count;
      for (int64_t a = 0; a < k; ++a) {
        double value =
            double(s.weights[sample][row]) * s.inputs[sample][row * k + a];
        for (int64_t b = 0; b < k; ++b)
          system[a * columns + b] += value * s.inputs[sample][row * k + b];
        for (int64_t i = 0; i < n; ++i)
          system[a * columns + k + i] +=
              value * s.missing(sample, row, i, residual);
      }
    }
  double trace = 0;
  int64_t live = 0;
  for (int64_t a = 0; a < k; ++a) {
    trace += system[a * columns + a] / count;
    live += system[a * columns + a] != 0;
  }
  for (double &value : system)
    value /= count;
  for (int64_t a = 0; a < k; ++a)
    system[a * columns + a] += AsymmetricTargets::kRidge * trace / live;
  // No pivoting: the matrix is positive definite.
  for (int64_t a = 0; a < k; ++a)
    for (int64_t b = 0; b < k; ++b) {
      if (a == b)
        continue;
      double factor = system[b * columns + a] / system[a * columns + a];
      for (int64_t c = a; c < columns; ++c)
        system[b * columns + c] -= factor * system[a * columns + c];
    }
  std::vector<double> step(n * k);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t a = 0; a < k; ++a)
      step[i * k + a] = system[a * columns + k + i] / system[a * columns + a];
  return step;
}

void expectStep(const Streams &s, const std::vector<float> &weights,
                const std::vector<double> &step, double strength) {
  double scale = 0;
  for (double value : step)
    scale = std::max(scale, std::abs(value));
  ASSERT_GT(scale, 1e-3);
  for (int64_t i = 0; i < s.n * s.k; ++i)
    ASSERT_NEAR(weights[i] - s.w[i], strength * step[i], 2e-4 * scale) << i;
}

TEST(AsymmetricTarget, MinimisesTheDistanceToTheFloatOutput) {
  // More than one tile, and sizes that do not divide.
  for (auto [k, n] : {std::pair<int64_t, int64_t>{1, 1},
                      {7, 3},
                      {20, 70},
                      {290, 5},
                      {40, 300}}) {
    Streams s(k, n, {30, 0, 61, 17}, 5);
    for (bool residual : {true, false}) {
      AsymmetricTargets targets = s.targets(residual);
      ASSERT_EQ(targets.error(), "");
      EXPECT_EQ(targets.strength(0), 1);
      expectStep(s, targets.weights(0), slowStep(s, 0, 4, residual), 1);
    }
  }
}

TEST(AsymmetricTarget, RowsCountAsTheirWeightsSay) {
  Streams s(12, 8, {40, 30}, 3, /*noise=*/0.5f);
  for (size_t sample = 0; sample < 2; ++sample)
    for (float &weight : s.weights[sample])
      weight = sample == 0 ? 0.25f : 3.0f;
  expectStep(s, s.targets().weights(0), slowStep(s, 0, 2, true), 1);
}

TEST(AsymmetricTarget, DeadColumnsAndEqualStreams) {
  Streams s(12, 8, {40, 30}, 3);
  for (std::vector<float> &sample : s.inputs)
    for (size_t i = 4; i < sample.size(); i += 12)
      sample[i] = 0;
  std::vector<float> weights = s.targets().weights(0);
  expectStep(s, weights, slowStep(s, 0, 2, true), 1);
  for (int64_t row = 0; row < 8; ++row)
    EXPECT_EQ(weights[row * 12 + 4], s.w[row * 12 + 4]);
  s.floatInputs = s.inputs;
  EXPECT_EQ(s.targets(/*residual=*/false).weights(0), s.w);
  EXPECT_EQ(s.targets(false, AsymmetricStrength::Judged).strength(0), 0);
}

/// The strength as the header defines it, from the rows themselves.
double slowStrength(const Streams &s) {
  size_t half = s.inputs.size() / 2;
  std::vector<double> step = slowStep(s, 0, half, true);
  double gain = 0, move = 0, first = 0, all = 0;
  for (size_t sample = 0; sample < s.inputs.size(); ++sample) {
    int64_t rows = s.weights[sample].size();
    all += rows;
    if (sample < half) {
      first += rows;
      continue;
    }
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t i = 0; i < s.n; ++i) {
        double moved = 0;
        for (int64_t j = 0; j < s.k; ++j)
          moved += step[i * s.k + j] * s.inputs[sample][row * s.k + j];
        gain += moved * s.missing(sample, row, i, true);
        move += moved * moved;
      }
  }
  double best = std::clamp(gain / move, 0.0, 1.0);
  return best == 0 ? 0 : 1 / (1 + first / all * (1 / best - 1));
}

TEST(AsymmetricTarget, StrengthIsWhatHeldOutSamplesSay) {
  double before = 2;
  for (float noise : {0.01f, 0.5f, 1.0f, 2.0f}) {
    Streams s(24, 9, {40, 41, 30}, 17, noise);
    AsymmetricTargets targets = s.targets(true, AsymmetricStrength::Judged);
    double strength = slowStrength(s);
    EXPECT_NEAR(targets.strength(0), strength, 1e-3);
    EXPECT_LT(strength, before);
    before = strength;
    expectStep(s, targets.weights(0), slowStep(s, 0, 3, true), strength);
  }
  EXPECT_LT(before, 0.5);
}

TEST(AsymmetricTarget, StrengthOfManyRowsIsJudgedBySome) {
  Streams s(10, 3 * AsymmetricTargets::kJudgedRows / 2, {30, 30}, 4, 0.5f);
  EXPECT_NEAR(s.targets(true, AsymmetricStrength::Judged).strength(0),
              slowStrength(s), 0.1);
}

TEST(AsymmetricTarget, OneSampleCannotBeJudged) {
  Streams s(24, 9, {100}, 17);
  AsymmetricTargets targets = s.targets(true, AsymmetricStrength::Judged);
  EXPECT_EQ(targets.strength(0), 0);
  EXPECT_EQ(targets.weights(0), s.w);
}

TEST(AsymmetricTarget, GivesTheHessianItself) {
  Streams s(300, 2, {33, 20, 7}, 8);
  HessianAccumulator hessian(300);
  hessian.add(blocksOf(s.inputs, 300));
  // Summed in two parts, the same bits all the same.
  AsymmetricTargets judged = s.targets(true, AsymmetricStrength::Judged);
  EXPECT_EQ(judged.takeHessian(), hessian.take());
}

TEST(AsymmetricTarget, RefusesWhatIsNotFinite) {
  Streams s(5, 4, {10, 10}, 1);
  s.floatInputs[1][7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NE(s.targets().error(), "");
  Streams t(5, 4, {10, 10}, 1);
  t.floatResiduals[0][3] = std::numeric_limits<float>::infinity();
  EXPECT_NE(t.targets().error(), "");
  EXPECT_EQ(t.targets(/*residual=*/false).error(), "");
}

TEST(AsymmetricTarget, ThreadsDoNotCount) {
  Streams s(300, 200, {40, 50}, 2);
  std::vector<float> one;
  for (int threads : {1, 2, 3, 7}) {
    omp_set_num_threads(threads);
    std::vector<float> weights =
        s.targets(true, AsymmetricStrength::Judged).weights(0);
    if (one.empty())
      one = weights;
    EXPECT_EQ(weights, one) << threads;
  }
}

TEST(AsymmetricTarget, RelativeDrift) {
  Rows f = {{1, 2, 3, 4}, {5, 6}}, q = {{1, 2, 3, 5}, {3, 6}}, zero = {{0, 0}};
  EXPECT_DOUBLE_EQ(relativeDrift({blocksOf(f, 2), blocksOf(q, 2)}, 2),
                   (1.0 + 4.0) / 91.0);
  EXPECT_EQ(relativeDrift({blocksOf(zero, 2), blocksOf(zero, 2)}, 2), 0);
}

} // namespace
