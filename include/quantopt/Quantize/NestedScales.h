//===- NestedScales.h - Scales that are quantized themselves ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A second level of scales: each scale is a byte, and what bytes stand for is
// scaled in turn.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_QUANTIZE_NESTEDSCALES_H
#define QUANTOPT_QUANTIZE_NESTEDSCALES_H

#include "quantopt/Quantize/FloatKinds.h"

#include <array>
#include <span>
#include <vector>

namespace quantopt {

/// How the bytes of a plane of scales are scaled.
enum class Nesting : uint8_t {
  None,
  /// scale = value(byte) * a + b with the values of the signed 8-bit dynamic
  /// map (Dettmers, 2015), one a for 256 bytes and one b for all. This is the
  /// double quantization of bitsandbytes (QLoRA, 2023).
  Dynamic,
  /// scale = e4m3(byte) * a with one a for all, as in NVFP4.
  PerTensor,
};

/// A plane of scales with its second level; empty without nesting.
struct NestedScales {
  std::vector<uint8_t> bytes; ///< one for each scale
  std::vector<float> scales;  ///< a: one for nestedLength() bytes
  float offset = 0;           ///< b; 0 unless Dynamic

  bool operator==(const NestedScales &) const = default;
};

/// Bytes that share an a, of a plane of `count`.
inline int64_t nestedLength(Nesting nesting, int64_t count) {
  return nesting == Nesting::Dynamic ? 256 : count;
}

/// How many a there are.
inline int64_t numNested(Nesting nesting, int64_t count) {
  int64_t length = nestedLength(nesting, count);
  return nesting == Nesting::None || count == 0 ? 0
                                                : (count + length - 1) / length;
}

using ByteValues = std::array<float, 256>;

/// The values of the dynamic map; they rise with the byte.
const ByteValues &dynamicMap();

/// The values that bytes stand for before they are scaled. Not for None.
const ByteValues &byteValues(Nesting nesting);

/// One scale: value * scale, for Dynamic plus `offset`, each operation rounded.
/// Everything that dequantizes goes through this function.
float nestedScale(Nesting nesting, float value, float scale, float offset);

} // namespace quantopt

#endif // QUANTOPT_QUANTIZE_NESTEDSCALES_H
