//===- ArrayIO.cpp - Arrays of a tensor type, made and printed ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ArrayIO.h"

#include "quantopt/Runtime/Matrix.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace quantopt;

bool execution::elementMatches(Type element, DType dtype) {
  switch (dtype) {
  case DType::Bool:
    return element.isInteger(1);
  case DType::U8:
  case DType::I8:
    return element.isInteger(8);
  case DType::U16:
  case DType::I16:
    return element.isInteger(16);
  case DType::U32:
  case DType::I32:
    return element.isInteger(32);
  case DType::U64:
  case DType::I64:
    return element.isInteger(64);
  case DType::F16:
    return element.isF16();
  case DType::BF16:
    return element.isBF16();
  case DType::F32:
    return element.isF32();
  case DType::F64:
    return element.isF64();
  default:
    return false;
  }
}

std::optional<DType> execution::dtypeOf(Type element) {
  for (DType dtype :
       {DType::Bool, DType::I8, DType::I16, DType::I32, DType::I64, DType::F16,
        DType::BF16, DType::F32, DType::F64})
    if (elementMatches(element, dtype))
      return dtype;
  return std::nullopt;
}

std::vector<int64_t> execution::readIntegers(const HostArray &array) {
  std::vector<int64_t> values(array.size());
  auto copy = [&](auto *data) {
    std::copy_n(data, values.size(), values.data());
  };
  switch (array.dtype) {
  case DType::U8:
    copy(array.as<uint8_t>());
    break;
  case DType::I8:
    copy(array.as<int8_t>());
    break;
  case DType::U16:
    copy(array.as<uint16_t>());
    break;
  case DType::I16:
    copy(array.as<int16_t>());
    break;
  case DType::U32:
    copy(array.as<uint32_t>());
    break;
  case DType::I32:
    copy(array.as<int32_t>());
    break;
  case DType::U64:
    copy(array.as<uint64_t>());
    break;
  case DType::I64:
    copy(array.as<int64_t>());
    break;
  default:
    return {};
  }
  return values;
}

HostArray execution::makeUp(RankedTensorType type, std::mt19937 &random) {
  std::vector<int64_t> shape(type.getShape());
  Type element = type.getElementType();
  std::byte *bytes;
  auto fill = [&](auto zero, DType dtype, auto next) {
    HostArray array = HostArray::allocate(dtype, shape, bytes);
    auto *values = reinterpret_cast<decltype(zero) *>(bytes);
    for (int64_t i = 0; i < array.size(); ++i)
      values[i] = next();
    return array;
  };
  // Sums of uniform numbers: the standard does not fix normal_distribution.
  auto normal = [&] {
    double sum = -6;
    for (int i = 0; i < 12; ++i)
      sum += random() / 4294967296.0;
    return sum;
  };
  auto half = [&](FloatKind kind) {
    return [&, kind] {
      float value = normal();
      uint16_t bits;
      narrow(kind, &value, 1, &bits);
      return bits;
    };
  };
  auto small = [&] { return random() % 16; };
  if (element.isF32())
    return fill(float(), DType::F32, normal);
  if (element.isF64())
    return fill(double(), DType::F64, normal);
  if (element.isF16())
    return fill(uint16_t(), DType::F16, half(FloatKind::F16));
  if (element.isBF16())
    return fill(uint16_t(), DType::BF16, half(FloatKind::BF16));
  if (element.isInteger(1))
    return fill(uint8_t(), DType::Bool, [&] { return random() % 2; });
  if (element.isInteger(8))
    return fill(int8_t(), DType::I8, small);
  if (element.isInteger(16))
    return fill(int16_t(), DType::I16, small);
  if (element.isInteger(32))
    return fill(int32_t(), DType::I32, small);
  return fill(int64_t(), DType::I64, small);
}

void execution::printArray(const HostArray &array, llvm::raw_ostream &os) {
  os << "[";
  llvm::interleave(array.shape, os, ", ");
  os << "] " << dtypeName(array.dtype) << ":";
  int64_t shown = std::min<int64_t>(array.size(), 64);
  for (int64_t i = 0; i < shown; ++i) {
    os << " ";
    float wide;
    switch (array.dtype) {
    case DType::F32:
      os << llvm::format("%.7g", array.as<float>()[i]);
      break;
    case DType::F64:
      os << llvm::format("%.15g", array.as<double>()[i]);
      break;
    case DType::F16:
    case DType::BF16:
      widen(array.dtype == DType::F16 ? FloatKind::F16 : FloatKind::BF16,
            array.as<uint16_t>() + i, 1, &wide);
      os << llvm::format("%.5g", wide);
      break;
    case DType::Bool:
    case DType::U8:
      os << int(array.as<uint8_t>()[i]);
      break;
    case DType::I8:
      os << int(array.as<int8_t>()[i]);
      break;
    case DType::I16:
      os << array.as<int16_t>()[i];
      break;
    case DType::I32:
      os << array.as<int32_t>()[i];
      break;
    default:
      os << array.as<int64_t>()[i];
    }
  }
  os << (shown < array.size() ? " ...\n" : "\n");
}
