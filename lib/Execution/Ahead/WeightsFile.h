//===- WeightsFile.h - The constants of an object file ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_AHEAD_WEIGHTSFILE_H
#define QUANTOPT_LIB_EXECUTION_AHEAD_WEIGHTSFILE_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdint>
#include <map>
#include <vector>

namespace quantopt::execution {

/// A header of 64 bytes ("QOWEIGHT", the size of the file and a digest, both 64
/// bits little-endian, zeros), then constants, each at a multiple of 64. Equal
/// ones are written once, whichever entry they come from. Nothing is copied.
class WeightsFile {
public:
  /// Where the constant will be, from the beginning of the file.
  int64_t add(llvm::StringRef bytes);

  uint64_t size() const { return end; }
  /// Of all that add() was given.
  uint64_t digest() const;
  void write(llvm::raw_ostream &os) const;

private:
  struct Piece {
    llvm::StringRef bytes;
    uint64_t offset, hash;
  };
  uint64_t end = 64;
  std::vector<Piece> pieces;
  std::multimap<uint64_t, size_t> byHash;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_AHEAD_WEIGHTSFILE_H
