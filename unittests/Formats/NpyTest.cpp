//===- NpyTest.cpp - Tests of the .npy reader and writer ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestFiles.h"

#include "quantopt/Formats/Npy.h"

using namespace llvm;
using namespace quantopt;
using namespace quantopt::test;

/// A .npy file of the given header and data.
static std::string makeNpy(std::string header, StringRef data, char major = 1) {
  header += '\n';
  std::string result = "\x93NUMPY";
  result += major;
  result += '\0';
  result +=
      major == 1 ? raw(uint16_t(header.size())) : raw(uint32_t(header.size()));
  return result + header + data.str();
}

static std::string dict(StringRef descr, StringRef order, StringRef shape) {
  return ("{'descr': '" + descr + "', 'fortran_order': " + order +
          ", 'shape': " + shape + ", }")
      .str();
}

/// Parses bytes that need not outlive the call.
static Expected<HostArray> parse(std::string bytes) {
  auto owner = std::make_shared<std::string>(std::move(bytes));
  return parseNpy("test.npy", *owner, owner);
}

namespace {
using NpyFileTest = Folder;
} // namespace

TEST_F(NpyFileTest, RoundTrip) {
  for (DType type :
       {DType::Bool, DType::U8, DType::I8, DType::U16, DType::I16, DType::U32,
        DType::I32, DType::U64, DType::I64, DType::F16, DType::F32, DType::F64})
    for (std::vector<int64_t> shape :
         {std::vector<int64_t>{}, {1}, {7}, {2, 3}, {0, 5}, {3, 1, 4}}) {
      std::byte *bytes;
      HostArray array = HostArray::allocate(type, shape, bytes);
      for (size_t i = 0; i < array.sizeInBytes(); ++i)
        bytes[i] = std::byte(type == DType::Bool ? i % 2 : 37 * i);
      expectSuccess(writeNpy(path("a.npy"), array));
      HostArray back = value(readNpy(path("a.npy")));
      EXPECT_EQ(back.dtype, type);
      EXPECT_EQ(back.shape, shape);
      ASSERT_EQ(back.sizeInBytes(), array.sizeInBytes());
      EXPECT_EQ(std::memcmp(back.data, bytes, array.sizeInBytes()), 0);
    }
  EXPECT_EQ(countFiles(), 1);
}

TEST_F(NpyFileTest, WritesTheFormatExactly) {
  float values[] = {1, 2};
  expectSuccess(
      writeNpy(path("a.npy"), makeArray<float>(DType::F32, {1, 2}, values)));
  std::string expected =
      std::string("\x93NUMPY\1\0\x76\0", 10) + dict("<f4", "False", "(1, 2)");
  expected.append(127 - expected.size(), ' ');
  expected += '\n' + raw(1.f) + raw(2.f);
  EXPECT_EQ(read(path("a.npy")), expected);
}

TEST_F(NpyFileTest, MapsLargeFiles) {
  std::vector<int32_t> values(100000);
  for (int32_t i = 0; i < 100000; ++i)
    values[i] = i;
  expectSuccess(writeNpy(path("a.npy"),
                         makeArray<int32_t>(DType::I32, {100, 1000}, values)));
  HostArray array = value(readNpy(path("a.npy")));
  // The array outlives the file's name.
  sys::fs::remove(path("a.npy"));
  EXPECT_EQ(array.as<int32_t>()[99999], 99999);
}

TEST_F(NpyFileTest, RefusesToWriteBFloat16) {
  uint16_t values[] = {0};
  EXPECT_CONTAINS(
      toString(writeNpy(path("a.npy"),
                        makeArray<uint16_t>(DType::BF16, {}, values))),
      "has no BF16; write a safetensors file");
  EXPECT_EQ(countFiles(), 0);
}

TEST(NpyTest, ReadsAllVersions) {
  for (char major : {1, 2, 3}) {
    HostArray array = value(
        parse(makeNpy(dict("<i4", "False", "(2,)"), raw(5) + raw(-6), major)));
    ASSERT_EQ(array.shape, std::vector<int64_t>{2});
    EXPECT_EQ(array.as<int32_t>()[1], -6);
  }
  EXPECT_CONTAINS(message(parse(makeNpy("{}", "", 4))),
                  "version 4 of the .npy format is not known");
}

TEST(NpyTest, ReadsWhatOthersWrite) {
  // Other spellings of the same dictionary; data at an odd address.
  for (const char *header :
       {"{\"shape\":(2,),\"descr\":\"<i4\",\"fortran_order\":False}",
        " { 'fortran_order' : False , 'shape' : ( 2L , ) , 'descr' : '=i4' } ",
        "{'descr': '<i4', 'fortran_order': True, 'shape': (1, 2), }",
        "{'descr': '<i4', 'fortran_order': False, 'shape': (2,)}  "}) {
    HostArray array = value(parse(makeNpy(header, raw(5) + raw(-6))));
    ASSERT_EQ(array.size(), 2) << header;
    EXPECT_EQ(uintptr_t(array.data) % 4, 0u);
    EXPECT_EQ(array.as<int32_t>()[1], -6);
  }
}

TEST(NpyTest, RefusesWithAWayOut) {
  auto refused = [](StringRef descr, StringRef order, StringRef shape,
                    size_t bytes) {
    return message(
        parse(makeNpy(dict(descr, order, shape), std::string(bytes, '\2'))));
  };
  EXPECT_EQ(
      refused(">f4", "False", "(2,)", 8),
      "test.npy: the array is big-endian; save it as array.astype('<f4')");
  EXPECT_CONTAINS(refused("<f4", "True", "(2, 3)", 24), "Fortran order");
  EXPECT_CONTAINS(refused("|O", "False", "(2,)", 8), "Python objects");
  EXPECT_CONTAINS(refused("<U5", "False", "(2,)", 40),
                  "elements of type '<U5' are not supported");
  EXPECT_CONTAINS(refused("<f4", "False", "(3,)", 8),
                  "holds 8 bytes of data where its type and shape take 12");
  EXPECT_CONTAINS(refused("<f4", "False", "(1,)", 8), "8 bytes of data");
  EXPECT_CONTAINS(refused("|b1", "False", "(1,)", 1), "booleans");
  EXPECT_CONTAINS(refused("<f4", "False", "(4611686018427387904, 4)", 0),
                  "more elements than fit");
  EXPECT_CONTAINS(refused("<f4", "False", "(4611686018427387904,)", 0),
                  "more elements than fit");
  EXPECT_CONTAINS(refused("<f4", "False", "(-1,)", 0), "header is not one");
  EXPECT_CONTAINS(
      message(parse(makeNpy("{'descr': [('x', '<f4')], 'fortran_order': False, "
                            "'shape': (1,), }",
                            "1234"))),
      "holds structures");
  EXPECT_CONTAINS(message(parse("text")), "not a .npy file");
}

TEST(NpyTest, SurvivesDamage) {
  for (char major : {1, 2}) {
    std::string bytes =
        makeNpy(dict("<i4", "False", "(2, 1)"), raw(5) + raw(-6), major);
    abuse(bytes, bytes.size(), parse);
  }
}
