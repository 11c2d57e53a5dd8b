//===- Lexer.cpp - PTX text to tokens -------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lexer.h"

#include <bit>
#include <charconv>
#include <cstdlib>

using namespace quantopt::ptx;

static bool isDigit(char c) { return c >= '0' && c <= '9'; }
static bool isWordStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         c == '$' || c == '%';
}
static bool isWordChar(char c) { return isWordStart(c) || isDigit(c); }

namespace {
class Lexer {
public:
  Lexer(std::string_view text) : text(text) {}

  std::vector<Token> run(std::string &error) {
    std::vector<Token> tokens;
    do {
      skipBlanks();
      tokens.push_back(next(error));
    } while (tokens.back().kind != Token::End);
    return tokens;
  }

private:
  char at(size_t i) const { return i < text.size() ? text[i] : '\0'; }

  void skipBlanks() {
    while (pos < text.size()) {
      char c = text[pos];
      if (c == '\n')
        ++line;
      if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
        ++pos;
      } else if (c == '/' && at(pos + 1) == '/') {
        while (pos < text.size() && text[pos] != '\n')
          ++pos;
      } else if (c == '/' && at(pos + 1) == '*') {
        for (pos += 2;
             pos < text.size() && !(text[pos] == '*' && at(pos + 1) == '/');
             ++pos)
          line += text[pos] == '\n';
        pos = std::min(pos + 2, text.size());
      } else {
        break;
      }
    }
  }

  Token make(Token::Kind kind, size_t begin, size_t end, uint64_t value = 0) {
    pos = end;
    return {kind, line, value, text.substr(begin, end - begin)};
  }

  /// A name and what "::" joins to it.
  size_t endOfName(size_t i) const {
    while (true) {
      while (isWordChar(at(i)))
        ++i;
      if (at(i) == ':' && at(i + 1) == ':' && isWordChar(at(i + 2)))
        i += 2;
      else
        return i;
    }
  }

  Token number(std::string &error) {
    size_t begin = pos, i = pos;
    int base = 10;
    char second = at(i + 1);
    if (at(i) == '0' &&
        (second == 'f' || second == 'F' || second == 'd' || second == 'D')) {
      bool isDouble = second == 'd' || second == 'D';
      unsigned digits = isDouble ? 16 : 8;
      uint64_t value = 0;
      auto [end, code] = std::from_chars(text.data() + i + 2,
                                         text.data() + text.size(), value, 16);
      if (code != std::errc() || end != text.data() + i + 2 + digits)
        return bad(error, "float literal");
      return make(isDouble ? Token::Double : Token::Single, begin,
                  i + 2 + digits, value);
    }
    if (at(i) == '0' && (second == 'x' || second == 'X')) {
      base = 16;
      i += 2;
    } else if (at(i) == '0' && (second == 'b' || second == 'B')) {
      base = 2;
      i += 2;
    } else if (at(i) == '0' && isDigit(second)) {
      base = 8;
      i += 1;
    } else {
      size_t end = i;
      while (isDigit(at(end)))
        ++end;
      if (at(end) == '.' && isDigit(at(end + 1))) {
        double value = 0;
        auto [stop, code] =
            std::from_chars(text.data() + i, text.data() + text.size(), value);
        if (code != std::errc())
          return bad(error, "number");
        return make(Token::Double, begin, stop - text.data(),
                    std::bit_cast<uint64_t>(value));
      }
    }
    uint64_t value = 0;
    auto [stop, code] = std::from_chars(text.data() + i,
                                        text.data() + text.size(), value, base);
    if (code != std::errc())
      return bad(error, "number");
    size_t end = stop - text.data();
    if (at(end) == 'U')
      ++end;
    return make(Token::Integer, begin, end, value);
  }

  Token bad(std::string &error, const char *what) {
    if (error.empty())
      error =
          "line " + std::to_string(line) + ": bad " + what + " in the PTX text";
    return make(Token::End, text.size(), text.size());
  }

  Token next(std::string &error) {
    if (pos >= text.size())
      return make(Token::End, text.size(), text.size());
    char c = text[pos];
    if (isWordStart(c)) {
      size_t end = pos + 1;
      while (isWordChar(at(end)))
        ++end;
      return make(Token::Word, pos, end);
    }
    if (c == '.' && isWordChar(at(pos + 1))) {
      size_t begin = pos + 1;
      return make(Token::Dot, begin, endOfName(begin));
    }
    if (isDigit(c))
      return number(error);
    if (c == '"') {
      size_t end = pos + 1;
      while (end < text.size() && text[end] != '"')
        ++end;
      Token token = make(Token::String, pos + 1, end);
      pos = std::min(end + 1, text.size());
      return token;
    }
    if (std::string_view("{}()[]<>,;:=+-*!@|&~").find(c) !=
        std::string_view::npos)
      return make(Token::Punct, pos, pos + 1);
    return bad(error, "character");
  }

  std::string_view text;
  size_t pos = 0;
  unsigned line = 1;
};
} // namespace

std::vector<Token> quantopt::ptx::tokenize(std::string_view text,
                                           std::string &error) {
  return Lexer(text).run(error);
}
