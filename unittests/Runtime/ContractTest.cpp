//===- ContractTest.cpp - Contractions against plain loops ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Contract.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <numeric>
#include <omp.h>
#include <random>

using namespace quantopt;

namespace {

/// An array of `kind` that remembers its values as floats.
struct Array {
  FloatKind kind;
  std::vector<uint8_t> bytes;

  Array(FloatKind kind, int64_t count) : kind(kind), bytes(count * 4) {}
  float get(int64_t i) const {
    float value;
    widen(kind, bytes.data() + i * byteWidth(kind), 1, &value);
    return value;
  }
  void set(int64_t i, float value) {
    narrow(kind, &value, 1, bytes.data() + i * byteWidth(kind));
  }
};

/// What contract() means, in double.
void reference(const Array &a, const Array &b, Array &c,
               std::span<const ContractionLoop> loops, bool accumulate,
               int64_t count) {
  std::vector<double> sums(count, 0);
  std::vector<bool> hit(count, false);
  int64_t total = 1;
  for (const ContractionLoop &loop : loops)
    total *= loop.size;
  for (int64_t flat = 0; flat < total; ++flat) {
    int64_t rest = flat, ai = 0, bi = 0, ci = 0;
    for (const ContractionLoop &loop : loops) {
      int64_t i = rest % loop.size;
      rest /= loop.size;
      ai += i * loop.a;
      bi += i * loop.b;
      ci += i * loop.c;
    }
    sums[ci] += double(a.get(ai)) * b.get(bi);
    hit[ci] = true;
  }
  for (int64_t i = 0; i < count; ++i)
    if (hit[i])
      c.set(i, sums[i] + (accumulate ? c.get(i) : 0));
}

/// Gives the loops that an array depends on strides in a random order, with a
/// gap now and then, and returns the elements it spans.
int64_t layOut(std::vector<ContractionLoop> &loops,
               int64_t ContractionLoop::*stride, unsigned uses,
               const std::vector<unsigned> &roles, std::mt19937 &random) {
  std::vector<int> order;
  for (size_t i = 0; i < loops.size(); ++i)
    if (roles[i] & uses)
      order.push_back(i);
  std::shuffle(order.begin(), order.end(), random);
  int64_t step = random() % 4 == 0 ? 2 : 1;
  for (int i : order) {
    loops[i].*stride = step;
    step *= loops[i].size;
    if (random() % 3 == 0)
      step += 3;
  }
  return step + 1;
}

TEST(Contract, RandomShapesStridesAndKinds) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  // Which arrays a loop moves: bit 0 a, bit 1 b, bit 2 c.
  const unsigned kinds[] = {7, 5, 6, 3, 5, 6, 3};
  for (int round = 0; round < 400; ++round) {
    std::vector<ContractionLoop> loops;
    std::vector<unsigned> roles;
    int count = 1 + random() % 6;
    for (int i = 0; i < count; ++i) {
      roles.push_back(kinds[random() % std::size(kinds)]);
      loops.push_back({int64_t(1 + random() % 9), 0, 0, 0});
    }
    int64_t aCount = layOut(loops, &ContractionLoop::a, 1, roles, random);
    int64_t bCount = layOut(loops, &ContractionLoop::b, 2, roles, random);
    int64_t cCount = layOut(loops, &ContractionLoop::c, 4, roles, random);
    auto kind = [&] { return FloatKind(random() % 3); };
    Array a(kind(), aCount), b(kind(), bCount), c(kind(), cCount);
    for (int64_t i = 0; i < aCount; ++i)
      a.set(i, normal(random));
    for (int64_t i = 0; i < bCount; ++i)
      b.set(i, normal(random));
    for (int64_t i = 0; i < cCount; ++i)
      c.set(i, normal(random));
    Array expected = c;
    bool accumulate = random() % 2;
    reference(a, b, expected, loops, accumulate, cCount);
    contract(a.kind, a.bytes.data(), b.kind, b.bytes.data(), c.kind,
             c.bytes.data(), loops, accumulate);
    double tolerance = c.kind == FloatKind::F32   ? 1e-5
                       : c.kind == FloatKind::F16 ? 1e-3
                                                  : 8e-3;
    for (int64_t i = 0; i < cCount; ++i)
      ASSERT_NEAR(c.get(i), expected.get(i),
                  tolerance * (3 + std::abs(expected.get(i))))
          << "round " << round << " element " << i;
  }
}

TEST(Contract, EmptySumGivesZero) {
  float c[2] = {5, 6};
  ContractionLoop loops[] = {{2, 1, 0, 1}, {0, 1, 1, 0}};
  contract(FloatKind::F32, nullptr, FloatKind::F32, nullptr, FloatKind::F32, c,
           loops, /*accumulate=*/true);
  EXPECT_EQ(c[0], 5);
  contract(FloatKind::F32, nullptr, FloatKind::F32, nullptr, FloatKind::F32, c,
           loops, /*accumulate=*/false);
  EXPECT_EQ(c[0], 0);
  EXPECT_EQ(c[1], 0);
}

TEST(Contract, SameBitsForAnyNumberOfThreads) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  int64_t batch = 3, m = 130, n = 257, k = 77;
  std::vector<float> a(batch * m * k), b(batch * n * k);
  for (float &value : a)
    value = normal(random);
  for (float &value : b)
    value = normal(random);
  std::vector<std::vector<float>> results;
  for (int threads : {1, 2, 5}) {
    omp_set_num_threads(threads);
    std::vector<float> c(batch * m * n);
    ContractionLoop loops[] = {
        {batch, m * k, n * k, m * n}, {m, k, 0, n}, {n, 0, k, 1}, {k, 1, 1, 0}};
    contract(FloatKind::F32, a.data(), FloatKind::F32, b.data(), FloatKind::F32,
             c.data(), loops, false);
    results.push_back(c);
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

} // namespace
