//===- DeviceProgram.h - Compiled code and its device -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_DEVICE_DEVICEPROGRAM_H
#define QUANTOPT_LIB_EXECUTION_DEVICE_DEVICEPROGRAM_H

#include "Stages.h"

#include "quantopt/Formats/HostArray.h"
#include "quantopt/Runtime/DevicePool.h"

#include <mutex>

namespace quantopt::execution {

/// What a compiled module has on a device: its kernels, its constants, and
/// memory for what it computes.
class DeviceProgram {
public:
  /// Where a result goes on the host.
  struct Destination {
    std::byte *data;
    size_t bytes;
  };

  /// The device must outlive the program.
  explicit DeviceProgram(Device &device) : device(device), pool(device) {}
  DeviceProgram(const DeviceProgram &) = delete;

  /// Loads the kernels and copies the constants. Says what failed.
  std::string load(const Compilation &compilation,
                   llvm::ArrayRef<mlir::RankedTensorType> inputs);

  /// Calls the compiled entry, which takes pointers to its arguments, and waits
  /// for the results. The second run is recorded, where the device can and the
  /// entry always asks for the same; later ones are that recording. Sets
  /// `failedCheck` if a check failed. Says what failed otherwise.
  std::string run(void (*entry)(void **), llvm::ArrayRef<HostArray> inputs,
                  llvm::ArrayRef<Destination> results,
                  std::optional<int64_t> &failedCheck);

  /// What the entry may call, by name. It works on the program whose run() is
  /// under way on the same thread.
  static llvm::ArrayRef<std::pair<llvm::StringRef, void *>> symbols();

private:
  struct Calls; // the functions behind symbols()

  std::string callEntry(void (*entry)(void **), size_t numResults);
  std::string recordEntry(void (*entry)(void **), size_t numResults);
  void note(std::string message) {
    if (error.empty())
      error = std::move(message);
  }

  Device &device;
  DevicePool pool;
  std::vector<std::unique_ptr<DeviceModule>> modules;
  std::vector<DeviceKernel *> kernels;
  /// Inputs, constants, and a mark for each check.
  std::vector<DeviceAddress> arguments;
  size_t numChecks = 0;
  bool canReplay = false;

  std::mutex mutex; // one run at a time
  unsigned numRuns = 0;
  std::unique_ptr<DeviceGraph> graph;
  std::vector<DeviceAddress> resultAddresses;
  std::string error; ///< the first, of the run that is under way
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_DEVICE_DEVICEPROGRAM_H
