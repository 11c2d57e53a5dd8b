//===- Device.h - A machine that runs generated kernels ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The few calls that a compiled module makes to a GPU. There are two devices:
// the CUDA driver, loaded when it is asked for, and the PTX emulator. A device
// has one stream: what is asked of it happens in order, and some of it later.
//
// A device belongs to one thread at a time.
//
// Functions that can fail return what went wrong as text, empty for success.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_DEVICE_H
#define QUANTOPT_RUNTIME_DEVICE_H

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace quantopt {

/// An address in the device's memory; the host only computes with it.
using DeviceAddress = uint64_t;

/// Kernels that were loaded together. They live no longer than their device.
class DeviceModule {
public:
  virtual ~DeviceModule();
};

/// A kernel of a module, which owns it.
class DeviceKernel {
public:
  virtual ~DeviceKernel();
};

/// Recorded work that can be done again.
class DeviceGraph {
public:
  virtual ~DeviceGraph();
};

struct DeviceDim {
  uint32_t x = 1, y = 1, z = 1;
};

struct LaunchShape {
  DeviceDim grid, block;
  uint32_t dynamicSharedBytes = 0;
};

class Device {
public:
  virtual ~Device();

  /// For people.
  virtual std::string name() const = 0;
  /// For code generation: "sm_90a".
  virtual std::string chip() const = 0;

  /// At least 256 bytes aligned, not initialised.
  virtual std::string allocate(size_t bytes, DeviceAddress &address) = 0;
  /// Waits for work that may use the memory.
  virtual void free(DeviceAddress address) = 0;

  /// The host's memory may be written again once this returns.
  virtual std::string copyToDevice(DeviceAddress to, const void *from,
                                   size_t bytes) = 0;
  /// The host's memory holds the data after synchronize().
  virtual std::string copyToHost(void *to, DeviceAddress from,
                                 size_t bytes) = 0;
  virtual std::string copy(DeviceAddress to, DeviceAddress from,
                           size_t bytes) = 0;
  virtual std::string clear(DeviceAddress address, size_t bytes) = 0;

  /// Takes PTX text. Null and an error if it cannot be assembled.
  virtual std::unique_ptr<DeviceModule> loadModule(const std::string &ptx,
                                                   std::string &error) = 0;
  /// Null and an error if the module has no such kernel.
  virtual DeviceKernel *getKernel(DeviceModule &module, const std::string &name,
                                  std::string &error) = 0;
  /// Each parameter of the kernel takes the low bytes of one argument.
  virtual std::string launch(DeviceKernel &kernel, const LaunchShape &shape,
                             std::span<const uint64_t> arguments) = 0;
  /// Waits until all work is done. Says what failed of it.
  virtual std::string synchronize() = 0;

  /// Whether work can be recorded.
  virtual bool canCapture() const { return false; }
  /// From now on launches and copies on the device are recorded, not done.
  virtual std::string beginCapture();
  virtual std::unique_ptr<DeviceGraph> endCapture(std::string &error);
  virtual std::string launch(DeviceGraph &graph);
};

/// The first device of the CUDA driver. Null and an error that begins with "no
/// CUDA device: " if there is no driver or no device.
std::unique_ptr<Device> openCudaDevice(std::string &error);

/// The PTX emulator in the place of a GPU of architecture `chip` ("sm_90a"):
/// right, slow, and strict about what a real one might forgive. Null and an
/// error if it knows no such chip.
std::unique_ptr<Device> openEmulatedDevice(const std::string &chip,
                                           std::string &error);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_DEVICE_H
