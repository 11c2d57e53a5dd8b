//===- BufferPool.cpp - Memory of activations -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/BufferPool.h"

#include <algorithm>
#include <cstdlib>
#include <map>
#include <mutex>
#include <sys/mman.h>

using namespace quantopt;

namespace {

constexpr int64_t alignment = 64;
/// From here on a block is mapped by itself, so that freeing it lowers the
/// resident size at once.
constexpr int64_t mapThreshold = 256 << 10;
/// From here on a block is of huge pages: there are 512 times fewer of them to
/// be found and cleared by the system when it is first written.
constexpr int64_t hugeThreshold = 4 << 20;
/// Free blocks beyond this go back to the system.
constexpr int64_t cacheLimit = 192 << 20;

/// Stands before every block; as long as the alignment.
struct alignas(alignment) Header {
  int64_t capacity; // of the block, header included
};

class Pool {
public:
  void *allocate(int64_t bytes) {
    int64_t wanted = roundUp(std::max<int64_t>(bytes, 1) + sizeof(Header));
    Header *header = nullptr;
    {
      std::lock_guard lock(mutex);
      auto it = free.lower_bound(wanted);
      // A much larger block is kept for who needs it.
      if (it != free.end() && it->first <= wanted + wanted / 4) {
        header = it->second;
        cached -= it->first;
        free.erase(it);
      }
      if (header) {
        live += header->capacity;
        peak = std::max(peak, live);
      }
    }
    if (!header) {
      header = fresh(wanted);
      if (!header)
        return nullptr;
      header->capacity = wanted;
      std::lock_guard lock(mutex);
      live += wanted;
      peak = std::max(peak, live);
    }
    return header + 1;
  }

  void release(void *block) {
    if (!block)
      return;
    Header *header = static_cast<Header *>(block) - 1;
    std::lock_guard lock(mutex);
    live -= header->capacity;
    cached += header->capacity;
    free.emplace(header->capacity, header);
    // The largest go first: few calls give much back.
    while (cached > cacheLimit)
      drop(std::prev(free.end()));
  }

  void trim() {
    std::lock_guard lock(mutex);
    while (!free.empty())
      drop(free.begin());
  }

  PoolUse use() {
    std::lock_guard lock(mutex);
    return {live, cached, peak};
  }

private:
  using FreeList = std::multimap<int64_t, Header *>;

  static int64_t roundUp(int64_t bytes) {
    int64_t unit = bytes >= mapThreshold ? 4096 : alignment;
    return (bytes + unit - 1) / unit * unit;
  }

  static Header *fresh(int64_t bytes) {
    if (bytes < mapThreshold)
      return static_cast<Header *>(std::aligned_alloc(alignment, bytes));
    void *memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
      return nullptr;
#ifdef MADV_HUGEPAGE
    if (bytes >= hugeThreshold)
      madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<Header *>(memory);
  }

  void drop(FreeList::iterator it) {
    auto [bytes, header] = *it;
    cached -= bytes;
    free.erase(it);
    if (bytes < mapThreshold)
      std::free(header);
    else
      munmap(header, bytes);
  }

  std::mutex mutex;
  FreeList free;
  int64_t live = 0, cached = 0, peak = 0;
};

/// Never destroyed: results may outlive every other static object.
Pool &pool() {
  static Pool *instance = new Pool;
  return *instance;
}

} // namespace

void *quantopt::poolAllocate(int64_t bytes) { return pool().allocate(bytes); }
void quantopt::poolFree(void *block) { pool().release(block); }
void quantopt::poolTrim() { pool().trim(); }
PoolUse quantopt::poolUse() { return pool().use(); }
