//===- Npz.cpp - NumPy archives -------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Formats/Npz.h"
#include "quantopt/Formats/Files.h"
#include "quantopt/Formats/Npy.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/Support/Endian.h"

#include <zlib.h>

using namespace llvm;
using support::endian::read16le;
using support::endian::read32le;
using support::endian::read64le;

namespace quantopt {

namespace {
/// Where the central directory lies.
struct Directory {
  uint64_t entries = 0;
  uint64_t size = 0;
  uint64_t offset = 0;
};

/// One member as the central directory describes it.
struct Member {
  StringRef name;
  uint16_t flags = 0;
  uint16_t method = 0;
  uint32_t checksum = 0;
  uint64_t packedSize = 0;
  uint64_t size = 0;
  uint64_t headerOffset = 0;
};
} // namespace

/// Deflate cannot shrink data more than this.
static constexpr uint64_t maxRatio = 1032;

static constexpr uint64_t localHeaderSize = 30;
static constexpr uint64_t entrySize = 46;
static constexpr uint64_t endSize = 22;
static constexpr uint64_t end64Size = 56;
static constexpr uint64_t locator64Size = 20;

/// `size` bytes of `bytes` from `offset`, or nothing if there are not as many.
static std::optional<StringRef> slice(StringRef bytes, uint64_t offset,
                                      uint64_t size) {
  if (offset > bytes.size() || size > bytes.size() - offset)
    return std::nullopt;
  return bytes.substr(offset, size);
}

/// The record that ends the archive, with its 64-bit form where there is one.
static std::optional<Directory> findDirectory(StringRef bytes) {
  // A comment of up to 65535 bytes may follow the record.
  StringRef tail = bytes.take_back(endSize + UINT16_MAX);
  size_t at = tail.rfind(StringRef("PK\5\6", 4));
  while (at != StringRef::npos &&
         (tail.size() - at < endSize ||
          read16le(tail.data() + at + 20) != tail.size() - at - endSize))
    at = at ? tail.take_front(at + 3).rfind(StringRef("PK\5\6", 4))
            : StringRef::npos;
  if (at == StringRef::npos)
    return std::nullopt;
  const char *end = tail.data() + at;
  Directory directory{read16le(end + 10), read32le(end + 12),
                      read32le(end + 16)};
  uint64_t endOffset = uint64_t(end - bytes.data());
  if (endOffset < locator64Size)
    return directory;
  StringRef locator = bytes.substr(endOffset - locator64Size, locator64Size);
  if (!locator.starts_with(StringRef("PK\6\7", 4)))
    return directory;
  std::optional<StringRef> record =
      slice(bytes, read64le(locator.data() + 8), end64Size);
  if (!record || !record->starts_with(StringRef("PK\6\6", 4)))
    return std::nullopt;
  return Directory{read64le(record->data() + 32), read64le(record->data() + 40),
                   read64le(record->data() + 48)};
}

/// Replaces the sizes and the offset of `member` that did not fit 32 bits by
/// those in its extra field. False when one is missing.
static bool readZip64(StringRef extra, Member &member) {
  constexpr uint64_t elsewhere = UINT32_MAX;
  SmallVector<uint64_t *, 3> wanted;
  for (uint64_t *value :
       {&member.size, &member.packedSize, &member.headerOffset})
    if (*value == elsewhere)
      wanted.push_back(value);
  while (!wanted.empty()) {
    if (extra.size() < 4)
      return false;
    unsigned kind = read16le(extra.data());
    size_t size = read16le(extra.data() + 2);
    extra = extra.drop_front(4);
    if (size > extra.size())
      return false;
    if (kind == 1) {
      if (size < 8 * wanted.size())
        return false;
      for (auto [i, value] : enumerate(wanted))
        *value = read64le(extra.data() + 8 * i);
      return true;
    }
    extra = extra.drop_front(size);
  }
  return true;
}

/// Unpacks `packed`, which must give exactly `size` bytes.
static bool inflateTo(StringRef packed, std::byte *result, uint64_t size) {
  z_stream stream = {};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
    return false;
  scope_exit cleanup([&] { inflateEnd(&stream); });
  // zlib counts in 32 bits: hand both buffers over piece by piece.
  constexpr uint64_t piece = 1 << 30;
  stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(packed.data()));
  stream.next_out = reinterpret_cast<Bytef *>(result);
  uint64_t leftIn = packed.size(), leftOut = size;
  int status = Z_OK;
  while (status == Z_OK) {
    uInt in = uInt(std::min(leftIn, piece));
    uInt out = uInt(std::min(leftOut, piece));
    stream.avail_in = in;
    stream.avail_out = out;
    status = inflate(&stream, Z_NO_FLUSH);
    leftIn -= in - stream.avail_in;
    leftOut -= out - stream.avail_out;
  }
  return status == Z_STREAM_END && leftOut == 0;
}

