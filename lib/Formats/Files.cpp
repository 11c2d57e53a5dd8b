//===- Files.cpp - Whole files in and out ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/Files.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;

namespace quantopt {

Error fileError(StringRef path, const Twine &message) {
  return createStringError(inconvertibleErrorCode(), path + ": " + message);
}

/// The system's messages begin with a capital; ours do not.
static std::string describe(std::error_code code) {
  std::string text = code.message();
  if (text.size() > 1 && text[1] >= 'a' && text[1] <= 'z')
    text[0] = toLower(text[0]);
  return text;
}

Expected<std::shared_ptr<MemoryBuffer>> mapFile(StringRef path) {
  sys::fs::file_status status;
  if (std::error_code code = sys::fs::status(path, status))
    return fileError(path, "cannot be read: " + describe(code));
  if (status.type() != sys::fs::file_type::regular_file)
    return fileError(path, "cannot be read: not a regular file");
  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer =
      MemoryBuffer::getFile(path, /*IsText=*/false,
                            /*RequiresNullTerminator=*/false);
  if (std::error_code code = buffer.getError())
    return fileError(path, "cannot be read: " + describe(code));
  return std::shared_ptr<MemoryBuffer>(std::move(*buffer));
}

Error writeFile(StringRef path, function_ref<Error(raw_ostream &)> write) {
  auto failed = [&](std::error_code code) {
    return fileError(path, "cannot be written: " + describe(code));
  };
  auto fill = [&](int descriptor) -> Error {
    raw_fd_ostream stream(descriptor, /*shouldClose=*/false);
    Error error = write(stream);
    stream.flush();
    if (stream.has_error()) {
      error = joinErrors(std::move(error), failed(stream.error()));
      // Else the destructor ends the process.
      stream.clear_error();
    }
    return error;
  };

  sys::fs::file_status status;
  bool exists = !sys::fs::status(path, status);
  if (exists && status.type() == sys::fs::file_type::directory_file)
    return fileError(path, "cannot be written: it is a folder");
  if (exists && status.type() != sys::fs::file_type::regular_file) {
    // A device or a pipe takes what comes and must not be replaced.
    int descriptor;
    if (std::error_code code = sys::fs::openFileForWrite(
            path, descriptor, sys::fs::CD_OpenExisting))
      return failed(code);
    Error error = fill(descriptor);
    sys::fs::file_t native = sys::fs::convertFDToNativeFile(descriptor);
    if (std::error_code code = sys::fs::closeFile(native))
      error = joinErrors(std::move(error), failed(code));
    return error;
  }

  Expected<sys::fs::TempFile> file = sys::fs::TempFile::create(
      path + ".%%%%%%.tmp", sys::fs::all_read | sys::fs::all_write);
  if (!file)
    return failed(errorToErrorCode(file.takeError()));
  if (Error error = fill(file->FD))
    return joinErrors(std::move(error), file->discard());
  // On failure this removes the temporary file too.
  if (Error error = file->keep(path))
    return failed(errorToErrorCode(std::move(error)));
  return Error::success();
}

} // namespace quantopt
