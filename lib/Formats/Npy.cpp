//===- Npy.cpp - NumPy array files ----------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/Npy.h"
#include "quantopt/Formats/Files.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>

using namespace llvm;

namespace quantopt {

static constexpr StringLiteral magic("\x93NUMPY");

/// Headers are a few dozen bytes; this is room for any honest one.
static constexpr uint32_t maxHeader = 1 << 20;

namespace {
struct NumpyType {
  StringLiteral name; ///< without the byte order
  DType type;
};

/// What the header of an array file says.
struct Header {
  std::optional<std::string> descr;
  std::optional<bool> fortranOrder;
  std::optional<std::vector<int64_t>> shape;
};

/// Reads the header: a Python dictionary of a string, a boolean and a tuple.
class HeaderParser {
public:
  explicit HeaderParser(StringRef text) : rest(text) {}

  /// False when the text is no such dictionary.
  bool parse(Header &header) {
    if (!take('{'))
      return false;
    while (!take('}')) {
      std::string key;
      if (!parseString(key) || !take(':'))
        return false;
      if (key == "descr" && !header.descr) {
        header.descr.emplace();
        // A list means a structure: `descr` stays empty and is refused later.
        if (peek() == '[')
          return true;
        if (!parseString(*header.descr))
          return false;
      } else if (key == "fortran_order" && !header.fortranOrder) {
        if (take("True"))
          header.fortranOrder = true;
        else if (take("False"))
          header.fortranOrder = false;
        else
          return false;
      } else if (key == "shape" && !header.shape) {
        if (!parseTuple(header.shape.emplace()))
          return false;
      } else {
        return false;
      }
      if (!take(',') && peek() != '}')
        return false;
    }
    return peek() == '\0' && header.descr && header.fortranOrder &&
           header.shape;
  }

private:
  char peek() {
    rest = rest.ltrim();
    return rest.empty() ? '\0' : rest.front();
  }

  bool take(StringRef token) {
    rest = rest.ltrim();
    return rest.consume_front(token);
  }
  bool take(char token) { return take(StringRef(&token, 1)); }

  bool parseString(std::string &result) {
    char quote = peek();
    if (quote != '\'' && quote != '"')
      return false;
    size_t end = rest.find(quote, 1);
    if (end == StringRef::npos)
      return false;
    result = rest.slice(1, end).str();
    rest = rest.drop_front(end + 1);
    return true;
  }

  bool parseTuple(std::vector<int64_t> &result) {
    if (!take('('))
      return false;
    while (!take(')')) {
      uint64_t size;
      rest = rest.ltrim();
      if (rest.consumeInteger(10, size) || size > uint64_t(INT64_MAX))
        return false;
      rest.consume_front("L"); // as Python 2 wrote it
      result.push_back(int64_t(size));
      if (!take(',') && peek() != ')')
        return false;
    }
    return true;
  }

