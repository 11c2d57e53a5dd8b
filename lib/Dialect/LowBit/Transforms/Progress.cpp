//===- Progress.cpp - How far a long pass has come ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Progress.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace quantopt::lowbit {

std::optional<ProgressStyle> parseProgressStyle(StringRef text,
                                                const raw_ostream &os) {
  return StringSwitch<std::optional<ProgressStyle>>(text)
      .Case("auto",
            os.is_displayed() ? ProgressStyle::Bar : ProgressStyle::Lines)
      .Case("plain", ProgressStyle::Lines)
      .Case("none", ProgressStyle::None)
      .Default(std::nullopt);
}

Progress::Progress(ProgressStyle style, raw_ostream &os, double total)
    : style(style), os(os), total(total),
      start(std::chrono::steady_clock::now()) {}

void Progress::finish() {
  if (style == ProgressStyle::Bar)
    os << "\r\033[K";
}

void Progress::advance(StringRef layer, double cost) {
  done += cost;
  if (style == ProgressStyle::None)
    return;
  double share = total > 0 ? std::min(1.0, done / total) : 1;
  double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start)
          .count();
  double left = share > 0 ? seconds * (1 - share) / share : 0;
  std::string numbers = formatv("{0,5:P0}  {1,6:F1} s, {2,6:F1} s left  {3}",
                                share, seconds, left, layer);
  if (style == ProgressStyle::Lines) {
    os << numbers << "\n";
    return;
  }
  constexpr unsigned width = 30;
  unsigned filled = static_cast<unsigned>(share * width);
  os << "\r[" << std::string(filled, '#') << std::string(width - filled, ' ')
     << "] " << numbers << "\033[K";
  os.flush();
}

} // namespace quantopt::lowbit
