//===- HostArray.cpp - A typed array in memory ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/HostArray.h"

#include "llvm/Support/MathExtras.h"

#include <new>

using namespace llvm;

namespace quantopt {

namespace {
struct TypeRow {
  DType type;
  unsigned size;
  StringLiteral name;
};
} // namespace

static constexpr TypeRow table[] = {
    {DType::Bool, 1, "BOOL"},      {DType::U8, 1, "U8"},
    {DType::I8, 1, "I8"},          {DType::U16, 2, "U16"},
    {DType::I16, 2, "I16"},        {DType::U32, 4, "U32"},
    {DType::I32, 4, "I32"},        {DType::U64, 8, "U64"},
    {DType::I64, 8, "I64"},        {DType::F8E4M3, 1, "F8_E4M3"},
    {DType::F8E5M2, 1, "F8_E5M2"}, {DType::F8E8M0, 1, "F8_E8M0"},
    {DType::F16, 2, "F16"},        {DType::BF16, 2, "BF16"},
    {DType::F32, 4, "F32"},        {DType::F64, 8, "F64"},
};

unsigned itemSize(DType type) { return table[unsigned(type)].size; }

StringRef dtypeName(DType type) { return table[unsigned(type)].name; }

std::optional<DType> dtypeFromName(StringRef name) {
  for (const TypeRow &row : table)
    if (row.name == name)
      return row.type;
  return std::nullopt;
}

std::optional<int64_t> countElements(const std::vector<int64_t> &shape) {
  bool empty = false;
  for (int64_t size : shape) {
    if (size < 0)
      return std::nullopt;
    empty |= size == 0;
  }
  if (empty)
    return 0;
  int64_t count = 1;
  for (int64_t size : shape)
    if (MulOverflow(count, size, count))
      return std::nullopt;
  return count;
}

HostArray HostArray::allocate(DType dtype, std::vector<int64_t> shape,
                              std::byte *&bytes) {
  HostArray array;
  array.dtype = dtype;
  array.shape = std::move(shape);
  constexpr std::align_val_t alignment{64};
  size_t size = array.sizeInBytes();
  bytes = static_cast<std::byte *>(
      ::operator new(size ? size : 1, alignment, std::nothrow));
  if (!bytes)
    return array;
  array.data = bytes;
  array.owner = std::shared_ptr<const void>(bytes, [](const void *pointer) {
    ::operator delete(const_cast<void *>(pointer), alignment);
  });
  return array;
}

} // namespace quantopt
