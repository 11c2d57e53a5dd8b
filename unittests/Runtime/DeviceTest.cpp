//===- DeviceTest.cpp - Devices and their memory --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Device.h"
#include "quantopt/Runtime/DevicePool.h"

#include <gtest/gtest.h>

#include <vector>

using namespace quantopt;

namespace {

/// Hands out addresses that nobody reads.
class CountingDevice : public Device {
public:
  std::string name() const override { return "counting"; }
  std::string chip() const override { return "sm_80"; }
  std::string allocate(size_t bytes, DeviceAddress &address) override {
    if (next + bytes > limit)
      return "full";
    address = next;
    next += bytes;
    ++blocks;
    return {};
  }
  void free(DeviceAddress) override { --blocks; }
  std::string copyToDevice(DeviceAddress, const void *, size_t) override {
    return {};
  }
  std::string copyToHost(void *, DeviceAddress, size_t) override { return {}; }
  std::string copy(DeviceAddress, DeviceAddress, size_t) override { return {}; }
  std::string clear(DeviceAddress, size_t) override { return {}; }
  std::unique_ptr<DeviceModule> loadModule(const std::string &,
                                           std::string &) override {
    return nullptr;
  }
  DeviceKernel *getKernel(DeviceModule &, const std::string &,
                          std::string &) override {
    return nullptr;
  }
  std::string launch(DeviceKernel &, const LaunchShape &,
                     std::span<const uint64_t>) override {
    return {};
  }
  std::string synchronize() override { return {}; }

  DeviceAddress next = 1 << 20, limit = 2 << 20;
  int blocks = 0;
};

} // namespace

TEST(DevicePool, SameRequestsGiveTheSameAddresses) {
  CountingDevice device;
  {
    DevicePool pool(device);
    auto run = [&] {
      std::vector<DeviceAddress> addresses;
      auto take = [&](size_t bytes) {
        DeviceAddress address;
        EXPECT_EQ(pool.allocate(bytes, address), "");
        EXPECT_EQ(address % 256, 0u);
        addresses.push_back(address);
        return address;
      };
      DeviceAddress a = take(1000), b = take(3000);
      pool.release(a);
      take(3000);
      DeviceAddress c = take(900); // where the first was
      EXPECT_EQ(c, a);
      pool.release(b);
      take(100);
      take(2900);
      for (DeviceAddress address : addresses)
        pool.release(address);
      return addresses;
    };
    run();
    size_t held = pool.heldBytes();
    std::vector<DeviceAddress> second = run();
    EXPECT_EQ(run(), second);
    EXPECT_EQ(run(), second);
    EXPECT_EQ(pool.heldBytes(), held);
    DeviceAddress address;
    EXPECT_EQ(pool.allocate(4 << 20, address), "full");
    EXPECT_EQ(pool.heldBytes(), held);
    EXPECT_GT(device.blocks, 0);
  }
  EXPECT_EQ(device.blocks, 0);
}

TEST(Device, RecordingIsOptional) {
  CountingDevice device;
  EXPECT_FALSE(device.canCapture());
  EXPECT_NE(device.beginCapture(), "");
  std::string error;
  EXPECT_EQ(device.endCapture(error), nullptr);
  EXPECT_NE(error, "");
}

TEST(Device, CudaIsThereOrSaysWhyNot) {
  std::string error;
  std::unique_ptr<Device> device = openCudaDevice(error);
  if (!device) {
    EXPECT_EQ(error.rfind("no CUDA device: ", 0), 0u) << error;
    return;
  }
  // With a device: data survives the way there and back.
  EXPECT_EQ(error, "");
  EXPECT_EQ(device->chip().rfind("sm_", 0), 0u);
  std::vector<int> sent(1000, 7), received(1000);
  DeviceAddress from, to;
  ASSERT_EQ(device->allocate(4000, from), "");
  ASSERT_EQ(device->allocate(4000, to), "");
  EXPECT_EQ(device->copyToDevice(from, sent.data(), 4000), "");
  EXPECT_EQ(device->copy(to, from, 4000), "");
  EXPECT_EQ(device->copyToHost(received.data(), to, 4000), "");
  EXPECT_EQ(device->synchronize(), "");
  EXPECT_EQ(received, sent);
  device->free(from);
  device->free(to);
  EXPECT_EQ(device->loadModule("no ptx", error), nullptr);
  EXPECT_NE(error, "");
}
