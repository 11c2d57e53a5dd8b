//===- DevicePool.h - Device memory of activations --------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_DEVICEPOOL_H
#define QUANTOPT_RUNTIME_DEVICEPOOL_H

#include "quantopt/Runtime/Device.h"

#include <map>
#include <set>

namespace quantopt {

/// Blocks of device memory that are used again. A block serves requests of its
/// own size alone, the lowest address first: so who makes the same requests in
/// the same order again, with nothing taken before, needs no new block and,
/// from the second time on, gets the same addresses. Work in flight may still
/// use a block that was released, since the device does things in order.
class DevicePool {
public:
  explicit DevicePool(Device &device) : device(device) {}
  ~DevicePool();
  DevicePool(const DevicePool &) = delete;

  std::string allocate(size_t bytes, DeviceAddress &address);
  /// Ignores what is not a block in use.
  void release(DeviceAddress address);

  /// All blocks, used or not.
  size_t heldBytes() const { return held; }

private:
  Device &device;
  std::map<DeviceAddress, size_t> used;
  std::map<size_t, std::set<DeviceAddress>> unused;
  size_t held = 0;
};

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_DEVICEPOOL_H
