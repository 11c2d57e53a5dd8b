//===- NpzTest.cpp - Tests of the .npz reader -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestFiles.h"

#include "quantopt/Formats/Arrays.h"
#include "quantopt/Formats/Npy.h"
#include "quantopt/Formats/Npz.h"

#include <zlib.h>

using namespace llvm;
using namespace quantopt;
using namespace quantopt::test;

namespace {
/// Makes a zip archive, in the ways that the reader must know.
struct Zip {
  explicit Zip(bool deflate = false, bool zip64 = false,
               std::string comment = "")
      : deflate(deflate), zip64(zip64), comment(std::move(comment)) {}

  bool deflate;
  bool zip64;               ///< sizes and offsets in extra fields
  std::string comment;      ///< at the end of the archive
  uint16_t flags = 0;       ///< of each member
  uint64_t claimedSize = 0; ///< instead of the true one, if not 0

  std::string bytes, directory;
  uint16_t members = 0;

  void add(StringRef name, StringRef content) {
    std::string packed = content.str();
    if (deflate) {
      z_stream stream = {};
      deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 9, Z_DEFAULT_STRATEGY);
      packed.resize(deflateBound(&stream, content.size()));
      stream.next_in =
          reinterpret_cast<Bytef *>(const_cast<char *>(content.data()));
      stream.avail_in = content.size();
      stream.next_out = reinterpret_cast<Bytef *>(packed.data());
      stream.avail_out = packed.size();
      ::deflate(&stream, Z_FINISH);
      packed.resize(stream.total_out);
      deflateEnd(&stream);
    }
    uint32_t checksum = crc32(
        0, reinterpret_cast<const Bytef *>(content.data()), content.size());
    uint64_t size = claimedSize ? claimedSize : content.size();
    uint64_t offset = bytes.size();
    auto narrow = [&](uint64_t value) {
      return raw(zip64 ? UINT32_MAX : uint32_t(value));
    };
    std::string common = raw(flags) + raw(uint16_t(deflate ? 8 : 0)) +
                         raw(uint32_t(0)) + raw(checksum) +
                         narrow(packed.size()) + narrow(size) +
                         raw(uint16_t(name.size()));
    std::string sizes = raw(size) + raw(uint64_t(packed.size()));
    auto extra = [&](std::string content) {
      return zip64 ? raw(uint16_t(0x7777)) + raw(uint16_t(1)) + "x" +
                         raw(uint16_t(1)) + raw(uint16_t(content.size())) +
                         content
                   : std::string();
    };
    std::string localExtra = extra(sizes);
    bytes += "PK\3\4" + raw(uint16_t(45)) + common +
             raw(uint16_t(localExtra.size())) + name.str() + localExtra +
             packed;
    std::string centralExtra = extra(sizes + raw(offset));
    directory += "PK\1\2" + raw(uint16_t(45)) + raw(uint16_t(45)) + common +
                 raw(uint16_t(centralExtra.size())) + raw(uint16_t(0)) +
                 std::string(8, '\0') + narrow(offset) + name.str() +
                 centralExtra;
    ++members;
  }

  std::string finish() {
    uint64_t at = bytes.size(), size = directory.size();
    std::string result = bytes + directory;
    if (zip64) {
      uint64_t record = result.size();
      result += "PK\6\6" + raw(uint64_t(44)) + raw(uint32_t(0x2d002d)) +
                raw(uint64_t(0)) + raw(uint64_t(members)) +
                raw(uint64_t(members)) + raw(size) + raw(at);
      result += "PK\6\7" + raw(uint32_t(0)) + raw(record) + raw(uint32_t(1));
    }
    uint16_t count = zip64 ? UINT16_MAX : members;
    result += "PK\5\6" + raw(uint32_t(0)) + raw(count) + raw(count) +
              raw(zip64 ? UINT32_MAX : uint32_t(size)) +
              raw(zip64 ? UINT32_MAX : uint32_t(at)) +
              raw(uint16_t(comment.size())) + comment;
    return result;
  }
};

class NpzTest : public Folder {
protected:
  /// The bytes of a .npy file of `values`.
  std::string npy(ArrayRef<int32_t> values) {
    expectSuccess(writeNpy(
        path("member"),
        makeArray<int32_t>(DType::I32, {int64_t(values.size())}, values)));
    return read(path("member"));
  }

  std::string failure(Zip zip) {
    return message(readNpz(write("a.npz", zip.finish())));
  }
};
} // namespace

TEST_F(NpzTest, ReadsStoredAndDeflated) {
  std::vector<int32_t> many(5000, 7);
  for (bool deflate : {false, true})
    for (bool zip64 : {false, true})
      for (const char *comment : {"", "a comment with PK\5\6 in it"}) {
        Zip zip(deflate, zip64, comment);
        zip.add("b.npy", npy(many));
        zip.add("a/x.npy", npy({1, 2, 3}));
        ArrayMap arrays = value(readArrays(write("a.npz", zip.finish())));
        ASSERT_EQ(arrays.size(), 2u);
        ASSERT_EQ(arrays["b"].size(), 5000);
        EXPECT_EQ(arrays["b"].as<int32_t>()[4999], 7);
        ASSERT_EQ(arrays["a/x"].size(), 3);
        EXPECT_EQ(arrays["a/x"].as<int32_t>()[2], 3);
      }
  EXPECT_TRUE(value(readArrays(write("a.npz", Zip().finish()))).empty());
}

TEST_F(NpzTest, RefusesWithAWayOut) {
  {
    Zip zip;
    zip.add("readme.txt", "text");
    EXPECT_CONTAINS(failure(zip), "member 'readme.txt' is no .npy array");
  }
  {
    Zip zip;
    zip.flags = 1;
    zip.add("x.npy", npy({1}));
    EXPECT_CONTAINS(failure(zip), "member 'x.npy': is encrypted");
  }
  {
    Zip zip;
    zip.add("x.npy", npy({1}));
    zip.add("x.npy", npy({1}));
    EXPECT_CONTAINS(failure(zip), "two members have the name 'x'");
  }
  {
    Zip zip;
    zip.add("x.npy", npy({1}));
    zip.bytes.back() ^= 1;
    EXPECT_CONTAINS(failure(zip), "does not have its checksum");
  }
  {
    Zip zip;
    zip.add("x.npy", "no array");
    EXPECT_CONTAINS(failure(zip), "a.npz: member 'x.npy': not a .npy file");
  }
  EXPECT_CONTAINS(message(readNpz(write("a.npz", "PK"))), "not a .npz file");
}

TEST_F(NpzTest, RefusesImpossibleSizes) {
  Zip zip(true, true);
  zip.claimedSize = uint64_t(1) << 60;
  zip.add("x.npy", npy({1}));
  EXPECT_CONTAINS(failure(zip), "cannot be as large as it says");
  // Possible, yet not what is there.
  Zip longer(true, true);
  longer.claimedSize = 1000;
  longer.add("x.npy", npy({1}));
  EXPECT_CONTAINS(failure(longer), "cannot be unpacked");
}

TEST_F(NpzTest, SurvivesDamage) {
  for (bool deflate : {false, true})
    for (bool zip64 : {false, true}) {
      Zip zip(deflate, zip64);
      zip.add("x.npy", npy({1, 2}));
      std::string bytes = zip.finish();
      abuse(bytes, bytes.size(), [&](std::string damaged) {
        return readNpz(write("damaged.npz", damaged));
      });
    }
}
