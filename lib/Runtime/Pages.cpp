//===- Pages.cpp - Memory that is not needed for now ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Pages.h"

#include <cstdint>
#include <sys/mman.h>
#include <unistd.h>

namespace quantopt {

void releasePages(const void *data, size_t bytes) {
#ifdef MADV_PAGEOUT
  // Only whole pages: the rest of the first and last one belongs to others.
  uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  uintptr_t begin =
      (reinterpret_cast<uintptr_t>(data) + page - 1) / page * page;
  uintptr_t end = (reinterpret_cast<uintptr_t>(data) + bytes) / page * page;
  if (begin < end)
    madvise(reinterpret_cast<void *>(begin), end - begin, MADV_PAGEOUT);
#endif
}

std::shared_ptr<std::byte> allocateHugePages(size_t bytes) {
  constexpr uintptr_t hugePage = uintptr_t(2) << 20;
  size_t mapped = bytes + hugePage;
  void *pages = mmap(nullptr, mapped, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED)
    return nullptr;
  auto begin =
      (reinterpret_cast<uintptr_t>(pages) + hugePage - 1) / hugePage * hugePage;
#ifdef MADV_HUGEPAGE
  madvise(reinterpret_cast<void *>(begin), bytes, MADV_HUGEPAGE);
#endif
  return {reinterpret_cast<std::byte *>(begin),
          [=](std::byte *) { munmap(pages, mapped); }};
}

} // namespace quantopt
