//===- CudaDevice.cpp - A GPU behind the CUDA driver ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDriver.h"

#include "quantopt/Runtime/Device.h"

#include <deque>
#include <vector>

using namespace quantopt;
using cuda::Driver;

/// More than this a kernel must ask for before it is launched.
static constexpr uint32_t dynamicSharedLimit = 48 << 10;

namespace {

struct CudaKernel : DeviceKernel {
  cuda::Function function = nullptr;
  std::string name;
  uint32_t allowedShared = dynamicSharedLimit;
};

struct CudaModule : DeviceModule {
  const Driver &driver;
  cuda::Module module = nullptr;
  std::deque<CudaKernel> kernels; // does not move them

  explicit CudaModule(const Driver &driver) : driver(driver) {}
  ~CudaModule() override {
    if (module)
      driver.cuModuleUnload(module);
  }
};

struct CudaGraph : DeviceGraph {
  const Driver &driver;
  cuda::GraphExec executable = nullptr;

  explicit CudaGraph(const Driver &driver) : driver(driver) {}
  ~CudaGraph() override {
    if (executable)
      driver.cuGraphExecDestroy(executable);
  }
};

class CudaDevice : public Device {
public:
  explicit CudaDevice(const Driver &driver) : driver(driver) {}
  ~CudaDevice() override;
  std::string open();

  std::string name() const override { return deviceName; }
  std::string chip() const override { return chipName; }

  std::string allocate(size_t bytes, DeviceAddress &address) override;
  void free(DeviceAddress address) override;
  std::string copyToDevice(DeviceAddress to, const void *from,
                           size_t bytes) override;
  std::string copyToHost(void *to, DeviceAddress from, size_t bytes) override;
  std::string copy(DeviceAddress to, DeviceAddress from, size_t bytes) override;
  std::string clear(DeviceAddress address, size_t bytes) override;
  std::unique_ptr<DeviceModule> loadModule(const std::string &ptx,
                                           std::string &error) override;
  DeviceKernel *getKernel(DeviceModule &module, const std::string &name,
                          std::string &error) override;
  std::string launch(DeviceKernel &kernel, const LaunchShape &shape,
                     std::span<const uint64_t> arguments) override;
  std::string synchronize() override;
  bool canCapture() const override { return true; }
  std::string beginCapture() override;
  std::unique_ptr<DeviceGraph> endCapture(std::string &error) override;
  std::string launch(DeviceGraph &graph) override;

private:
  /// What failed, or an empty text.
  std::string check(cuda::Result result, const std::string &what) const;
  /// A call of the driver works on the context of its thread.
  std::string enter() const {
    return check(driver.cuCtxSetCurrent(context), "using the device");
  }

  const Driver &driver;
  cuda::DeviceId id = 0;
  cuda::Context context = nullptr;
  cuda::Stream stream = nullptr;
  std::string deviceName, chipName;
};

} // namespace

std::string CudaDevice::check(cuda::Result result,
                              const std::string &what) const {
  return result ? what + " failed: " + driver.describe(result) : std::string();
}

std::string CudaDevice::open() {
  int count = 0;
  cuda::Result result = driver.cuInit(0);
  if (!result)
    result = driver.cuDeviceGetCount(&count);
  if (!result && count == 0)
    result = cuda::errorNoDevice;
  if (!result)
    result = driver.cuDeviceGet(&id, 0);
  char text[256] = {};
  if (!result)
    result = driver.cuDeviceGetName(text, sizeof(text) - 1, id);
  int major = 0, minor = 0;
  if (!result)
    result = driver.cuDeviceGetAttribute(&major, cuda::attributeMajor, id);
  if (!result)
    result = driver.cuDeviceGetAttribute(&minor, cuda::attributeMinor, id);
  if (!result)
    result = driver.cuDevicePrimaryCtxRetain(&context, id);
  if (result)
    return driver.describe(result);
  deviceName = text;
  chipName = "sm_" + std::to_string(major) + std::to_string(minor);
  // From Hopper on the fastest instructions belong to one architecture alone.
  if (major >= 9)
    chipName += "a";
  if (std::string error = enter(); !error.empty())
    return error;
  return check(driver.cuStreamCreate(&stream, cuda::streamNonBlocking),
               "making a stream");
}

CudaDevice::~CudaDevice() {
  if (stream) {
    driver.cuStreamSynchronize(stream);
    driver.cuStreamDestroy_v2(stream);
  }
  if (context)
    driver.cuDevicePrimaryCtxRelease_v2(id);
}

std::string CudaDevice::allocate(size_t bytes, DeviceAddress &address) {
  address = 0;
  if (std::string error = enter(); !error.empty())
    return error;
  cuda::Pointer pointer = 0;
  std::string error =
      check(driver.cuMemAlloc_v2(&pointer, bytes ? bytes : 1),
            "taking " + std::to_string(bytes) + " bytes of device memory");
  address = pointer;
  return error;
}

void CudaDevice::free(DeviceAddress address) {
  if (address && enter().empty())
    driver.cuMemFree_v2(address);
}

std::string CudaDevice::copyToDevice(DeviceAddress to, const void *from,
                                     size_t bytes) {
  if (std::string error = enter(); !error.empty() || !bytes)
    return error;
  return check(driver.cuMemcpyHtoDAsync_v2(to, from, bytes, stream),
               "copying to the device");
}

