//===- ReportPageWords.cpp - Numbers and names on the page ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPageParts.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace llvm;

namespace quantopt::lowbit {

static constexpr ErrorLevel levels[] = {
    {1e-3, "small", "small", "as rounding to 6 bits or better."},
    {1e-2, "normal", "normal", "as rounding to 4 or 5 bits."},
    {5e-2, "high", "high", "as rounding to 3 bits."},
    {HUGE_VAL, "very high", "very-high",
     "worse than that. Give the layer more bits, or leave it out with the "
     "option <code>skip</code>."}};

ArrayRef<ErrorLevel> errorLevels() { return levels; }

std::string escaped(StringRef text) {
  std::string out;
  raw_string_ostream os(out);
  printHTMLEscaped(json::fixUTF8(text), os);
  return out;
}

std::string nameHtml(StringRef text) {
  std::string out = "<span class=\"name\">";
  for (char c : escaped(text)) {
    out += c;
    if (c == '.' || c == '/')
      out += "<wbr>"; // long names break here
  }
  return out + "</span>";
}

std::string shortNumber(double value) {
  std::string out;
  raw_string_ostream(out) << format("%.2g", value);
  // 1.6e-05 -> 1.6e-5
  if (size_t zero = out.find("e-0"); zero != std::string::npos)
    out.erase(zero + 2, 1);
  return out;
}

std::string megabytes(double bytes) {
  if (bytes < 1e3)
    return formatv("{0:F0} B", bytes);
  if (bytes < 1e6)
    return formatv("{0:F1} kB", bytes / 1e3);
  return bytes < 1e9 ? formatv("{0:F1} MB", bytes / 1e6)
                     : formatv("{0:F2} GB", bytes / 1e9);
}

std::string plural(int64_t count, StringRef word) {
  return formatv("{0} {1}{2}", count, word, count == 1 ? "" : "s");
}

double errorRatio(const LayerReport &layer) {
  return layer.rtnRelativeError > 0
             ? layer.relativeError / layer.rtnRelativeError
             : 0;
}

std::string errorHtml(double error) {
  // Not a number is no small error.
  const ErrorLevel &level = *find_if(
      levels, [&](const ErrorLevel &level) { return error <= level.upTo; });
  return formatv("<span class=\"level {0}\">{1} {2}</span>", level.cssClass,
                 shortNumber(error), level.name);
}

void writeGroups(const NamesByText &groups, StringRef word, raw_ostream &os) {
  os << "<ul>\n";
  for (const auto &[text, names] : groups) {
    os << "<li>";
    if (names.size() == 1) {
      os << nameHtml(names[0]) << ": " << escaped(text);
    } else {
      os << plural(names.size(), word) << ": " << escaped(text)
         << "<details><summary>which</summary>";
      interleave(
          names, os, [&](StringRef each) { os << nameHtml(each); }, ", ");
      os << "</details>";
    }
    os << "</li>\n";
  }
  os << "</ul>\n";
}

} // namespace quantopt::lowbit
