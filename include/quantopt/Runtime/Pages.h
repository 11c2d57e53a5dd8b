//===- Pages.h - Memory that is not needed for now --------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_PAGES_H
#define QUANTOPT_RUNTIME_PAGES_H

#include <cstddef>
#include <memory>

namespace quantopt {

/// Tells the system that `bytes` at `data` will not be read for long. Pages
/// that a file backs leave the resident set and come back when they are read;
/// memory of any other kind keeps its contents too. Nothing happens where the
/// system does not know the request.
void releasePages(const void *data, size_t bytes);

/// So many bytes of zeros, in huge pages where the system has them: what is
/// streamed costs few address translations then. Null if there is no memory.
std::shared_ptr<std::byte> allocateHugePages(size_t bytes);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_PAGES_H
