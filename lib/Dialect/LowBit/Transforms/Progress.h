//===- Progress.h - How far a long pass has come ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PROGRESS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PROGRESS_H

#include "llvm/ADT/StringRef.h"
#include "llvm/Support/raw_ostream.h"

#include <chrono>

namespace quantopt::lowbit {

enum class ProgressStyle { None, Lines, Bar };

/// The style that the option `text` (auto, plain, none) asks for on `os`;
/// nullopt for anything else.
std::optional<ProgressStyle> parseProgressStyle(llvm::StringRef text,
                                                const llvm::raw_ostream &os);

/// Layer, share done and time left, on a terminal as a bar that is redrawn.
class Progress {
public:
  /// `total` is the cost of everything, in any unit.
  Progress(ProgressStyle style, llvm::raw_ostream &os, double total);
  /// `cost` more is done, the last of it `layer`.
  void advance(llvm::StringRef layer, double cost);

  /// Clears the bar, so that other text can follow.
  void finish();

private:
  ProgressStyle style;
  llvm::raw_ostream &os;
  double total, done = 0;
  std::chrono::steady_clock::time_point start;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PROGRESS_H