static bool hasChecksum(StringRef bytes, uint32_t expected) {
  uLong sum = crc32(0, nullptr, 0);
  sum =
      crc32_z(sum, reinterpret_cast<const Bytef *>(bytes.data()), bytes.size());
  return sum == expected;
}

/// The array that `member` holds.
static Expected<HostArray> readMember(StringRef path, StringRef bytes,
                                      const Member &member,
                                      std::shared_ptr<const void> owner) {
  std::string name = (path + ": member '" + member.name + "'").str();
  if (member.flags & 1)
    return fileError(name, "is encrypted; write the file with numpy.savez");
  if (member.method != 0 && member.method != 8)
    return fileError(name, "is packed with method " + Twine(member.method) +
                               "; write the file with numpy.savez or "
                               "numpy.savez_compressed");
  std::optional<StringRef> local =
      slice(bytes, member.headerOffset, localHeaderSize);
  if (!local || !local->starts_with(StringRef("PK\3\4", 4)))
    return fileError(name, "has no header; the file is damaged");
  // Name and extra field here may differ in length from those in the directory.
  uint64_t begin = member.headerOffset + localHeaderSize +
                   read16le(local->data() + 26) + read16le(local->data() + 28);
  std::optional<StringRef> data = slice(bytes, begin, member.packedSize);
  if (!data)
    return fileError(name, "is cut off; write the file again");

  StringRef content = *data;
  if (member.method == 0) {
    if (member.size != member.packedSize)
      return fileError(name, "has two different sizes; the file is damaged");
  } else {
    if (member.size / maxRatio > member.packedSize)
      return fileError(name, "cannot be as large as it says; the file is "
                             "damaged");
    std::byte *unpacked;
    HostArray memory =
        HostArray::allocate(DType::U8, {int64_t(member.size)}, unpacked);
    if (!unpacked)
      return fileError(name, "needs " + Twine(member.size) +
                                 " bytes of memory, which are not there");
    if (!inflateTo(*data, unpacked, member.size))
      return fileError(name, "cannot be unpacked; the file is damaged");
    content = StringRef(reinterpret_cast<const char *>(unpacked), member.size);
    owner = memory.owner;
  }
  if (!hasChecksum(content, member.checksum))
    return fileError(name, "does not have its checksum; the file is damaged");
  return parseNpy(name, content, std::move(owner));
}

Expected<ArrayMap> readNpz(StringRef path) {
  Expected<std::shared_ptr<MemoryBuffer>> buffer = mapFile(path);
  if (!buffer)
    return buffer.takeError();
  StringRef bytes = (*buffer)->getBuffer();
  std::optional<Directory> directory = findDirectory(bytes);
  std::optional<StringRef> entries;
  if (directory)
    entries = slice(bytes, directory->offset, directory->size);
  if (!entries)
    return fileError(path, "not a .npz file, or one that is cut off; write it "
                           "with numpy.savez");
  ArrayMap result;
  StringRef rest = *entries;
  for (uint64_t i = 0; i < directory->entries; ++i) {
    auto damaged = [&] {
      return fileError(path, "member " + Twine(i) +
                                 " has no entry in the directory; the file is "
                                 "damaged");
    };
    if (rest.size() < entrySize || !rest.starts_with(StringRef("PK\1\2", 4)))
      return damaged();
    const char *entry = rest.data();
    size_t nameSize = read16le(entry + 28), extraSize = read16le(entry + 30);
    size_t total = entrySize + nameSize + extraSize + read16le(entry + 32);
    if (total > rest.size())
      return damaged();
    Member member;
    member.name = rest.substr(entrySize, nameSize);
    member.flags = read16le(entry + 8);
    member.method = read16le(entry + 10);
    member.checksum = read32le(entry + 16);
    member.packedSize = read32le(entry + 20);
    member.size = read32le(entry + 24);
    member.headerOffset = read32le(entry + 42);
    if (!readZip64(rest.substr(entrySize + nameSize, extraSize), member))
      return damaged();
    rest = rest.drop_front(total);

    StringRef name = member.name;
    if (!name.consume_back(".npy"))
      return fileError(path, "member '" + name +
                                 "' is no .npy array; write the file with "
                                 "numpy.savez");
    Expected<HostArray> array = readMember(path, bytes, member, *buffer);
    if (!array)
      return array.takeError();
    if (!result.try_emplace(name.str(), std::move(*array)).second)
      return fileError(path, "two members have the name '" + name +
                                 "'; the file is damaged");
  }
  return result;
}

} // namespace quantopt
