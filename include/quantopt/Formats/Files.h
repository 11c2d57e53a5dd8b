//===- Files.h - Whole files in and out -------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Input files are mapped, output files appear whole or not at all.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_FORMATS_FILES_H
#define QUANTOPT_FORMATS_FILES_H

#include "llvm/ADT/STLFunctionalExtras.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/MemoryBuffer.h"

#include <memory>

namespace llvm {
class raw_ostream;
} // namespace llvm

namespace quantopt {

/// The error "`path`: `message`".
llvm::Error fileError(llvm::StringRef path, const llvm::Twine &message);

/// The bytes of the regular file `path`, mapped where that pays. Anything
/// that is no regular file (a folder, a pipe, a device) is refused.
llvm::Expected<std::shared_ptr<llvm::MemoryBuffer>>
mapFile(llvm::StringRef path);

/// Lets `write` fill a temporary file beside `path` and renames it to `path`.
/// On any error, of `write` or of the file system, the temporary file is
/// removed and what stood at `path` before stays.
llvm::Error
writeFile(llvm::StringRef path,
          llvm::function_ref<llvm::Error(llvm::raw_ostream &)> write);

} // namespace quantopt

#endif // QUANTOPT_FORMATS_FILES_H
