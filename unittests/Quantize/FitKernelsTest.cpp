//===- FitKernelsTest.cpp - Tests of the inner loops of the search --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The sums must be these bits whatever vectors the processor has: sixteen
// partial sums, halves added.
//
//===----------------------------------------------------------------------===//

#include "../../lib/Quantize/FitKernels.h"
#include "../../lib/Quantize/Lanes.h"
#include "TestData.h"

#include <gtest/gtest.h>

#include <algorithm>

#pragma STDC FP_CONTRACT OFF

using namespace quantopt;
using namespace quantopt::testing;

namespace {

/// What sumLanes does, one addition at a time.
float slowSumLanes(float *lanes) {
  for (int width = 8; width >= 1; width /= 2)
    for (int i = 0; i < width; ++i) {
      volatile float sum = lanes[i] + lanes[i + width];
      lanes[i] = sum;
    }
  return lanes[0];
}

float slowCode(float value, const CodeMap &map) {
  volatile float scaled = value * map.inverse;
  volatile float moved = scaled + map.offset;
  float plain = moved;
  return std::nearbyint(std::clamp(plain, 0.0f, map.largest));
}

TEST(FitKernels, SumsAreTheseBits) {
  for (int64_t count : {1, 15, 16, 17, 64, 100, 4096, 5000}) {
    FitGroup group;
    int64_t padded = roundUpToLanes(count);
    std::vector<float> w = randomFloats(count, 10 + count, 1.0f, 0.3f);
    std::vector<float> weights = randomFloats(padded, 20 + count);
    for (int64_t i = 0; i < padded; ++i)
      weights[i] = i < count ? weights[i] * weights[i] : 0.0f;
    group.values = w;
    group.values.resize(padded);
    group.weighted.resize(padded);
    group.weights = weights.data();
    prepareGroup(group, count, true);
    EXPECT_EQ(group.low, *std::min_element(w.begin(), w.end()));
    EXPECT_EQ(group.high, *std::max_element(w.begin(), w.end()));
    EXPECT_EQ(group.padded, padded);

    CodeMap map{7.3f, 6.1f, 15.0f};
    float shift = 8, scale = 0.13f, base = 0.21f;
    double code = 0, square = 0, product = 0, error = 0;
    for (int64_t piece = 0; piece < padded; piece += 4096) {
      float lanes[4][16] = {};
      for (int64_t i = piece; i < std::min(piece + 4096, padded); ++i) {
        float value = i < count ? w[i] - group.center : w[0] - group.center;
        float c = slowCode(value, map) - shift, d = weights[i];
        volatile float dw = d * value, dc = d * c, dcc = dc * c, dwc = dw * c;
        volatile float cs = c * scale, sum = cs + base, diff = sum - value;
        volatile float dd = d * diff, ddd = dd * diff;
        lanes[0][i % 16] += dc;
        lanes[1][i % 16] += dcc;
        lanes[2][i % 16] += dwc;
        lanes[3][i % 16] += ddd;
      }
      code += slowSumLanes(lanes[0]);
      square += slowSumLanes(lanes[1]);
      product += slowSumLanes(lanes[2]);
      error += slowSumLanes(lanes[3]);
    }
    CodeSums sums = sumCodes(group, map, shift);
    EXPECT_EQ(sums.code, code) << count;
    EXPECT_EQ(sums.square, square) << count;
    EXPECT_EQ(sums.product, product) << count;
    EXPECT_EQ(sumErrors(group, map, shift, scale, base), error) << count;
  }
}

} // namespace
