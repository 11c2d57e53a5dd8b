//===- Device.cpp - A machine that runs generated kernels -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Device.h"

using namespace quantopt;

DeviceModule::~DeviceModule() = default;
DeviceKernel::~DeviceKernel() = default;
DeviceGraph::~DeviceGraph() = default;
Device::~Device() = default;

static const char *const noCapture = "this device cannot record work";

std::string Device::beginCapture() { return noCapture; }
std::unique_ptr<DeviceGraph> Device::endCapture(std::string &error) {
  error = noCapture;
  return nullptr;
}
std::string Device::launch(DeviceGraph &) { return noCapture; }