std::string CudaDevice::copyToHost(void *to, DeviceAddress from, size_t bytes) {
  if (std::string error = enter(); !error.empty() || !bytes)
    return error;
  return check(driver.cuMemcpyDtoHAsync_v2(to, from, bytes, stream),
               "copying from the device");
}

std::string CudaDevice::copy(DeviceAddress to, DeviceAddress from,
                             size_t bytes) {
  if (std::string error = enter(); !error.empty() || !bytes)
    return error;
  return check(driver.cuMemcpyDtoDAsync_v2(to, from, bytes, stream),
               "copying on the device");
}

std::string CudaDevice::clear(DeviceAddress address, size_t bytes) {
  if (std::string error = enter(); !error.empty() || !bytes)
    return error;
  return check(driver.cuMemsetD8Async(address, 0, bytes, stream),
               "clearing device memory");
}

std::unique_ptr<DeviceModule> CudaDevice::loadModule(const std::string &ptx,
                                                     std::string &error) {
  if (error = enter(); !error.empty())
    return nullptr;
  auto module = std::make_unique<CudaModule>(driver);
  std::vector<char> log(16 << 10);
  int options[] = {cuda::jitErrorLog, cuda::jitErrorLogBytes};
  void *values[] = {log.data(),
                    reinterpret_cast<void *>(uintptr_t(log.size() - 1))};
  error = check(driver.cuModuleLoadDataEx(&module->module, ptx.c_str(), 2,
                                          options, values),
                "assembling the kernels");
  if (error.empty())
    return module;
  if (log[0])
    error += std::string("\n") + log.data();
  module->module = nullptr;
  return nullptr;
}

DeviceKernel *CudaDevice::getKernel(DeviceModule &module,
                                    const std::string &name,
                                    std::string &error) {
  if (error = enter(); !error.empty())
    return nullptr;
  auto &loaded = static_cast<CudaModule &>(module);
  CudaKernel kernel;
  kernel.name = name;
  error = check(
      driver.cuModuleGetFunction(&kernel.function, loaded.module, name.c_str()),
      "finding kernel '" + name + "'");
  if (!error.empty())
    return nullptr;
  return &loaded.kernels.emplace_back(std::move(kernel));
}

std::string CudaDevice::launch(DeviceKernel &kernel, const LaunchShape &shape,
                               std::span<const uint64_t> arguments) {
  if (std::string error = enter(); !error.empty())
    return error;
  auto &target = static_cast<CudaKernel &>(kernel);
  if (shape.dynamicSharedBytes > target.allowedShared) {
    std::string error =
        check(driver.cuFuncSetAttribute(target.function,
                                        cuda::functionMaxDynamicShared,
                                        int(shape.dynamicSharedBytes)),
              "giving kernel '" + target.name + "' " +
                  std::to_string(shape.dynamicSharedBytes) +
                  " bytes of shared memory");
    if (!error.empty())
      return error;
    target.allowedShared = shape.dynamicSharedBytes;
  }
  // The driver knows the sizes of the parameters and only reads.
  std::vector<void *> pointers;
  for (const uint64_t &argument : arguments)
    pointers.push_back(const_cast<uint64_t *>(&argument));
  const auto &[grid, block, shared] = shape;
  return check(driver.cuLaunchKernel(target.function, grid.x, grid.y, grid.z,
                                     block.x, block.y, block.z, shared, stream,
                                     pointers.data(), nullptr),
               "launching kernel '" + target.name + "'");
}

std::string CudaDevice::synchronize() {
  if (std::string error = enter(); !error.empty())
    return error;
  return check(driver.cuStreamSynchronize(stream), "running on the device");
}

std::string CudaDevice::beginCapture() {
  if (std::string error = enter(); !error.empty())
    return error;
  return check(driver.cuStreamBeginCapture_v2(stream, cuda::captureThreadLocal),
               "recording a graph");
}

std::unique_ptr<DeviceGraph> CudaDevice::endCapture(std::string &error) {
  if (error = enter(); !error.empty())
    return nullptr;
  cuda::Graph recorded = nullptr;
  error =
      check(driver.cuStreamEndCapture(stream, &recorded), "recording a graph");
  if (!error.empty())
    return nullptr;
  auto graph = std::make_unique<CudaGraph>(driver);
  error =
      check(driver.cuGraphInstantiateWithFlags(&graph->executable, recorded, 0),
            "preparing a graph");
  driver.cuGraphDestroy(recorded);
  if (!error.empty())
    graph->executable = nullptr;
  return error.empty() ? std::move(graph) : nullptr;
}

std::string CudaDevice::launch(DeviceGraph &graph) {
  if (std::string error = enter(); !error.empty())
    return error;
  return check(
      driver.cuGraphLaunch(static_cast<CudaGraph &>(graph).executable, stream),
      "launching a graph");
}

std::unique_ptr<Device> quantopt::openCudaDevice(std::string &error) {
  std::string reason;
  if (const Driver *driver = Driver::load(reason)) {
    auto device = std::make_unique<CudaDevice>(*driver);
    reason = device->open();
    if (reason.empty()) {
      error.clear();
      return device;
    }
  }
  error = "no CUDA device: " + reason;
  return nullptr;
}
