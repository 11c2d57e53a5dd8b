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

namespace {
// out[i] = in[i] + byte, of parameters of 8, 1 and 8 bytes
const char *const addByte = R"(
.version 8.0
.target sm_80
.address_size 64
.visible .entry add_byte(.param .u64 in, .param .u8 byte, .param .u64 out)
{
  .reg .b16 %rs<2>;
  .reg .b32 %r<5>;
  .reg .b64 %rd<7>;
  ld.param.u64 %rd1, [in];
  ld.param.u8 %rs1, [byte];
  ld.param.u64 %rd2, [out];
  mov.u32 %r1, %tid.x;
  mul.wide.u32 %rd3, %r1, 4;
  cvta.to.global.u64 %rd4, %rd1;
  cvta.to.global.u64 %rd5, %rd2;
  add.s64 %rd4, %rd4, %rd3;
  add.s64 %rd5, %rd5, %rd3;
  ld.global.u32 %r2, [%rd4];
  cvt.u32.u16 %r3, %rs1;
  add.s32 %r4, %r2, %r3;
  st.global.u32 [%rd5], %r4;
  ret;
}
)";
} // namespace

TEST(Device, EmulatorRunsKernels) {
  std::string error;
  EXPECT_EQ(openEmulatedDevice("gfx90a", error), nullptr);
  EXPECT_EQ(error, "'gfx90a' is no chip such as sm_80");
  std::unique_ptr<Device> device = openEmulatedDevice("sm_90a", error);
  ASSERT_NE(device, nullptr) << error;
  EXPECT_EQ(device->chip(), "sm_90a");

  EXPECT_EQ(device->loadModule("add.f32 nonsense;", error), nullptr);
  EXPECT_NE(error, "");
  std::unique_ptr<DeviceModule> module = device->loadModule(addByte, error);
  ASSERT_NE(module, nullptr) << error;
  EXPECT_EQ(device->getKernel(*module, "other", error), nullptr);
  EXPECT_EQ(error, "there is no kernel 'other'");
  DeviceKernel *kernel = device->getKernel(*module, "add_byte", error);
  ASSERT_NE(kernel, nullptr) << error;

  std::vector<int> sent(32), received(32);
  for (int i = 0; i < 32; ++i)
    sent[i] = i * i;
  DeviceAddress in, out;
  ASSERT_EQ(device->allocate(128, in), "");
  ASSERT_EQ(device->allocate(128, out), "");
  EXPECT_EQ(device->copyToDevice(in, sent.data(), 128), "");
  LaunchShape shape;
  shape.block.x = 32;
  // Of a number only the parameter's own bytes count.
  EXPECT_EQ(
      device->launch(*kernel, shape, std::vector<uint64_t>{in, 0xABCD03, out}),
      "");
  EXPECT_EQ(device->copyToHost(received.data(), out, 128), "");
  EXPECT_EQ(device->synchronize(), "");
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(received[i], i * i + 3);
  EXPECT_EQ(device->clear(out, 64), "");
  EXPECT_EQ(device->copy(in, out, 128), "");
  EXPECT_EQ(device->copyToHost(received.data(), in, 128), "");
  EXPECT_EQ(received[15], 0);
  EXPECT_EQ(received[16], 16 * 16 + 3);

  // What goes wrong is said, and names the kernel.
  EXPECT_EQ(device->launch(*kernel, shape, std::vector<uint64_t>{in}),
            "kernel 'add_byte' takes 3 arguments, 1 were given");
  error =
      device->launch(*kernel, shape, std::vector<uint64_t>{in, 1, out + 64});
  EXPECT_EQ(error.rfind("kernel 'add_byte', line ", 0), 0u) << error;
  EXPECT_NE(device->copyToDevice(in + 64, sent.data(), 128), "");
  device->free(in);
  device->free(out);
  EXPECT_NE(device->copyToDevice(in, sent.data(), 4), "");
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
