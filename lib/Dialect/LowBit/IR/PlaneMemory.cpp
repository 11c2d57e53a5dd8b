//===- PlaneMemory.cpp - Memory for weights that kernels stream -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/PlaneMemory.h"

#include "quantopt/Dialect/LowBit/IR/BlobData.h"

#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/ErrorHandling.h"
#include "llvm/Support/MathExtras.h"

#include <algorithm>
#include <sys/mman.h>

using namespace mlir;
using namespace quantopt::lowbit;

static constexpr size_t kHugePage = size_t(2) << 20;
static constexpr size_t kChunk = 16 * kHugePage;
static constexpr size_t kAlignment = 64;

/// Huge pages from begin to end. It lives as long as a blob is in it.
struct PlaneMemory::Chunk {
  explicit Chunk(size_t size) : mapped(size + kHugePage), size(size) {
    pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED)
      llvm::report_bad_alloc_error("no memory for packed weights");
    begin = reinterpret_cast<char *>(
        llvm::alignTo(reinterpret_cast<uintptr_t>(pages), kHugePage));
#ifdef MADV_HUGEPAGE
    madvise(begin, size, MADV_HUGEPAGE);
#endif
  }
  Chunk(const Chunk &) = delete;
  ~Chunk() { munmap(pages, mapped); }

  size_t mapped, size;
  void *pages;
  char *begin;
};

AsmResourceBlob PlaneMemory::copy(ArrayRef<ArrayRef<char>> parts) {
  size_t bytes = 0;
  for (ArrayRef<char> part : parts)
    bytes += part.size();
  char *begin = nullptr;
  std::shared_ptr<Chunk> chunk;
  {
    std::lock_guard lock(mutex);
    size_t size = llvm::alignTo(bytes, kAlignment);
    if (!current || used + size > current->size) {
      current = std::make_shared<Chunk>(
          std::max(kChunk, llvm::alignTo(size, kHugePage)));
      used = 0;
    }
    chunk = current;
    begin = chunk->begin + used;
    used += size;
  }
  char *to = begin;
  for (ArrayRef<char> part : parts)
    to = llvm::copy(part, to);
  return AsmResourceBlob(
      ArrayRef<char>(begin, bytes), kAlignment,
      [chunk](void *, size_t, size_t) {}, /*dataIsMutable=*/false);
}

ElementsAttr PlaneMemory::create(RankedTensorType type, StringRef key,
                                 ArrayRef<ArrayRef<char>> parts) {
  ElementsAttr result = createResource(type, key, copy(parts));
  std::lock_guard lock(mutex);
  placed[result] = result;
  return result;
}

ElementsAttr PlaneMemory::place(ElementsAttr attr) {
  auto resource = dyn_cast<DenseResourceElementsAttr>(attr);
  if (!resource || !resource.getRawHandle().getBlob())
    return attr;
  {
    std::lock_guard lock(mutex);
    if (ElementsAttr found = placed.lookup(attr))
      return found;
  }
  StringRef key = resource.getRawHandle().getKey();
  auto type = cast<RankedTensorType>(resource.getShapedType());
  ElementsAttr result =
      create(type, key, resource.getRawHandle().getBlob()->getData());
  std::lock_guard lock(mutex);
  placed[attr] = result;
  return result;
}
