//===- SafeTensors.cpp - Safetensors files --------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/SafeTensors.h"
#include "quantopt/Formats/Files.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cstring>

using namespace llvm;

namespace quantopt {

static constexpr uint64_t maxHeader = uint64_t(100) << 20;
static constexpr StringLiteral metadataKey("__metadata__");

/// Headers nest three levels. LLVM's parser recurses as deep as its input
/// does, so the depth is checked before it sees the text.
static bool isShallow(StringRef json) {
  unsigned depth = 0;
  bool inString = false;
  for (size_t i = 0; i < json.size(); ++i) {
    char c = json[i];
    if (inString) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        inString = false;
    } else if (c == '"') {
      inString = true;
    } else if (c == '{' || c == '[') {
      if (++depth > 4)
        return false;
    } else if ((c == '}' || c == ']') && depth) {
      --depth;
    }
  }
  return true;
}

namespace {
/// A tensor's entry in the header.
struct Entry {
  DType dtype;
  std::vector<int64_t> shape;
  uint64_t begin, end; ///< from the first byte after the header
};
} // namespace

/// The entry that `value` describes. `name` is the file's and the tensor's.
static Expected<Entry> parseEntry(const Twine &name, const json::Value &value) {
  std::string where = name.str();
  auto damaged = [&](const Twine &what) {
    return fileError(where, what + "; the file is damaged");
  };
  const json::Object *object = value.getAsObject();
  if (!object)
    return damaged("has no description");
  std::optional<StringRef> typeName = object->getString("dtype");
  const json::Array *sizes = object->getArray("shape");
  const json::Array *offsets = object->getArray("data_offsets");
  if (!typeName || !sizes || !offsets || offsets->size() != 2)
    return damaged("lacks dtype, shape or data_offsets");
  std::optional<DType> type = dtypeFromName(*typeName);
  if (!type)
    return fileError(where, "elements of type '" + *typeName +
                                "' are not supported; convert the tensor to "
                                "F32, F16 or BF16");
  Entry entry;
  entry.dtype = *type;
  for (const json::Value &size : *sizes) {
    std::optional<int64_t> length = size.getAsInteger();
    if (!length)
      return damaged("has a shape that is not made of integers");
    entry.shape.push_back(*length);
  }
  std::optional<int64_t> count = countElements(entry.shape);
  int64_t size;
  if (!count || MulOverflow(*count, int64_t(itemSize(*type)), size))
    return damaged("has a negative size or more elements than fit in memory");
  std::optional<int64_t> begin = (*offsets)[0].getAsInteger();
  std::optional<int64_t> end = (*offsets)[1].getAsInteger();
  if (!begin || !end || *begin < 0 || *end < *begin)
    return damaged("has no valid data_offsets");
  if (*end - *begin != size)
    return damaged("holds " + Twine(*end - *begin) +
                   " bytes where its type and shape take " + Twine(size));
  entry.begin = uint64_t(*begin);
  entry.end = uint64_t(*end);
  return entry;
}

/// The elements of `entry`, copied only if the file has them misaligned.
static Expected<HostArray> makeArray(const Twine &name, Entry entry,
                                     StringRef data,
                                     std::shared_ptr<const void> owner) {
  HostArray array;
  StringRef bytes = data.slice(entry.begin, entry.end);
  if (uintptr_t(bytes.data()) % itemSize(entry.dtype)) {
    std::byte *copy;
    array = HostArray::allocate(entry.dtype, std::move(entry.shape), copy);
    if (!copy)
      return fileError(name.str(), "needs " + Twine(bytes.size()) +
                                       " bytes of memory, which are not there");
    std::memcpy(copy, bytes.data(), bytes.size());
    return array;
  }
  array.dtype = entry.dtype;
  array.shape = std::move(entry.shape);
  array.data = reinterpret_cast<const std::byte *>(bytes.data());
  array.owner = std::move(owner);
  return array;
}

