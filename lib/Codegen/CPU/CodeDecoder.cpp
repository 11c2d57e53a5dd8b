//===- CodeDecoder.cpp - From packed codes to what is multiplied ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CodeDecoder.h"

#include <cmath>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

static constexpr int64_t kByteMiddle = 128;

/// The smallest multiple of the table that is integer, if it fits signed bytes,
/// else the largest that does; entries are rounded.
static float byteScale(std::span<const float, 16> table) {
  float largest = 0;
  for (float value : table)
    largest = std::max(largest, std::abs(value));
  for (float scale = 1; scale * largest <= 127; ++scale)
    if (llvm::all_of(table, [&](float value) {
          return value * scale == std::round(value * scale);
        }))
      return scale;
  return 127 / largest;
}

CodeDecoder::CodeDecoder(KernelBuilder &builder, const Scheme &scheme,
                         Compute compute, const VectorTarget &target)
    : b(builder), scheme(scheme), compute(compute), target(target),
      words(b.vector(target.lanes(), b.getI32Type())) {
  bool hasTable = scheme.table != CodeTable::Linear;
  int64_t middle = int64_t(1) << (scheme.bits - 1);
  if (compute != Compute::I8) {
    // Operands are around 0, where floats are exact.
    if (!hasTable)
      added = middle;
    return;
  }
  int64_t largest = hasTable ? 255 : scheme.maxCode();
  hasSignedBytes = !target.multipliesUnsigned(largest);
  if (hasTable) {
    auto table = tableValues(scheme.table);
    float scale = byteScale(table);
    multiplied = 1 / scale;
    for (float value : table)
      byteTable.push_back(int64_t(std::round(value * scale)) +
                          (hasSignedBytes ? 0 : kByteMiddle));
    // The middle code of the scheme stands for nothing here: see bias().
    added = hasSignedBytes ? middle : middle - kByteMiddle;
  } else if (hasSignedBytes) {
    added = kByteMiddle;
  }
}

Value CodeDecoder::line(Block &block, int64_t index) {
  block.lines.resize(scheme.bits);
  Value &value = block.lines[index];
  if (!value)
    value = b.load(words, block.address, index * line::kLineBytes);
  return value;
}

/// The codes of 4 neighbours in k: a byte each.
Value CodeDecoder::codes(Block &block, int64_t step) {
  Value result;
  for (auto [width, shift, offset] : line::Pieces(scheme.bits)) {
    int64_t perLine = 8 / width; // steps
    Value part = line(block, shift + step / perLine);
    if (width < 8) {
      int64_t mask = 0x01010101 * ((int64_t(1) << width) - 1);
      part = b.bitAnd(b.shiftRight(part, step % perLine * width), mask);
    }
    part = b.shiftLeft(part, shift);
    result = result ? b.bitOr(result, part) : part;
  }
  return result;
}

Value CodeDecoder::byteOperand(Block &block, int64_t step) {
  Value value = codes(block, step);
  if (!byteTable.empty())
    return target.lookupBytes(b, byteTable, value);
  if (hasSignedBytes && added) // the top bit turned round: code - 128
    return arith::XOrIOp::create(b, value, b.splatInt(words, 0x80808080));
  return value;
}

/// Codes in i32 lanes as f32, around 0.
Value CodeDecoder::centered(Value lanes) {
  Value middle = b.splatInt(words, added);
  return b.toFloat(arith::SubIOp::create(b, lanes, middle));
}

static float tableOrCode(const Scheme &scheme, int64_t code, int64_t bias) {
  if (scheme.table != CodeTable::Linear)
    return tableValues(scheme.table)[code];
  return float(code - bias);
}

Value CodeDecoder::pairOperand(Block &block, int64_t word) {
  int64_t step = word / 2, odd = word % 2;
  if (scheme.bits <= 5 && target.hasLookupHalves()) {
    // Of 4 bits the line serves as it is: the fifth bit of an index is another
    // code's, and both halves of the table are the same.
    Value index = scheme.bits == 4
                      ? b.shiftRight(line(block, step / 2), step % 2 * 4)
                      : codes(block, step);
    SmallVector<int64_t> table;
    int64_t entries = int64_t(1) << scheme.bits;
    for (int64_t i = 0; i < 32; ++i)
      table.push_back(encodeFloat(FloatKind::BF16,
                                  tableOrCode(scheme, i % entries, added)));
    return target.lookupHalves(b, table, b.shiftRight(index, 8 * odd));
  }
  Value value = b.shiftRight(codes(block, step), 8 * odd);
  auto half = [&](int64_t shift) -> Value {
    Value code = b.bitAnd(b.shiftRight(value, shift), 0xff);
    if (scheme.table != CodeTable::Linear) {
      SmallVector<float> table;
      for (float entry : tableValues(scheme.table))
        table.push_back(roundTo(FloatKind::BF16, entry));
      return b.bitcast(words, target.lookupFloats(b, table, code));
    }
    return b.bitcast(words, centered(code));
  };
  // The upper halves of f32, which hold integers up to 256 exactly.
  return b.bitOr(b.shiftRight(half(0), 16), b.bitAnd(half(16), 0xffff0000));
}

Value CodeDecoder::floatOperand(Block &block, int64_t word) {
  int64_t step = word / 4, byte = word % 4;
  bool hasTable = scheme.table != CodeTable::Linear;
  bool looksUp = hasTable || (scheme.bits <= 4 && target.hasLookupHalves());
  if (!looksUp)
    return centered(b.bitAnd(b.shiftRight(codes(block, step), 8 * byte), 0xff));
  // The table is found by the low 4 bits of a lane.
  Value index = scheme.bits == 4 ? b.shiftRight(line(block, step / 2),
                                                8 * byte + step % 2 * 4)
                                 : b.shiftRight(codes(block, step), 8 * byte);
  SmallVector<float> table;
  int64_t entries = int64_t(1) << scheme.bits;
  for (int64_t i = 0; i < 16; ++i)
    table.push_back(tableOrCode(scheme, i % entries, added));
  return target.lookupFloats(b, table, index);
}

Value CodeDecoder::operand(Block &block, int64_t word) {
  switch (compute) {
  case Compute::I8:
    return byteOperand(block, word);
  case Compute::BF16:
    return pairOperand(block, word);
  case Compute::F32:
    return floatOperand(block, word);
  }
  llvm_unreachable("all handled");
}
