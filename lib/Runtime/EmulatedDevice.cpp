//===- EmulatedDevice.cpp - The PTX emulator as a device ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/PtxEmulator/PtxEmulator.h"
#include "quantopt/Runtime/Device.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <vector>

using namespace quantopt;

namespace {

struct EmulatedKernel : DeviceKernel {
  const ptx::Module *module = nullptr;
  std::string name;
  std::vector<ptx::Parameter> parameters;
};

struct EmulatedModule : DeviceModule {
  std::unique_ptr<ptx::Module> module;
  std::deque<EmulatedKernel> kernels; // does not move them
};

/// Everything happens at once.
class EmulatedDevice : public Device {
public:
  explicit EmulatedDevice(std::string chip) : chipName(std::move(chip)) {}

  std::string name() const override { return "PTX emulator"; }
  std::string chip() const override { return chipName; }

  std::string allocate(size_t bytes, DeviceAddress &address) override {
    address = memory.allocate(bytes);
    return address ? std::string()
                   : "no memory for " + std::to_string(bytes) + " bytes";
  }
  void free(DeviceAddress address) override { memory.free(address); }
  std::string copyToDevice(DeviceAddress to, const void *from,
                           size_t bytes) override {
    return access(to, bytes,
                  [&](uint8_t *data) { std::memcpy(data, from, bytes); });
  }
  std::string copyToHost(void *to, DeviceAddress from, size_t bytes) override {
    return access(from, bytes,
                  [&](uint8_t *data) { std::memcpy(to, data, bytes); });
  }
  std::string copy(DeviceAddress to, DeviceAddress from,
                   size_t bytes) override {
    return access(from, bytes,
                  [&](uint8_t *data) { copyToDevice(to, data, bytes); });
  }
  std::string clear(DeviceAddress address, size_t bytes) override {
    return access(address, bytes,
                  [&](uint8_t *data) { std::memset(data, 0, bytes); });
  }
  std::unique_ptr<DeviceModule> loadModule(const std::string &ptx,
                                           std::string &error) override;
  DeviceKernel *getKernel(DeviceModule &module, const std::string &name,
                          std::string &error) override;
  std::string launch(DeviceKernel &kernel, const LaunchShape &shape,
                     std::span<const uint64_t> arguments) override;
  std::string synchronize() override { return {}; }

private:
  template <typename ActionT>
  std::string access(DeviceAddress address, size_t bytes, ActionT action) {
    if (bytes == 0)
      return {};
    uint8_t *data = memory.data(address, bytes);
    if (!data)
      return "copy of " + std::to_string(bytes) +
             " bytes outside of device memory";
    action(data);
    return {};
  }

  std::string chipName;
  ptx::DeviceMemory memory;
};

} // namespace

std::unique_ptr<DeviceModule> EmulatedDevice::loadModule(const std::string &ptx,
                                                         std::string &error) {
  auto module = std::make_unique<EmulatedModule>();
  module->module = ptx::Module::parse(ptx, error);
  if (!module->module)
    return nullptr;
  error.clear();
  return module;
}

DeviceKernel *EmulatedDevice::getKernel(DeviceModule &module,
                                        const std::string &name,
                                        std::string &error) {
  auto &loaded = static_cast<EmulatedModule &>(module);
  auto parameters = loaded.module->parameters(name);
  if (!parameters) {
    error = "there is no kernel '" + name + "'";
    return nullptr;
  }
  error.clear();
  EmulatedKernel &kernel = loaded.kernels.emplace_back();
  kernel.module = loaded.module.get();
  kernel.name = name;
  kernel.parameters = std::move(*parameters);
  return &kernel;
}

std::string EmulatedDevice::launch(DeviceKernel &kernel,
                                   const LaunchShape &shape,
                                   std::span<const uint64_t> arguments) {
  auto &target = static_cast<EmulatedKernel &>(kernel);
  if (arguments.size() != target.parameters.size())
    return "kernel '" + target.name + "' takes " +
           std::to_string(target.parameters.size()) + " arguments, " +
           std::to_string(arguments.size()) + " were given";
  size_t bytes = 0;
  for (const ptx::Parameter &parameter : target.parameters) {
    if (parameter.size > sizeof(uint64_t))
      return "kernel '" + target.name + "' takes an argument of " +
             std::to_string(parameter.size) + " bytes";
    bytes = std::max<size_t>(bytes, parameter.offset + parameter.size);
  }
  std::vector<uint8_t> laidOut(bytes);
  for (size_t i = 0; i < arguments.size(); ++i)
    std::memcpy(laidOut.data() + target.parameters[i].offset, &arguments[i],
                target.parameters[i].size);
  auto dim = [](const DeviceDim &size) {
    return ptx::Dim3{size.x, size.y, size.z};
  };
  auto error = target.module->run(
      target.name,
      {dim(shape.grid), dim(shape.block), shape.dynamicSharedBytes, laidOut},
      memory);
  if (!error)
    return {};
  return "kernel '" + target.name + "', line " + std::to_string(error->line) +
         ": " + error->message;
}

std::unique_ptr<Device> quantopt::openEmulatedDevice(const std::string &chip,
                                                     std::string &error) {
  size_t digits =
      chip.rfind("sm_", 0) == 0
          ? std::count_if(chip.begin() + 3, chip.end(),
                          [](char c) { return c >= '0' && c <= '9'; })
          : 0;
  if (digits < 2) {
    error = "'" + chip + "' is no chip such as sm_80";
    return nullptr;
  }
  error.clear();
  return std::make_unique<EmulatedDevice>(chip);
}
