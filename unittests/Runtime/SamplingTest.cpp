//===- SamplingTest.cpp - The next token from logits ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Sampling.h"

#include <algorithm>
#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <random>

using namespace quantopt;

namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// Few values, so that many are equal.
std::vector<float> randomLogits(int64_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<float> logits(count);
  for (float &logit : logits)
    logit = 0.25f * float(random() % 40);
  return logits;
}

/// Probabilities by sorting everything, in the order of temperature, top-k and
/// top-p.
std::vector<double> slowProbabilities(const std::vector<float> &logits,
                                      const SamplingOptions &options) {
  std::vector<int> order(logits.size());
  for (size_t i = 0; i < order.size(); ++i)
    order[i] = i;
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  if (options.topK > 0 && options.topK < int64_t(order.size()))
    order.resize(options.topK);
  std::vector<double> result(logits.size(), 0.0);
  double total = 0;
  for (int token : order)
    total += std::exp(logits[token] / options.temperature);
  double before = 0, rest = 0;
  for (int token : order) {
    double probability = std::exp(logits[token] / options.temperature) / total;
    if (before >= options.topP)
      break;
    result[token] = probability;
    before += probability;
    rest += probability;
  }
  for (double &probability : result)
    probability /= rest;
  return result;
}

TEST(Sampling, AgainstSorting) {
  struct Case {
    double temperature;
    int64_t topK;
    double topP;
  };
  for (int64_t count : {1, 5, 63, 64, 65, 1000})
    for (Case c : {Case{1, 0, 1}, Case{0.7, 0, 1}, Case{1.3, 3, 1},
                   Case{1, 0, 0.83}, Case{2.5, 0, 0.9}, Case{0.9, 40, 0.6},
                   Case{1, 1, 1}, Case{1, 5000, 1e-9}}) {
      SamplingOptions options{c.temperature, c.topK, c.topP, 0};
      std::vector<float> logits = randomLogits(count, count);
      std::vector<double> expected = slowProbabilities(logits, options);
      Sampler sampler(options);
      // The middle of each token's share, and just inside its ends.
      double at = 0;
      for (int64_t token = 0; token < count; ++token) {
        double share = expected[token];
        for (double part : {1e-6, 0.5, 1 - 1e-6})
          if (share > 0)
            EXPECT_EQ(sampler.choose(logits, at + part * share), token)
                << count << " " << c.topK << " " << c.topP;
        at += share;
      }
    }
}

TEST(Sampling, GreedyTakesTheFirstOfTheLargest) {
  Sampler sampler({});
  EXPECT_EQ(sampler.choose(std::vector<float>{1, 3, 3, -infinity}, 0.9), 1);
}

TEST(Sampling, ImpossibleTokensAreNeverChosen) {
  Sampler sampler({1.0, 0, 1.0, 0});
  std::vector<float> logits = {-infinity, 0, -infinity, 0, -infinity};
  EXPECT_EQ(sampler.choose(logits, 0.0), 1);
  EXPECT_EQ(sampler.choose(logits, 0.999), 3);
}

TEST(Sampling, NothingCanBeChosenFrom) {
  for (double temperature : {0.0, 1.0}) {
    Sampler sampler({temperature, 0, 1.0, 0});
    EXPECT_FALSE(sampler.choose(std::vector<float>{}, 0.5));
    EXPECT_FALSE(sampler.choose(std::vector<float>{1, NAN}, 0.5));
    EXPECT_FALSE(sampler.choose(std::vector<float>{1, infinity}, 0.5));
    EXPECT_FALSE(sampler.choose(std::vector<float>{-infinity}, 0.5));
  }
}

/// By a few lines of Python; they must never change.
TEST(Sampling, UniformNumbersAreAlwaysTheSame) {
  EXPECT_EQ(uniformNumber(0, 0), 0x1.4e0dba5e9a32fp-1);
  EXPECT_EQ(uniformNumber(0, 1), 0x1.6705460be8829p-1);
  EXPECT_EQ(uniformNumber(1, 0), 0x1.7906ac21d0e58p-2);
  EXPECT_EQ(uniformNumber(12345, 678), 0x1.b191728d0026ap-1);
}

TEST(Sampling, UniformNumbersAreUniform) {
  constexpr int draws = 20000, bins = 20;
  for (bool bySeed : {false, true}) {
    std::vector<int> count(bins);
    for (int i = 0; i < draws; ++i) {
      double value = bySeed ? uniformNumber(i, 7) : uniformNumber(7, i);
      ASSERT_GE(value, 0.0);
      ASSERT_LT(value, 1.0);
      ++count[int(value * bins)];
    }
    double chiSquare = 0;
    for (int n : count)
      chiSquare +=
          (n - draws / bins) * (n - draws / bins) / double(draws / bins);
    EXPECT_LT(chiSquare, 45.0); // 19 degrees of freedom: 0.1 % lie above 43.8
  }
}

} // namespace
