//===- CpuLayoutTest.cpp - Tests of the layout in lines -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Lines as a dot product reads them, and that values do not change.
//
//===----------------------------------------------------------------------===//

#include "../Quantize/TestData.h"
#include "quantopt/Packing/LineOrder.h"
#include "quantopt/Packing/PackedMatrix.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <cstring>
#include <gtest/gtest.h>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

/// Sums over k of the codes times `x` for 16 rows, as a kernel forms them: a
/// shift and a mask of a whole line give 4 neighbours in k for each row.
std::vector<int64_t> dotByLines(const PackedStorage &packed, int64_t tile,
                                const std::vector<int> &x) {
  const std::vector<unsigned> widths[] = {
      {}, {}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  unsigned bits = packed.scheme.bits;
  int64_t blocks = (packed.k + 31) / 32;
  std::vector<int64_t> sums(16, 0);
  const uint8_t *line = packed.codes.data() + tile * blocks * 64 * bits;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t weight = 1;
    for (unsigned width : widths[bits]) {
      int64_t k = 32 * block;
      for (unsigned i = 0; i < width; ++i, line += 64)
        for (unsigned shift = 0; shift < 8; shift += width, k += 4)
          for (int64_t byte = 0; byte < 64; ++byte) {
            int64_t column = k + byte % 4;
            int64_t code = line[byte] >> shift & ((1 << width) - 1);
            if (column < packed.k)
              sums[byte / 4] += weight * code * x[column];
            else
              EXPECT_EQ(code, 0) << "padding is 0";
          }
      weight <<= width;
    }
  }
  return sums;
}

TEST(CpuLayout, LinesAreOperandsOfDotProducts) {
  std::mt19937 engine(5);
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (int64_t n : {1, 16, 17, 40})
      for (int64_t k : {1, 31, 32, 33, 64, 100, 256}) {
        Scheme scheme{bits, Granularity::Group, 48, ZeroKind::Integer,
                      ScaleKind::F16};
        QuantizedMatrix q = quantizeRoundToNearest(
            randomFloats(n * k, engine()), n, k, scheme, {});
        for (uint8_t &code : q.codes)
          code = engine() & scheme.maxCode();
        PackedStorage packed = pack(q, Layout::Cpu);
        ASSERT_EQ(verify(packed.view()), "");
        std::vector<int> x(k);
        for (int &value : x)
          value = int(engine() % 255) - 127;
        for (int64_t row = 0; row < n; ++row) {
          int64_t expected = 0;
          for (int64_t i = 0; i < k; ++i)
            expected += int64_t(q.codes[row * k + i]) * x[i];
          ASSERT_EQ(dotByLines(packed, row / 16, x)[row % 16], expected)
              << bits << " bits, " << n << " x " << k << ", row " << row;
        }
        ASSERT_TRUE(sameBytes(unpack(packed.view()), q));
      }
}

TEST(CpuLayout, ScalesAndZerosOfAGroupAreNeighbours) {
  Scheme scheme{4, Granularity::Group, 32, ZeroKind::Integer, ScaleKind::F32};
  int64_t n = 20, k = 70, groups = 3;
  QuantizedMatrix q =
      quantizeRoundToNearest(randomFloats(n * k, 9), n, k, scheme, {});
  PackedStorage packed = pack(q, Layout::Cpu);
  auto *scales = reinterpret_cast<const float *>(packed.scales.data());
  ASSERT_EQ(packed.scales.size(), 4u * 2 * groups * 16);
  ASSERT_EQ(packed.offsets.size(), 2u * groups * 16);
  for (int64_t row = 0; row < 32; ++row)
    for (int64_t group = 0; group < groups; ++group) {
      int64_t at = (row / 16 * groups + group) * 16 + row % 16;
      bool exists = row < n;
      EXPECT_EQ(scales[at], exists ? q.scales[row * groups + group] : 0);
      EXPECT_EQ(packed.offsets[at],
                exists ? q.offsets[row * groups + group] : 0);
    }
  EXPECT_EQ(layoutNamed("cpu"), Layout::Cpu);
}

/// Layouts that hold expanded schemes only.
class ExpandedLayout : public ::testing::TestWithParam<Layout> {};

TEST_P(ExpandedLayout, AnySchemeKeepsItsValues) {
  const Layout layout = GetParam();
  std::mt19937 engine(3);
  int packedSchemes = 0;
  for (int trial = 0; trial < 400; ++trial) {
    Scheme scheme = anyScheme(engine);
    int64_t n = 1 + engine() % 40, k = 1 + engine() % 200;
    QuantizedMatrix q = quantizeRoundToNearest(
        randomFloats(n * k, trial), n, k, scheme, {SearchKind::LeastSquares});
    PackedStorage dense = pack(q);
    std::optional<Scheme> held = schemeIn(layout, q.scheme, n, k);
    // Only flat groups that end inside a row cannot be held.
    bool crosses = q.scheme.granularity == Granularity::Flat && n > 1 &&
                   k % q.scheme.groupSize != 0 && q.scheme.groupSize % k != 0;
    ASSERT_EQ(held.has_value(), !crosses) << trial;
    if (!held)
      continue;
    ++packedSchemes;
    PackedStorage packed = convertLayout(dense.view(), layout);
    ASSERT_EQ(packed.scheme, *held);
    ASSERT_EQ(verify(packed.view()), "");
    PlaneSizes sizes = planeSizes(packed.scheme, n, k, layout);
    ASSERT_EQ(int64_t(packed.codes.size()), sizes.codes);
    ASSERT_EQ(int64_t(packed.offsets.size()), sizes.offsets);
    // From the packed planes, and after unpacking.
    std::vector<float> expected = dequantized(q), rows(n * k);
    int64_t half = n / 2;
    dequantizeRows(packed.view(), 0, half, rows.data());
    dequantizeRows(packed.view(), half, n, rows.data() + half * k);
    ASSERT_EQ(std::memcmp(rows.data(), expected.data(), 4 * n * k), 0) << trial;
    PackedStorage plain = convertLayout(packed.view(), Layout::Dense);
    ASSERT_EQ(plain.scheme, *held);
    ASSERT_EQ(verify(plain.view()), "");
    ASSERT_EQ(plain.codes, dense.codes);
    std::vector<float> again = dequantized(unpack(plain.view()));
    ASSERT_EQ(std::memcmp(again.data(), expected.data(), 4 * n * k), 0);
    // What is packed already stays as it is.
    ASSERT_TRUE(sameBytes(unpack(plain.view()), unpack(packed.view())));
    PackedStorage twice = convertLayout(plain.view(), layout);
    ASSERT_EQ(twice.codes, packed.codes);
    ASSERT_EQ(twice.scales, packed.scales);
    ASSERT_EQ(twice.offsets, packed.offsets);
  }
  EXPECT_GT(packedSchemes, 200);
}

INSTANTIATE_TEST_SUITE_P(All, ExpandedLayout,
                         ::testing::Values(Layout::Nvptx, Layout::Cpu),
                         [](const auto &info) {
                           return std::string(layoutName(info.param));
                         });

} // namespace
