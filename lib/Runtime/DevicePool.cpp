//===- DevicePool.cpp - Device memory of activations ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/DevicePool.h"

#include <algorithm>

using namespace quantopt;

/// Sizes are rounded up to this, which is also how a device aligns.
static constexpr size_t granularity = 256;

DevicePool::~DevicePool() {
  for (auto [address, bytes] : used)
    device.free(address);
  for (auto &[bytes, addresses] : unused)
    for (DeviceAddress address : addresses)
      device.free(address);
}

std::string DevicePool::allocate(size_t bytes, DeviceAddress &address) {
  size_t size = (std::max<size_t>(bytes, 1) + granularity - 1) / granularity *
                granularity;
  std::set<DeviceAddress> &free = unused[size];
  if (free.empty()) {
    if (std::string error = device.allocate(size, address); !error.empty())
      return error;
    held += size;
  } else {
    address = *free.begin();
    free.erase(free.begin());
  }
  used[address] = size;
  return {};
}

void DevicePool::release(DeviceAddress address) {
  auto it = used.find(address);
  if (it == used.end())
    return;
  unused[it->second].insert(address);
  used.erase(it);
}
