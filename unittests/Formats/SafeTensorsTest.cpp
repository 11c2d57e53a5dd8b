//===- SafeTensorsTest.cpp - Tests of the safetensors reader and writer ---===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "TestFiles.h"

#include "quantopt/Formats/Arrays.h"
#include "quantopt/Formats/SafeTensors.h"

using namespace llvm;
using namespace quantopt;
using namespace quantopt::test;

namespace {
class SafeTensorsTest : public Folder {
protected:
  std::string make(StringRef header, StringRef data) {
    return raw(uint64_t(header.size())) + header.str() + data.str();
  }

  std::string failure(StringRef header, StringRef data = "") {
    return message(readSafeTensors(write("a.safetensors", make(header, data))));
  }
};
} // namespace

TEST_F(SafeTensorsTest, RoundTrip) {
  float floats[] = {1, 2, 3, 4, 5, 6};
  uint16_t halves[] = {0x3f80, 0x4000, 0x4040};
  uint8_t bytes[] = {9};
  int64_t longs[] = {-1};
  ArrayMap tensors;
  tensors["a \"quoted\" name/with.dots"] =
      makeArray<float>(DType::F32, {2, 3}, floats);
  tensors["b"] = makeArray<uint16_t>(DType::BF16, {3}, halves);
  tensors["a"] = makeArray<uint8_t>(DType::U8, {1}, bytes);
  tensors["scalar"] = makeArray<int64_t>(DType::I64, {}, longs);
  tensors["empty"] = makeArray<float>(DType::F32, {0, 4}, {});
  std::string file = path("a.safetensors");
  expectSuccess(writeSafeTensors(file, tensors, {{"made by", "a test"}}));
  EXPECT_EQ(countFiles(), 1);

  StringTable metadata;
  ArrayMap back = value(readSafeTensors(file, &metadata));
  EXPECT_EQ(metadata, (StringTable{{"made by", "a test"}}));
  ASSERT_EQ(back.size(), tensors.size());
  for (auto &[name, tensor] : tensors) {
    const HostArray &other = back[name];
    EXPECT_EQ(other.dtype, tensor.dtype);
    EXPECT_EQ(other.shape, tensor.shape);
    ASSERT_EQ(other.sizeInBytes(), tensor.sizeInBytes());
    EXPECT_EQ(std::memcmp(other.data, tensor.data, tensor.sizeInBytes()), 0);
  }
  EXPECT_EQ(value(readArrays(file)).size(), tensors.size());

  // Nothing in a file depends on when or how often it is written.
  std::string first = read(file);
  expectSuccess(writeSafeTensors(file, back, metadata));
  EXPECT_EQ(read(file), first);
}

TEST_F(SafeTensorsTest, AlignsWhatTheFileHasMisaligned) {
  std::string header =
      R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  for (unsigned spaces = 0; spaces < 4; ++spaces) {
    ArrayMap tensors =
        value(readSafeTensors(write("a.safetensors", make(header, raw(1.5f)))));
    EXPECT_EQ(uintptr_t(tensors["x"].data) % 4, 0u);
    EXPECT_EQ(*tensors["x"].as<float>(), 1.5f);
    header += ' ';
  }
}

TEST_F(SafeTensorsTest, RefusesWithAWayOut) {
  auto entry = [](StringRef dtype, StringRef shape, StringRef offsets) {
    return (R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape +
            R"(,"data_offsets":)" + offsets + "}}")
        .str();
  };
  EXPECT_CONTAINS(failure(entry("F32", "[2]", "[0,4]"), "1234"),
                  "tensor 'x': holds 4 bytes where its type and shape take 8");
  EXPECT_CONTAINS(failure(entry("F4", "[2]", "[0,1]"), "1"),
                  "elements of type 'F4' are not supported");
  EXPECT_CONTAINS(failure(entry("F32", "[1]", "[0,4]"), "123"),
                  "tensor 'x' goes beyond the end of the file");
  EXPECT_CONTAINS(failure(entry("F32", "[1]", "[-4,0]"), "1234"),
                  "no valid data_offsets");
  EXPECT_CONTAINS(failure(entry("F32", "[1]", "[4,0]"), "1234"),
                  "no valid data_offsets");
  EXPECT_CONTAINS(failure(entry("F32", "[1]", "[0,4,8]"), "1234"), "lacks");
  EXPECT_CONTAINS(failure(entry("F32", "[1.5]", "[0,4]"), "1234"),
                  "not made of integers");
  EXPECT_CONTAINS(failure(entry("U8", "[-1,-1]", "[0,1]"), "1"),
                  "negative size");
  EXPECT_CONTAINS(failure(entry("F32", "[4294967296,4294967296]", "[0,0]"), ""),
                  "more elements than fit");
  EXPECT_CONTAINS(failure(entry("F32", "[4611686018427387904]", "[0,0]"), ""),
                  "more elements than fit");
  EXPECT_CONTAINS(failure(entry("U8", "[1]", "[0,1]"), "12"),
                  "1 bytes at the end belong to no tensor");
  EXPECT_CONTAINS(failure(entry("U8", "[1]", "[1,2]"), "12"),
                  "1 bytes before tensor 'x' belong to no tensor");
  EXPECT_CONTAINS(
      failure(R"({"x":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
              R"("y":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
              "123"),
      "tensor 'y' overlaps another one");
  EXPECT_CONTAINS(failure(R"({"x":1})"), "has no description");
  EXPECT_CONTAINS(failure(R"({"__metadata__":1})"), "__metadata__");
  EXPECT_CONTAINS(failure("[]"), "not a JSON object");
  EXPECT_CONTAINS(failure("{,}"), "not valid JSON");
  EXPECT_CONTAINS(failure("{\"\xff\":1}"), "not valid JSON");
  // Deeper than any stack.
  EXPECT_CONTAINS(failure("{\"x\":" + std::string(1000000, '[')),
                  "not a JSON object of tensors");
  EXPECT_CONTAINS(message(readSafeTensors(
                      write("a.safetensors", raw(uint64_t(1) << 40) + "{}"))),
                  "its header would take 1099511627776 bytes");
  EXPECT_CONTAINS(message(readSafeTensors(
                      write("a.safetensors", raw(uint64_t(100)) + "{}"))),
                  "the header is cut off");
  EXPECT_CONTAINS(message(readSafeTensors(write("a.safetensors", ""))),
                  "too short");
}

TEST_F(SafeTensorsTest, RefusesToWriteBadNames) {
  ArrayMap tensors;
  float floats[] = {1};
  tensors["__metadata__"] = makeArray<float>(DType::F32, {1}, floats);
  EXPECT_CONTAINS(toString(writeSafeTensors(path("a"), tensors)),
                  "'__metadata__' is no name for a tensor");
  EXPECT_EQ(countFiles(), 0);
}

TEST_F(SafeTensorsTest, SurvivesDamage) {
  std::string bytes =
      make(R"({"__metadata__":{"k":"v"},)"
           R"("x":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
           R"("y":{"dtype":"BF16","shape":[],"data_offsets":[8,10]}})",
           "0123456789");
  abuse(bytes, bytes.size(), [&](std::string damaged) {
    return readSafeTensors(write("damaged.safetensors", damaged));
  });
}
