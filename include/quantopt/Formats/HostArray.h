//===- HostArray.h - A typed array in memory --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the readers of this folder return: type, shape and a pointer into
// memory that the array keeps alive (usually a mapped file).
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_HOSTARRAY_H
#define QUANTOPT_FORMATS_HOSTARRAY_H

#include "llvm/ADT/StringRef.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace quantopt {

/// The type of an array's elements.
enum class DType : uint8_t {
  Bool,
  U8,
  I8,
  U16,
  I16,
  U32,
  I32,
  U64,
  I64,
  F8E4M3,
  F8E5M2,
  F8E8M0,
  F16,
  BF16,
  F32,
  F64,
};

/// Bytes of one element.
unsigned itemSize(DType type);

/// The name of `type` as messages and safetensors spell it, e.g. "BF16".
llvm::StringRef dtypeName(DType type);

/// The type of that name, if there is one.
std::optional<DType> dtypeFromName(llvm::StringRef name);

/// Elements in an array of `shape`; nothing when a size is negative or the
/// product does not fit 64 bits. A rank of 0 has one element.
std::optional<int64_t> countElements(const std::vector<int64_t> &shape);

/// A read-only array in C order. Copying it copies no elements.
struct HostArray {
  DType dtype = DType::F32;
  std::vector<int64_t> shape;
  /// Aligned to itemSize(dtype).
  const std::byte *data = nullptr;
  /// Keeps `data` alive.
  std::shared_ptr<const void> owner;

  /// Elements in the array.
  int64_t size() const { return countElements(shape).value_or(0); }
  /// Bytes that `data` points at.
  size_t sizeInBytes() const { return size_t(size()) * itemSize(dtype); }
  /// The elements as `T`, whose size must be that of `dtype`.
  template <typename T> const T *as() const {
    static_assert(std::is_trivially_copyable_v<T>);
    return sizeof(T) == itemSize(dtype) ? reinterpret_cast<const T *>(data)
                                        : nullptr;
  }

  /// An array that owns its memory, not initialised; `bytes` receives the
  /// pointer to fill it through, null when there is not as much memory.
  /// `shape` must have a valid count.
  static HostArray allocate(DType dtype, std::vector<int64_t> shape,
                            std::byte *&bytes);
};

/// Arrays by name, in the order of their names.
using ArrayMap = std::map<std::string, HostArray>;

} // namespace quantopt

#endif // QUANTOPT_FORMATS_HOSTARRAY_H