  StringRef rest;
};
} // namespace

static constexpr NumpyType types[] = {
    {"b1", DType::Bool}, {"u1", DType::U8},  {"i1", DType::I8},
    {"u2", DType::U16},  {"i2", DType::I16}, {"u4", DType::U32},
    {"i4", DType::I32},  {"u8", DType::U64}, {"i8", DType::I64},
    {"f2", DType::F16},  {"f4", DType::F32}, {"f8", DType::F64},
};

/// The type that `descr` means ("<f4", "|u1"), or why it is refused.
static Expected<DType> parseType(StringRef file, StringRef descr) {
  if (descr.empty())
    return fileError(file, "the array holds structures; save each field as "
                           "an array of its own");
  char order = descr.front();
  StringRef name = descr.drop_front();
  if (order == '|' && name.starts_with("O"))
    return fileError(file, "the array holds Python objects; save numbers, "
                           "e.g. array.astype('float32')");
  for (const NumpyType &row : types) {
    if (row.name != name)
      continue;
    if (order == '>' && itemSize(row.type) > 1)
      return fileError(file, "the array is big-endian; save it as "
                             "array.astype('<" +
                                 name + "')");
    if (order == '<' || order == '=' || order == '|' || order == '>')
      return row.type;
  }
  return fileError(file, "elements of type '" + descr +
                             "' are not supported; save float16, float32, "
                             "float64, an integer type or bool");
}

Expected<HostArray> parseNpy(StringRef name, StringRef bytes,
                             std::shared_ptr<const void> owner) {
  // Six bytes of magic, two of version, the length of the header.
  if (!bytes.starts_with(magic) || bytes.size() < 10)
    return fileError(name, "not a .npy file; write it with numpy.save");
  unsigned major = uint8_t(bytes[6]);
  if (major < 1 || major > 3)
    return fileError(name, "version " + Twine(major) +
                               " of the .npy format is not known (1 to 3 are)");
  size_t begin = major == 1 ? 10 : 12;
  if (bytes.size() < begin)
    return fileError(name, "the header is cut off; write the file again");
  size_t length = major == 1 ? support::endian::read16le(bytes.data() + 8)
                             : support::endian::read32le(bytes.data() + 8);
  if (length > maxHeader)
    return fileError(name, "the header is said to take " + Twine(length) +
                               " bytes; the file is damaged");
  if (length > bytes.size() - begin)
    return fileError(name, "the header is cut off; write the file again");

  Header header;
  if (!HeaderParser(bytes.substr(begin, length)).parse(header))
    return fileError(name, "the header is not one that numpy.save writes; "
                           "the file is damaged");
  Expected<DType> type = parseType(name, *header.descr);
  if (!type)
    return type.takeError();
  std::optional<int64_t> count = countElements(*header.shape);
  int64_t size;
  if (!count || MulOverflow(*count, int64_t(itemSize(*type)), size))
    return fileError(name, "the shape has more elements than fit in memory; "
                           "the file is damaged");
  // With one long dimension at most, both orders are the same.
  auto isLong = [](int64_t length) { return length > 1; };
  if (*header.fortranOrder && *count > 0 &&
      llvm::count_if(*header.shape, isLong) > 1)
    return fileError(name, "the array is in Fortran order; save it as "
                           "numpy.ascontiguousarray(array)");
  StringRef data = bytes.drop_front(begin + length);
  if (data.size() != uint64_t(size))
    return fileError(name, "holds " + Twine(data.size()) +
                               " bytes of data where its type and shape take " +
                               Twine(size) + "; write the file again");
  if (*type == DType::Bool &&
      !llvm::all_of(data, [](char value) { return uint8_t(value) < 2; }))
    return fileError(name, "holds booleans other than 0 and 1; the file is "
                           "damaged");

  HostArray array;
  if (uintptr_t(data.data()) % itemSize(*type)) {
    std::byte *copy;
    array = HostArray::allocate(*type, std::move(*header.shape), copy);
    if (!copy)
      return fileError(name, "needs " + Twine(data.size()) +
                                 " bytes of memory, which are not there");
    std::memcpy(copy, data.data(), data.size());
    return array;
  }
  array.dtype = *type;
  array.shape = std::move(*header.shape);
  array.data = reinterpret_cast<const std::byte *>(data.data());
  array.owner = std::move(owner);
  return array;
}

Expected<HostArray> readNpy(StringRef path) {
  Expected<std::shared_ptr<MemoryBuffer>> buffer = mapFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpy(path, (*buffer)->getBuffer(), *buffer);
}

Error writeNpy(StringRef path, const HostArray &array) {
  const NumpyType *type = llvm::find_if(
      types, [&](const NumpyType &row) { return row.type == array.dtype; });
  if (type == std::end(types))
    return fileError(path, "the .npy format has no " + dtypeName(array.dtype) +
                               "; write a safetensors file");
  if (!countElements(array.shape))
    return fileError(path, "cannot be written: the shape is not valid");

  std::string header;
  raw_string_ostream text(header);
  text << "{'descr': '" << (itemSize(array.dtype) == 1 ? '|' : '<')
       << type->name << "', 'fortran_order': False, 'shape': (";
  for (int64_t size : array.shape)
    text << size << (array.shape.size() == 1 ? "," : ", ");
  if (array.shape.size() > 1)
    header.resize(header.size() - 2);
  text << "), }";
  // The header ends with a newline, the data begins on a multiple of 64.
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  if (header.size() > UINT16_MAX)
    return fileError(path, "cannot be written: the shape has too many "
                           "dimensions");

  return writeFile(path, [&](raw_ostream &stream) {
    char prefix[] = {1, 0, char(header.size() & 255), char(header.size() >> 8)};
    stream << magic << StringRef(prefix, sizeof prefix) << header
           << StringRef(reinterpret_cast<const char *>(array.data),
                        array.sizeInBytes());
    return Error::success();
  });
}

} // namespace quantopt
