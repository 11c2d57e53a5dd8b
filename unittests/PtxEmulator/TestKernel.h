//===- TestKernel.h - Small kernels run in every schedule -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_UNITTESTS_PTXEMULATOR_TESTKERNEL_H
#define QUANTOPT_UNITTESTS_PTXEMULATOR_TESTKERNEL_H

#include "quantopt/PtxEmulator/PtxEmulator.h"

#include "gtest/gtest.h"

#include <cstring>

namespace quantopt::ptx {

/// A kernel "k" with 64-bit parameters p0, p1, ... and the body given. Its
/// registers are %r, %rd, %f, %h (16 bits), %d and %p, 64 of each.
inline std::string kernelText(const std::string &body, unsigned parameters = 2,
                              const std::string &globals = "") {
  std::string text = ".version 8.3\n.target sm_90a\n.address_size 64\n" +
                     globals + "\n.visible .entry k(";
  for (unsigned i = 0; i < parameters; ++i)
    text += (i ? ", " : "") + std::string(".param .u64 p") + std::to_string(i);
  return text +
         ")\n{\n.reg .b32 %r<64>;\n.reg .b64 %rd<64>;\n.reg .f32 "
         "%f<160>;\n.reg .b16 %h<64>;\n"
         ".reg .f64 %d<16>;\n.reg .pred %p<16>;\n" +
         body + "\nret;\n}\n";
}

/// A buffer on the device.
template <typename T> class Buffer {
public:
  Buffer(DeviceMemory &memory, size_t count) : count(count) {
    address = memory.allocate(count * sizeof(T));
  }
  Buffer(DeviceMemory &memory, const std::vector<T> &values)
      : Buffer(memory, values.size()) {
    std::memcpy(data(), values.data(), count * sizeof(T));
  }
  T *data() const { return reinterpret_cast<T *>(address); }
  T &operator[](size_t i) const { return data()[i]; }
  uint64_t address = 0;
  size_t count = 0;
};

struct Schedules {
  const char *name;
  RunOptions options;
};

inline std::vector<Schedules> allSchedules() {
  std::vector<Schedules> schedules = {{"greedy", {}}, {"round-robin", {}}};
  schedules[1].options.schedule = Schedule::RoundRobin;
  for (uint64_t seed : {1, 2, 3}) {
    schedules.push_back({"random", {}});
    schedules.back().options.schedule = Schedule::Random;
    schedules.back().options.seed = seed;
  }
  for (Schedules &schedule : schedules)
    schedule.options.maxInstructions = 20'000'000;
  return schedules;
}

inline std::unique_ptr<Module> parseKernel(const std::string &text) {
  std::string error;
  std::unique_ptr<Module> module = Module::parse(text, error);
  EXPECT_TRUE(module) << error;
  return module;
}

/// Runs kernel "k"; the message of the error, or an empty string.
inline std::string runKernel(const Module &module, DeviceMemory &memory,
                             Dim3 grid, Dim3 block,
                             const std::vector<uint64_t> &arguments,
                             const RunOptions &options = {},
                             uint32_t dynamicShared = 0) {
  Launch launch;
  launch.grid = grid;
  launch.block = block;
  launch.dynamicSharedBytes = dynamicShared;
  launch.parameters = {reinterpret_cast<const uint8_t *>(arguments.data()),
                       arguments.size() * 8};
  std::optional<Error> error = module.run("k", launch, memory, options);
  return error ? error->message : std::string();
}

} // namespace quantopt::ptx

#endif // QUANTOPT_UNITTESTS_PTXEMULATOR_TESTKERNEL_H
