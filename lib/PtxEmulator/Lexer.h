//===- Lexer.h - PTX text to tokens -----------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_LEXER_H
#define QUANTOPT_LIB_PTXEMULATOR_LEXER_H

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quantopt::ptx {

struct Token {
  enum Kind : uint8_t {
    Word,    ///< a name: add, %r1, $L__BB0_1
    Dot,     ///< .u32, .shared::cta; `text` is without the first dot
    Integer, ///< `value`
    Single,  ///< 0f3F800000; `value` holds the bits
    Double,  ///< 0d..., and decimal fractions
    String,  ///< `text` is without the quotes
    Punct,   ///< one character
    End,
  };
  Kind kind = End;
  unsigned line = 0;
  uint64_t value = 0;
  std::string_view text;

  bool is(char c) const { return kind == Punct && text[0] == c; }
  bool isWord(std::string_view word) const {
    return kind == Word && text == word;
  }
  bool isDot(std::string_view word) const {
    return kind == Dot && text == word;
  }
};

/// Tokens of `text`, which they point into; the last one is End. On a bad
/// character `error` is set.
std::vector<Token> tokenize(std::string_view text, std::string &error);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_LEXER_H
