//===- TestFiles.h - Files that a test makes --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_UNITTESTS_FORMATS_TESTFILES_H
#define QUANTOPT_UNITTESTS_FORMATS_TESTFILES_H

#include "quantopt/Formats/HostArray.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>
#include <gtest/gtest.h>
#include <string>

namespace quantopt::test {

/// A folder of the test's own, removed at its end.
class Folder : public ::testing::Test {
protected:
  void SetUp() override {
    ASSERT_FALSE(llvm::sys::fs::createUniqueDirectory("quantopt", folder));
  }
  void TearDown() override { llvm::sys::fs::remove_directories(folder); }

  std::string path(llvm::StringRef name) const {
    llvm::SmallString<128> result = folder;
    llvm::sys::path::append(result, name);
    return result.str().str();
  }

  /// Writes `bytes` to the file `name` and returns its path.
  std::string write(llvm::StringRef name, llvm::StringRef bytes) const {
    std::error_code code;
    llvm::raw_fd_ostream stream(path(name), code);
    EXPECT_FALSE(code);
    stream << bytes;
    return path(name);
  }

  static std::string read(const std::string &path) {
    auto buffer = llvm::MemoryBuffer::getFile(path);
    return buffer ? (*buffer)->getBuffer().str() : "";
  }

  /// How many files the folder holds.
  int countFiles() const {
    int count = 0;
    std::error_code code;
    for (llvm::sys::fs::directory_iterator i(folder, code), end;
         i != end && !code; i.increment(code))
      ++count;
    return count;
  }

  llvm::SmallString<128> folder;
};

/// The message of the error in `result`; empty if it holds a value.
template <typename T> std::string message(llvm::Expected<T> result) {
  return result ? "" : llvm::toString(result.takeError());
}

/// The value of `result`, after a failure an empty one.
template <typename T> T value(llvm::Expected<T> result) {
  if (result)
    return std::move(*result);
  ADD_FAILURE() << llvm::toString(result.takeError());
  return T();
}

inline void expectSuccess(llvm::Error error) {
  if (error)
    ADD_FAILURE() << llvm::toString(std::move(error));
}

#define EXPECT_CONTAINS(text, part)                                            \
  EXPECT_NE(std::string(text).find(part), std::string::npos) << text

/// An array that owns a copy of `values`.
template <typename T>
HostArray makeArray(DType type, std::vector<int64_t> shape,
                    llvm::ArrayRef<T> values) {
  std::byte *bytes;
  HostArray array = HostArray::allocate(type, std::move(shape), bytes);
  if (!values.empty())
    std::memcpy(bytes, values.data(), values.size() * sizeof(T));
  return array;
}

/// The bytes of `value` in memory order.
template <typename T> std::string raw(T value) {
  return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

/// Reads every byte of `array`: where a pointer is wrong, the sanitizer says.
inline unsigned touch(const HostArray &array) {
  unsigned sum = 0;
  for (size_t i = 0; i < array.sizeInBytes(); ++i)
    sum += unsigned(array.data[i]);
  return sum;
}

inline unsigned touch(const ArrayMap &arrays) {
  unsigned sum = 0;
  for (const auto &[name, array] : arrays)
    sum += touch(array);
  return sum;
}

/// Feeds `read` every shorter form of `bytes` and every form with one of its
/// first `count` bytes changed. Whatever it answers, it must not crash; what
/// it accepts must be readable to the last byte. `parse` takes the bytes.
template <typename Parse>
void abuse(llvm::StringRef bytes, size_t count, Parse parse) {
  for (size_t length = 0; length < bytes.size(); ++length) {
    auto result = parse(bytes.take_front(length).str());
    EXPECT_FALSE(bool(result)) << "accepted when cut to " << length;
    if (result)
      touch(*result);
    else
      llvm::consumeError(result.takeError());
  }
  for (size_t i = 0; i < std::min(count, bytes.size()); ++i)
    for (unsigned change : {0x01, 0x02, 0x10, 0x20, 0x80, 0xff, 0x7f}) {
      std::string copy = bytes.str();
      copy[i] = char(uint8_t(copy[i]) ^ change);
      auto result = parse(std::move(copy));
      if (result)
        touch(*result);
      else
        EXPECT_FALSE(llvm::toString(result.takeError()).empty());
    }
}

} // namespace quantopt::test

#endif // QUANTOPT_UNITTESTS_FORMATS_TESTFILES_H