Expected<ArrayMap> readSafeTensors(StringRef path, StringTable *metadata) {
  Expected<std::shared_ptr<MemoryBuffer>> buffer = mapFile(path);
  if (!buffer)
    return buffer.takeError();
  StringRef bytes = (*buffer)->getBuffer();
  if (bytes.size() < 10)
    return fileError(path, "not a safetensors file: too short");
  uint64_t length = support::endian::read64le(bytes.data());
  if (length > maxHeader)
    return fileError(path, "not a safetensors file: its header would take " +
                               Twine(length) + " bytes (at most " +
                               Twine(maxHeader) + " are allowed)");
  if (length < 2 || length > bytes.size() - 8)
    return fileError(path, "the header is cut off; write the file again");
  StringRef text = bytes.substr(8, length), data = bytes.substr(8 + length);
  if (text.front() != '{' || !isShallow(text))
    return fileError(path, "not a safetensors file: its header is not a JSON "
                           "object of tensors");
  Expected<json::Value> header = json::parse(text);
  if (!header)
    return fileError(path, "the header is not valid JSON: " +
                               toString(header.takeError()));
  const json::Object *object = header->getAsObject();
  if (!object)
    return fileError(path, "not a safetensors file: its header is not a JSON "
                           "object of tensors");

  ArrayMap result;
  // (begin, end, name), to be checked for holes and overlaps.
  std::vector<std::tuple<uint64_t, uint64_t, StringRef>> extents;
  for (const auto &[key, value] : *object) {
    StringRef name = key;
    if (name == metadataKey) {
      const json::Object *table = value.getAsObject();
      if (!table)
        return fileError(path, "__metadata__ is not an object; the file is "
                               "damaged");
      for (const auto &[remark, content] : *table)
        if (metadata)
          (*metadata)[remark.str()] = content.getAsString().value_or("").str();
      continue;
    }
    Expected<Entry> entry = parseEntry(path + ": tensor '" + name + "'", value);
    if (!entry)
      return entry.takeError();
    if (entry->end > data.size())
      return fileError(path, "tensor '" + name +
                                 "' goes beyond the end of the file; the file "
                                 "is cut off");
    extents.emplace_back(entry->begin, entry->end, name);
    Expected<HostArray> array = makeArray(path + ": tensor '" + name + "'",
                                          std::move(*entry), data, *buffer);
    if (!array)
      return array.takeError();
    result[name.str()] = std::move(*array);
  }

  llvm::sort(extents);
  uint64_t covered = 0;
  for (const auto &[begin, end, name] : extents) {
    if (begin < covered)
      return fileError(path, "tensor '" + name +
                                 "' overlaps another one; the file is damaged");
    if (begin > covered)
      return fileError(path, Twine(begin - covered) + " bytes before tensor '" +
                                 name +
                                 "' belong to no tensor; the file is damaged");
    covered = end;
  }
  if (covered != data.size())
    return fileError(path, Twine(data.size() - covered) +
                               " bytes at the end belong to no tensor; the "
                               "file is damaged");
  return result;
}

Error writeSafeTensors(StringRef path, const ArrayMap &tensors,
                       const StringTable &metadata) {
  std::vector<const ArrayMap::value_type *> order;
  for (const ArrayMap::value_type &tensor : tensors) {
    StringRef name = tensor.first;
    if (name == metadataKey || !json::isUTF8(name))
      return fileError(path, "cannot be written: '" + json::fixUTF8(name) +
                                 "' is no name for a tensor in this format");
    if (!countElements(tensor.second.shape))
      return fileError(path, "cannot be written: the shape of '" + name +
                                 "' is not valid");
    order.push_back(&tensor);
  }
  llvm::sort(order, [](auto *left, auto *right) {
    // Negative: the largest first.
    return std::pair(-int(itemSize(left->second.dtype)), left->first) <
           std::pair(-int(itemSize(right->second.dtype)), right->first);
  });

  std::string header;
  raw_string_ostream text(header);
  {
    json::OStream json(text);
    json.object([&] {
      if (!metadata.empty())
        json.attributeObject(metadataKey, [&] {
          for (const auto &[key, value] : metadata)
            json.attribute(key, json::fixUTF8(value));
        });
      uint64_t offset = 0;
      for (const ArrayMap::value_type *tensor : order) {
        const HostArray &array = tensor->second;
        uint64_t end = offset + array.sizeInBytes();
        json.attributeObject(tensor->first, [&] {
          json.attribute("dtype", dtypeName(array.dtype));
          json.attributeArray("shape", [&] {
            for (int64_t size : array.shape)
              json.value(size);
          });
          json.attributeArray("data_offsets", [&] {
            json.value(int64_t(offset));
            json.value(int64_t(end));
          });
        });
        offset = end;
      }
    });
  }
  header.append((64 - (8 + header.size()) % 64) % 64, ' ');
  if (header.size() > maxHeader)
    return fileError(path, "cannot be written: the names and shapes take more "
                           "than the format allows");

  return writeFile(path, [&](raw_ostream &stream) {
    char length[8];
    support::endian::write64le(length, header.size());
    stream << StringRef(length, sizeof length) << header;
    for (const ArrayMap::value_type *tensor : order)
      stream << StringRef(reinterpret_cast<const char *>(tensor->second.data),
                          tensor->second.sizeInBytes());
    return Error::success();
  });
}

} // namespace quantopt
