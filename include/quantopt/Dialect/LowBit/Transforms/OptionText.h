//===- OptionText.h - A pass option that may be left open -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_OPTIONTEXT_H
#define QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_OPTIONTEXT_H

#include "llvm/Support/CommandLine.h"

#include <charconv>

namespace quantopt::lowbit {

/// The value of a pass option as one types it. Empty is "not given", which no
/// default value could say: recipes and presets fill in only what is not given.
/// From C++ it takes numbers and bools as well: `options.bits = 8`.
class OptionText {
public:
  OptionText() = default;
  OptionText(std::string text) : text(std::move(text)) {}
  OptionText(llvm::StringRef text) : text(text) {}
  OptionText(const char *text) : text(text) {}
  template <typename T, typename = std::enable_if_t<std::is_arithmetic_v<T>>>
  OptionText(T value) {
    if constexpr (std::is_same_v<T, bool>) {
      text = value ? "true" : "false";
    } else {
      char digits[64];
      text.assign(digits,
                  std::to_chars(digits, std::end(digits), value).ptr - digits);
    }
  }

  bool empty() const { return text.empty(); }
  const std::string &str() const { return text; }

  friend llvm::raw_ostream &operator<<(llvm::raw_ostream &os,
                                       const OptionText &option) {
    return os << option.text;
  }

private:
  std::string text;
};

} // namespace quantopt::lowbit

/// Reads any text; an option without a value, as in `symmetric`, is true.
template <>
class llvm::cl::parser<quantopt::lowbit::OptionText>
    : public llvm::cl::basic_parser<quantopt::lowbit::OptionText> {
public:
  using basic_parser::basic_parser;

  bool parse(Option &, StringRef, StringRef text,
             quantopt::lowbit::OptionText &value) {
    value = text.empty() ? StringRef("true") : text;
    return false;
  }
  ValueExpected getValueExpectedFlagDefault() const { return ValueOptional; }
  void printOptionDiff(const Option &option,
                       const quantopt::lowbit::OptionText &, const OptVal &,
                       size_t globalWidth) const {
    printOptionNoValue(option, globalWidth);
  }
};

#endif // QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_OPTIONTEXT_H
