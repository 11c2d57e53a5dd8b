//===- CodeTableTest.cpp - Tests of codes for the values of a table -------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The nearest value of a table, schemes with tables under odd data, and nested
// scales.
//
//===----------------------------------------------------------------------===//

#include "TestData.h"
#include "quantopt/Quantize/ErrorMeasure.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <omp.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

const Nesting kNestings[] = {Nesting::None, Nesting::Dynamic,
                             Nesting::PerTensor};

Scheme tableScheme(CodeTable table, Nesting nesting = Nesting::None) {
  Scheme scheme{4,
                Granularity::Group,
                16,
                ZeroKind::Symmetric,
                nesting == Nesting::PerTensor ? ScaleKind::E4M3
                                              : ScaleKind::F32,
                table,
                nesting};
  return scheme;
}

/// Values around which codes change: every value of the table, every middle
/// between two, and their neighbours in f32; and many others.
std::vector<float> probes(CodeTable table) {
  std::vector<float> values(tableValues(table).begin(),
                            tableValues(table).end());
  std::sort(values.begin(), values.end());
  std::vector<float> result;
  auto add = [&](float x) {
    result.insert(result.end(),
                  {std::nextafter(x, -1e30f), x, std::nextafter(x, 1e30f)});
  };
  for (size_t i = 0; i < values.size(); ++i) {
    add(values[i]);
    if (i > 0)
      add((values[i - 1] + values[i]) * 0.5f);
  }
  for (int step = -3000; step <= 3000; ++step)
    result.push_back(values.back() * step * 0.0005f);
  result.insert(result.end(), {0.0f, -0.0f, 1e3f, -1e3f, 1e-40f, -1e-40f});
  return result;
}

TEST(CodeTable, NearestValue) {
  for (CodeTable table : kCodeTables) {
    std::span<const float, 16> values = tableValues(table);
    std::vector<float> x = probes(table);
    std::vector<uint8_t> codes(x.size());
    chooseCodes(tableScheme(table), 1.0f, 0, x, codes.data());
    int64_t ties = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      double chosen = std::fabs(double(values[codes[i]]) - x[i]);
      for (float value : values) {
        double other = std::fabs(double(value) - x[i]);
        // The middle of two values may not be one of f32.
        ASSERT_LE(chosen, other * (1 + 1e-6)) << x[i];
        if (chosen == other && value != values[codes[i]]) {
          EXPECT_LT(values[codes[i]], value) << "a tie goes down: " << x[i];
          ++ties;
        }
      }
    }
    EXPECT_GT(ties, 2);
  }
}

TEST(CodeTable, WhereAVectorEndsDoesNotCount) {
  for (CodeTable table : kCodeTables) {
    std::vector<float> x = randomFloats(60, 3);
    std::vector<uint8_t> all(60);
    chooseCodes(tableScheme(table), 0.4f, 0, x, all.data());
    for (size_t begin = 0; begin < 20; ++begin)
      for (size_t count = 1; begin + count <= 60; ++count) {
        std::vector<uint8_t> part(count + 1, 99);
        chooseCodes(tableScheme(table), 0.4f, 0,
                    std::span(x).subspan(begin, count), part.data());
        ASSERT_TRUE(
            std::equal(part.begin(), part.end() - 1, all.begin() + begin));
        ASSERT_EQ(part.back(), 99);
      }
  }
}

TEST(CodeTable, NegativeZeroIsNotUsed) {
  // -0.0 of E2M1 would stand for the same value as 0.
  std::vector<float> x = {0.0f, -0.0f, 0.1f, -0.1f, 0.25f};
  std::vector<uint8_t> codes(x.size());
  chooseCodes(tableScheme(CodeTable::E2M1), 1.0f, 0, x, codes.data());
  EXPECT_EQ(codes, (std::vector<uint8_t>{0, 0, 0, 0, 0}));
}

