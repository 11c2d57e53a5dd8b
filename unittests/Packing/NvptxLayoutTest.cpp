//===- NvptxLayoutTest.cpp - Tests of the tensor-core layout --------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The fragments of mma and wgmma as the PTX ISA describes them, packed planes
// bit by bit, and that values do not change.
//
//===----------------------------------------------------------------------===//

#include "../Quantize/TestData.h"
#include "quantopt/Packing/ExpandedScales.h"
#include "quantopt/Packing/FragmentOrder.h"
#include "quantopt/Packing/PackedMatrix.h"
#include "quantopt/Quantize/RoundToNearest.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

using namespace quantopt;
using namespace quantopt::testing;

namespace {

struct RowColumn {
  int64_t row, column;
  auto operator<=>(const RowColumn &) const = default;
};

/// Element i (0 to 7) of the A fragment of mma.m16n8k16 with 16-bit elements,
/// as the PTX ISA says it in words.
RowColumn mmaElement(int64_t lane, int64_t i) {
  int64_t group = lane >> 2, inGroup = lane % 4;
  bool isFirst = (0 <= i && i < 2) || (4 <= i && i < 6);
  return {isFirst ? group : group + 8, inGroup * 2 + (i & 1) + (i < 4 ? 0 : 8)};
}

/// Element i of thread t of a warpgroup in the register A fragment of
/// wgmma.m64k16, as strides of m + 64 k: the figure of the PTX ISA.
RowColumn wgmmaElement(int64_t thread, int64_t i) {
  int64_t at = thread % 4 * 128 + thread / 4 % 8 * 1 + thread / 32 * 16;
  at += i % 2 * 64 + i / 2 % 2 * 8 + i / 4 * 512;
  return {at % 64, at / 64};
}

TEST(FragmentOrder, MmaIsTheSliceOfWgmma) {
  std::set<RowColumn> all;
  for (int64_t thread = 0; thread < 128; ++thread)
    for (int64_t i = 0; i < 8; ++i) {
      RowColumn mma = mmaElement(thread % 32, i);
      mma.row += 16 * (thread / 32);
      EXPECT_EQ(wgmmaElement(thread, i), mma) << thread << " " << i;
      all.insert(mma);
    }
  EXPECT_EQ(all.size(), 64u * 16);
}

TEST(FragmentOrder, LanesHoldTheFragmentsOfFourSteps) {
  for (int64_t lane = 0; lane < 32; ++lane)
    for (int64_t pair = 0; pair < 16; ++pair)
      for (int64_t element = 0; element < 2; ++element) {
        int64_t row = fragment::rowOf(lane, pair);
        int64_t k = fragment::kOf(lane, pair, element);
        int64_t position = fragment::position(k);
        RowColumn mma = mmaElement(lane, 2 * (pair % 4) + element);
        EXPECT_EQ(position / 16, pair / 4);
        EXPECT_EQ((RowColumn{row, position % 16}), mma);
        EXPECT_EQ(fragment::elementOf(row, k),
                  (fragment::Element{lane, pair, element}));
      }
}

TEST(FragmentOrder, PiecesCoverTheBits) {
  for (unsigned bits = 1; bits <= 8; ++bits) {
    unsigned covered = 0;
    for (auto [width, shift, offset] : fragment::Pieces(bits)) {
      EXPECT_EQ(offset, 128 * shift);
      covered |= ((1u << width) - 1) << shift;
    }
    EXPECT_EQ(covered, (1u << bits) - 1);
  }
  // 7 = 4, 2, 1: the widest piece has the low bits.
  EXPECT_EQ(fragment::Pieces(7).begin()[0].width, 4u);
  EXPECT_EQ(fragment::Pieces(7).begin()[2].shift, 6u);
}

/// Sets bit `bit` of little-endian `bytes`.
void setBit(std::vector<uint8_t> &bytes, int64_t bit) {
  ASSERT_LT(bit / 8, int64_t(bytes.size()));
  ASSERT_FALSE(bytes[bit / 8] >> (bit % 8) & 1) << "a bit has two meanings";
  bytes[bit / 8] |= 1 << (bit % 8);
}

/// The code plane bit by bit, from the fragment of mma alone: the element in
/// register `reg` of step `step` has row and k of its block, and its bits lie
/// where the format says.
std::vector<uint8_t> slowCodes(const QuantizedMatrix &m) {
  const std::vector<unsigned> widths[] = {
      {}, {}, {2}, {2, 1}, {4}, {4, 1}, {4, 2}, {4, 2, 1}, {8}};
  unsigned bits = m.scheme.bits;
  int64_t tiles = (m.n + 15) / 16, blocks = (m.k + 63) / 64;
  std::vector<uint8_t> plane(tiles * blocks * 128 * bits, 0);
  for (int64_t block = 0; block < tiles * blocks; ++block)
    for (int64_t lane = 0; lane < 32; ++lane)
      for (int64_t step = 0; step < 4; ++step)
        for (int64_t i = 0; i < 8; ++i) {
          RowColumn at = mmaElement(lane, i);
          // Position 2t + h is k 16t + 4 step + h; position 8 + 2t + h is two
          // further.
          int64_t k = 16 * (at.column % 8 / 2) + 4 * step +
                      2 * (at.column / 8) + at.column % 2;
          int64_t row = block / blocks * 16 + at.row;
          k += block % blocks * 64;
          if (row >= m.n || k >= m.k)
            continue;
          unsigned code = m.codes[row * m.k + k];
          int64_t piece = block * 128 * bits, pair = 4 * step + i / 2;
          for (unsigned width : widths[bits]) {
            int64_t word = pair / (16 / width), slot = pair % (16 / width);
            int64_t byte = width == 8
                               ? word / 4 * 512 + 16 * lane + word % 4 * 4
                               : 4 * width * lane + 4 * word;
            for (unsigned bit = 0; bit < width; ++bit)
              if (code >> bit & 1)
                setBit(plane,
                       8 * (piece + byte) + width * slot + 16 * (i % 2) + bit);
            code >>= width;
            piece += 128 * width;
          }
        }
  return plane;
}

/// Values of the rows of a tile: row g, row g + 8 for g from 0 to 7.
template <typename T>
std::vector<T> slowTiles(const std::vector<T> &values, int64_t n,
                         int64_t groups) {
  std::vector<T> tiles;
  for (int64_t first = 0; first < n; first += 16)
    for (int64_t group = 0; group < groups; ++group)
      for (int64_t i = 0; i < 16; ++i) {
        int64_t row = first + i / 2 + i % 2 * 8;
        tiles.push_back(row < n ? values[row * groups + group] : T(0));
      }
  return tiles;
}

std::vector<uint8_t> slowFloats(const QuantizedMatrix &m,
                                const std::vector<float> &values) {
  std::vector<uint8_t> bytes;
  for (float value : slowTiles(values, m.n, m.scheme.numGroups(m.k))) {
    uint32_t bits = encodeFloat(m.scheme.scaleType, value);
    for (unsigned i = 0; i < bitWidth(m.scheme.scaleType) / 8; ++i)
      bytes.push_back(bits >> (8 * i));
  }
  return bytes;
}

std::vector<uint8_t> slowZeros(const QuantizedMatrix &m) {
  std::vector<uint8_t> zeros(m.offsets.begin(), m.offsets.end());
  zeros = slowTiles(zeros, m.n, m.scheme.numGroups(m.k));
  if (m.scheme.bits > 4)
    return zeros;
  std::vector<uint8_t> halves;
  for (size_t i = 0; i < zeros.size(); i += 2)
    halves.push_back(zeros[i] | zeros[i + 1] << 4);
  return halves;
}

constexpr int64_t kShapesN[] = {1, 7, 16, 17, 576};
constexpr int64_t kShapesK[] = {1, 63, 64, 65, 576};

TEST(NvptxLayout, PlanesBitByBit) {
  std::mt19937 engine(2);
  for (unsigned bits = 2; bits <= 8; ++bits)
    for (int64_t n : kShapesN)
      for (int64_t k : kShapesK)
        for (ZeroKind zero : kZeroKinds) {
          Scheme scheme{bits, Granularity::Group, 48, zero,
                        kScaleKinds[engine() % 3]};
          QuantizedMatrix q = quantizeRoundToNearest(
              randomFloats(n * k, engine()), n, k, scheme, {});
          // All codes, not those that rounding prefers.
          for (uint8_t &code : q.codes)
            code = engine() & scheme.maxCode();
          PackedStorage packed = pack(q, Layout::Nvptx);
          ASSERT_EQ(verify(packed.view()), "");
          ASSERT_EQ(packed.codes, slowCodes(q)) << bits << " " << n << " " << k;
          ASSERT_EQ(packed.scales, slowFloats(q, q.scales));
          if (zero == ZeroKind::Minimum)
            ASSERT_EQ(packed.offsets, slowFloats(q, q.offsets));
          else if (zero == ZeroKind::Integer)
            ASSERT_EQ(packed.offsets, slowZeros(q));
          else
            ASSERT_TRUE(packed.offsets.empty());
          ASSERT_TRUE(sameBytes(unpack(packed.view()), q));
        }
}

TEST(ExpandedScales, KindsAndGranularities) {
  auto expanded = [](Granularity granularity, int64_t size, ScaleKind kind,
                     Nesting nesting, int64_t n, int64_t k) {
    return expandedScheme({4, granularity, size, ZeroKind::Symmetric, kind,
                           CodeTable::E2M1, nesting},
                          n, k);
  };
  using enum Granularity;
  using enum ScaleKind;
  auto mx = expanded(Group, 32, E8M0, Nesting::None, 4, 64);
  EXPECT_EQ(mx->scaleType, BF16);
  auto nv = expanded(Group, 16, E4M3, Nesting::PerTensor, 4, 64);
  EXPECT_EQ(nv->scaleType, F32);
  EXPECT_EQ(nv->nesting, Nesting::None);
  EXPECT_EQ(expanded(Group, 16, E4M3, Nesting::None, 4, 64)->scaleType, F16);
  EXPECT_EQ(expanded(Tensor, 0, F16, Nesting::None, 4, 64)->granularity,
            Channel);
  EXPECT_EQ(expanded(Flat, 32, F16, Nesting::None, 4, 64)->granularity, Group);
  EXPECT_EQ(expanded(Flat, 128, F16, Nesting::None, 4, 64)->granularity,
            Channel);
  EXPECT_EQ(expanded(Flat, 48, F16, Nesting::None, 1, 64)->granularity, Group);
  EXPECT_FALSE(expanded(Flat, 48, F16, Nesting::None, 4, 64));
}

/// Every value of a byte, the smallest ones included, is one of the wider type.
TEST(ExpandedScales, EightBitScalesAreExact) {
  for (uint32_t byte = 0; byte < 256; ++byte) {
    float e8m0 = decodeFloat(ScaleKind::E8M0, byte);
    float e4m3 = decodeFloat(ScaleKind::E4M3, byte);
    if (std::isfinite(e8m0))
      EXPECT_EQ(roundTo(ScaleKind::BF16, e8m0), e8m0) << byte;
    if (std::isfinite(e4m3))
      EXPECT_EQ(roundTo(ScaleKind::F16, e4m3), e4m3) << byte;
  }
}

TEST(NvptxLayout, VerifyRefusesWhatItDoesNotHold) {
  Scheme scheme{4, Granularity::Tensor, 0, ZeroKind::Integer, ScaleKind::F16};
  QuantizedMatrix q =
      quantizeRoundToNearest(randomFloats(3 * 70, 1), 3, 70, scheme, {});
  PackedStorage good = convertLayout(pack(q).view(), Layout::Nvptx);
  ASSERT_EQ(verify(good.view()), "");
  PackedStorage bad = good;
  bad.scheme = scheme;
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.codes.pop_back();
  EXPECT_NE(verify(bad.view()), "");
  bad = good;
  bad.layout = Layout::Dense;
  EXPECT_NE(verify(bad.view()), "");
  EXPECT_STREQ(layoutName(Layout::Nvptx), "nvptx");
  EXPECT_EQ(layoutNamed("nvptx"), Layout::Nvptx);
  EXPECT_EQ(layoutNamed("other"), std::nullopt);
}

} // namespace
