//===- FilesTest.cpp - Tests of whole files in and out --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestFiles.h"

#include "quantopt/Formats/Arrays.h"
#include "quantopt/Formats/Files.h"
#include "quantopt/Formats/Npy.h"

using namespace llvm;
using namespace quantopt;
using namespace quantopt::test;

namespace {
using FilesTest = Folder;
} // namespace

TEST_F(FilesTest, WritesWhole) {
  expectSuccess(writeFile(path("a"), [](raw_ostream &stream) {
    stream << "hello";
    return Error::success();
  }));
  EXPECT_EQ(read(path("a")), "hello");
  EXPECT_EQ(countFiles(), 1);
}

TEST_F(FilesTest, KeepsTheOldFileOnFailure) {
  write("a", "old");
  Error error = writeFile(path("a"), [&](raw_ostream &stream) {
    stream << "half of the new o";
    return fileError("a", "gave up");
  });
  EXPECT_EQ(toString(std::move(error)), "a: gave up");
  EXPECT_EQ(read(path("a")), "old");
  EXPECT_EQ(countFiles(), 1);
}

TEST_F(FilesTest, SaysWhereItCannotWrite) {
  auto write = [](raw_ostream &) { return Error::success(); };
  EXPECT_CONTAINS(toString(writeFile(path("no/such/folder"), write)),
                  "cannot be written: no such file");
  EXPECT_CONTAINS(toString(writeFile(folder, write)),
                  "cannot be written: it is a folder");
}

TEST_F(FilesTest, WritesToDevices) {
  expectSuccess(writeFile("/dev/null", [](raw_ostream &stream) {
    stream << "gone";
    return Error::success();
  }));
  EXPECT_FALSE(sys::fs::is_regular_file("/dev/null"));
  if (sys::fs::exists("/dev/full"))
    EXPECT_CONTAINS(toString(writeFile("/dev/full",
                                       [](raw_ostream &stream) {
                                         stream << "too much";
                                         return Error::success();
                                       })),
                    "/dev/full: cannot be written: no space left");
}

TEST_F(FilesTest, RefusesWhatIsNoFile) {
  EXPECT_CONTAINS(message(mapFile(path("missing"))),
                  "missing: cannot be read: no such file");
  EXPECT_CONTAINS(message(mapFile(folder)), "not a regular file");
  EXPECT_CONTAINS(message(mapFile("/dev/zero")), "not a regular file");
}

TEST_F(FilesTest, ReadsArraysByMagic) {
  int32_t values[] = {1, 2, 3};
  HostArray array = makeArray<int32_t>(DType::I32, {3}, values);
  expectSuccess(writeNpy(path("a.bin"), array));
  ArrayMap arrays = value(readArrays(path("a.bin")));
  ASSERT_EQ(arrays.count("arg0"), 1u);
  EXPECT_EQ(arrays["arg0"].as<int32_t>()[2], 3);

  EXPECT_CONTAINS(message(readArrays(write("a.txt", "some text"))),
                  "not an array file; give a .npy, .npz or .safetensors file");
  EXPECT_CONTAINS(message(readArrays(write("empty", ""))), "not an array file");
  EXPECT_CONTAINS(message(readArrays(path("missing"))), "cannot be read");
}

TEST(HostArrayTest, CountsElements) {
  EXPECT_EQ(countElements({}), 1);
  EXPECT_EQ(countElements({2, 3}), 6);
  EXPECT_EQ(countElements({INT64_MAX, 0, INT64_MAX}), 0);
  EXPECT_EQ(countElements({INT64_MAX, 2}), std::nullopt);
  EXPECT_EQ(countElements({0, -1}), std::nullopt);
}

TEST(HostArrayTest, NamesItsTypes) {
  for (unsigned i = 0; i <= unsigned(DType::F64); ++i)
    EXPECT_EQ(dtypeFromName(dtypeName(DType(i))), DType(i));
  EXPECT_EQ(dtypeFromName("F4"), std::nullopt);
  EXPECT_EQ(itemSize(DType::BF16), 2u);
}