TEST(CodeTable, ScalesWithoutSearch) {
  auto scaleOf = [](CodeTable table, ScaleKind kind, bool fullRange,
                    std::vector<float> w) {
    Scheme scheme = tableScheme(table);
    scheme.scaleType = kind;
    return quantizeRoundToNearest(w, 1, w.size(), scheme,
                                  {SearchKind::None, fullRange})
        .scales[0];
  };
  for (bool fullRange : {false, true}) {
    EXPECT_EQ(scaleOf(CodeTable::NF4, ScaleKind::F32, fullRange, {1, -3}), 3);
    EXPECT_EQ(scaleOf(CodeTable::E2M1, ScaleKind::F32, fullRange, {3, -1}),
              0.5f);
  }
  // The longer side of IQ4_NL is the negative one.
  EXPECT_EQ(scaleOf(CodeTable::IQ4NL, ScaleKind::F32, false, {-12.7f, 1}),
            12.7f / 127);
  EXPECT_EQ(scaleOf(CodeTable::IQ4NL, ScaleKind::F32, false, {11.3f, 1}),
            11.3f / 113);
  EXPECT_EQ(scaleOf(CodeTable::IQ4NL, ScaleKind::F32, true, {12.7f, 1}),
            -12.7f / 127);
  // OCP MX: the exponent of the largest weight less that of 6.
  for (float most : {4.0f, 5.0f, 6.0f, 7.9f})
    EXPECT_EQ(scaleOf(CodeTable::E2M1, ScaleKind::E8M0, true, {most, -1}), 1);
  EXPECT_EQ(scaleOf(CodeTable::E2M1, ScaleKind::E8M0, true, {8.0f, -1}), 2);
  EXPECT_EQ(scaleOf(CodeTable::E2M1, ScaleKind::E8M0, true, {0, 0}), 0x1p-127f);
}

TEST(CodeTable, SearchPays) {
  int64_t n = 64, k = 256;
  std::vector<float> w = randomFloats(n * k, 1);
  for (CodeTable table : kCodeTables)
    for (Nesting nesting : kNestings) {
      Scheme scheme = tableScheme(table, nesting);
      auto error = [&](SearchKind kind, bool fullRange) {
        QuantizedMatrix q =
            quantizeRoundToNearest(w, n, k, scheme, {kind, fullRange});
        EXPECT_EQ(verify(q), "");
        return weightedError(q, w);
      };
      double none = error(SearchKind::None, false);
      double searched = error(SearchKind::LeastSquares, false);
      EXPECT_LT(searched, 0.93 * none);
      // A skewed table gains from both signs of the scale.
      bool skewed = table == CodeTable::NF4 || table == CodeTable::IQ4NL;
      double signs = error(SearchKind::LeastSquares, true);
      if (skewed && nesting == Nesting::None)
        EXPECT_LT(signs, 0.97 * searched);
      else
        EXPECT_EQ(signs, searched);
    }
}

/// Error of the best scale of either sign among many, codes chosen for each.
double bestOfManyScales(std::span<const float> w, CodeTable table) {
  Scheme scheme = tableScheme(table);
  std::span<const float, 16> values = tableValues(table);
  float highest = *std::max_element(values.begin(), values.end());
  double best = std::numeric_limits<double>::infinity();
  std::vector<uint8_t> codes(w.size());
  for (int step = 100; step <= 1000; ++step)
    for (float sign : {1.0f, -1.0f}) {
      float scale = sign * static_cast<float>(step) * 0.005f / highest;
      chooseCodes(scheme, scale, 0, w, codes.data());
      double error = 0;
      for (size_t i = 0; i < w.size(); ++i)
        error += std::pow(values[codes[i]] * double(scale) - w[i], 2);
      best = std::min(best, error);
    }
  return best;
}

TEST(CodeTable, SearchIsCloseToTheBestScale) {
  for (CodeTable table : kCodeTables) {
    double found = 0, best = 0;
    for (unsigned trial = 0; trial < 40; ++trial) {
      std::vector<float> w = randomFloats(32, trial);
      Scheme scheme = tableScheme(table);
      scheme.groupSize = 32;
      found +=
          weightedError(quantizeRoundToNearest(
                            w, 1, 32, scheme, {SearchKind::LeastSquares, true}),
                        w);
      best += bestOfManyScales(w, table);
    }
    EXPECT_LT(found, 1.01 * best);
  }
}

TEST(CodeTable, FlatGroupsAreGroupsOfOneRow) {
  std::mt19937 engine(7);
  for (int trial = 0; trial < 60; ++trial) {
    Scheme scheme = anyScheme(engine);
    scheme.granularity = Granularity::Flat;
    int64_t n = 1 + engine() % 7, k = 1 + engine() % 70;
    std::vector<float> w = randomFloats(n * k, trial);
    SearchOptions options{static_cast<SearchKind>(engine() % 3)};
    QuantizedMatrix flat = quantizeRoundToNearest(w, n, k, scheme, options);
    QuantizedMatrix row = quantizeRoundToNearest(w, 1, n * k, scheme, options);
    EXPECT_EQ(verify(flat), "");
    EXPECT_EQ(flat.codes, row.codes);
    EXPECT_EQ(flat.scales, row.scales);
    EXPECT_EQ(flat.nested, row.nested);
  }
}

