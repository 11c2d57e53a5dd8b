//===- WeightsFile.cpp - The constants of an object file ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "WeightsFile.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/xxhash.h"

using namespace quantopt;
using namespace quantopt::execution;

static constexpr uint64_t alignment = 64;

int64_t WeightsFile::add(llvm::StringRef bytes) {
  uint64_t hash = llvm::xxh3_64bits(bytes);
  auto [first, last] = byHash.equal_range(hash);
  for (auto it = first; it != last; ++it)
    if (pieces[it->second].bytes == bytes)
      return pieces[it->second].offset;
  byHash.insert({hash, pieces.size()});
  pieces.push_back({bytes, end, hash});
  end = llvm::alignTo(end + bytes.size(), alignment);
  return pieces.back().offset;
}

uint64_t WeightsFile::digest() const {
  llvm::SmallVector<uint64_t> parts;
  for (const Piece &piece : pieces)
    parts.append({piece.bytes.size(), piece.hash});
  return llvm::xxh3_64bits(
      llvm::StringRef(reinterpret_cast<const char *>(parts.data()),
                      parts.size() * sizeof(uint64_t)));
}

void WeightsFile::write(llvm::raw_ostream &os) const {
  char words[16];
  llvm::support::endian::write64le(words, size());
  llvm::support::endian::write64le(words + 8, digest());
  os << "QOWEIGHT";
  os.write(words, sizeof(words));
  os.write_zeros(alignment - 8 - sizeof(words));
  uint64_t at = alignment;
  for (const Piece &piece : pieces) {
    os.write_zeros(piece.offset - at);
    os << piece.bytes;
    at = piece.offset + piece.bytes.size();
  }
  os.write_zeros(end - at);
}