TEST(CodeTable, OddData) {
  const float most = std::numeric_limits<float>::max();
  const float fills[] = {0.0f, 1.0f, -1.0f, 1e-9f, 1e30f, -most, 1e-45f};
  for (CodeTable table : kCodeTables)
    for (Nesting nesting : kNestings)
      for (Granularity granularity :
           {Granularity::Group, Granularity::Flat, Granularity::Tensor})
        for (SearchKind kind : {SearchKind::None, SearchKind::LeastSquares})
          for (float fill : fills)
            for (int shape = 0; shape < 3; ++shape) {
              Scheme scheme = tableScheme(table, nesting);
              scheme.granularity = granularity;
              scheme.groupSize = 8;
              std::vector<float> w(3 * 21, fill);
              if (shape == 1) // both signs
                for (size_t i = 0; i < w.size(); i += 2)
                  w[i] = -fill;
              if (shape == 2) // a lone value
                std::fill(w.begin() + 1, w.end(), 0.0f);
              auto q = quantizeRoundToNearest(w, 3, 21, scheme, {kind, true});
              ASSERT_EQ(verify(q), "") << fill << " " << shape;
              for (float value : dequantized(q))
                ASSERT_TRUE(std::isfinite(value)) << fill << " " << shape;
            }
}

TEST(CodeTable, ZerosStayZeros) {
  // IQ4_NL has no 0, so that only a scale of 0 gives zeros.
  for (CodeTable table : kCodeTables)
    for (Nesting nesting : kNestings)
      for (SearchKind kind : {SearchKind::None, SearchKind::LeastSquares}) {
        if (table == CodeTable::IQ4NL && nesting == Nesting::Dynamic)
          continue;
        std::vector<float> w = randomFloats(64, 5);
        std::fill_n(w.begin() + 16, 16, 0.0f);
        Scheme scheme = tableScheme(table, nesting);
        std::vector<float> values =
            dequantized(quantizeRoundToNearest(w, 2, 32, scheme, {kind}));
        for (int i = 16; i < 32; ++i)
          EXPECT_EQ(values[i], 0.0f);
      }
}

TEST(CodeTable, ThreadsDoNotCount) {
  std::vector<float> w = randomFloats(101 * 150, 1);
  for (CodeTable table : kCodeTables)
    for (Nesting nesting : kNestings) {
      Scheme scheme = tableScheme(table, nesting);
      omp_set_num_threads(1);
      auto one = quantizeRoundToNearest(w, 101, 150, scheme, {});
      omp_set_num_threads(3);
      EXPECT_TRUE(
          sameBytes(one, quantizeRoundToNearest(w, 101, 150, scheme, {})));
    }
}

TEST(NestedScales, DynamicMap) {
  const ByteValues &map = dynamicMap();
  EXPECT_EQ(map[255], 1.0f);
  EXPECT_EQ(map[127], 0.0f);
  EXPECT_FLOAT_EQ(map[254], 0.99296875f);
  EXPECT_EQ(map[0], -map[254]); // there is no -1
  EXPECT_FLOAT_EQ(map[128], 5.5e-7f);
  for (int i = 1; i < 256; ++i)
    EXPECT_LT(map[i - 1], map[i]);
}

TEST(NestedScales, LittleIsLost) {
  // What the second level costs. e4m3 has 3 bits of mantissa, so that a scale
  // is off by 3 percent or so.
  std::vector<float> w = randomFloats(256 * 256, 1);
  for (CodeTable table : kCodeTables) {
    auto error = [&](Nesting nesting) {
      Scheme scheme = tableScheme(table, nesting);
      return weightedError(quantizeRoundToNearest(w, 256, 256, scheme, {}), w);
    };
    double plain = error(Nesting::None);
    EXPECT_LT(error(Nesting::Dynamic), 1.01 * plain);
    EXPECT_LT(error(Nesting::PerTensor), 1.12 * plain);
  }
}

} // namespace
