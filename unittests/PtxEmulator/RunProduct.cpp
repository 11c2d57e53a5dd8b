//===- RunProduct.cpp - Runs matrix products in PTX files -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// run-ptx-product FILE THREADS: runs each kernel (A, B, C) of a PTX file in
// every schedule, with C [64, 64] = A [64, 64] * B, and compares with a product
// computed here. B is [n, k] in memory, or [k, n] for kernels whose name has
// "mn" or "tt" in it.
//
//===----------------------------------------------------------------------===//

#include "quantopt/PtxEmulator/PtxEmulator.h"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>

using namespace quantopt::ptx;

static constexpr unsigned kSize = 64;

/// f16 of an integer of magnitude below 2048.
static uint16_t halfOf(int value) {
  unsigned magnitude = std::abs(value), exponent = 0;
  if (magnitude == 0)
    return 0;
  while (magnitude >> (exponent + 1))
    ++exponent;
  unsigned mantissa = (magnitude << (10 - exponent)) & 0x3ff;
  return (value < 0 ? 0x8000 : 0) | (exponent + 15) << 10 | mantissa;
}

static bool runKernel(const Module &module, const std::string &name,
                      unsigned threads, const RunOptions &options) {
  DeviceMemory memory;
  uint64_t bytes = kSize * kSize * 2;
  uint64_t a = memory.allocate(bytes), b = memory.allocate(bytes),
           c = memory.allocate(2 * bytes);
  std::vector<int> valuesA(kSize * kSize), valuesB(kSize * kSize);
  bool transposed = name.find("mn") != std::string::npos ||
                    name.find("tt") != std::string::npos;
  for (unsigned i = 0; i < kSize * kSize; ++i) {
    valuesA[i] = int(i * 37 % 23) - 11;
    valuesB[i] = int(i * 29 % 19) - 9;
    reinterpret_cast<uint16_t *>(a)[i] = halfOf(valuesA[i]);
    reinterpret_cast<uint16_t *>(b)[i] = halfOf(valuesB[i]);
  }
  uint64_t arguments[] = {a, b, c};
  Launch launch;
  launch.block = {threads};
  launch.parameters = {reinterpret_cast<const uint8_t *>(arguments),
                       sizeof(arguments)};
  if (std::optional<Error> error = module.run(name, launch, memory, options)) {
    std::printf("%s: %s\n", name.c_str(), error->message.c_str());
    return false;
  }
  for (unsigned m = 0; m < kSize; ++m)
    for (unsigned n = 0; n < kSize; ++n) {
      int sum = 0;
      for (unsigned k = 0; k < kSize; ++k)
        sum += valuesA[m * kSize + k] *
               valuesB[transposed ? k * kSize + n : n * kSize + k];
      float got = reinterpret_cast<const float *>(c)[m * kSize + n];
      if (got != float(sum)) {
        std::printf("%s: C[%u, %u] is %g, not %d\n", name.c_str(), m, n, got,
                    sum);
        return false;
      }
    }
  return true;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: run-ptx-product FILE THREADS\n");
    return 2;
  }
  std::ifstream file(argv[1]);
  std::string text(std::istreambuf_iterator<char>(file), {}), error;
  std::unique_ptr<Module> module = Module::parse(text, error);
  if (!module) {
    std::printf("%s\n", error.c_str());
    return 1;
  }
  bool good = true;
  for (const std::string &name : module->entries()) {
    bool kernelGood = true;
    for (unsigned i = 0; i < 5; ++i) {
      RunOptions options;
      options.schedule = i == 0   ? Schedule::Greedy
                         : i == 1 ? Schedule::RoundRobin
                                  : Schedule::Random;
      options.seed = i;
      kernelGood &= runKernel(*module, name, std::atoi(argv[2]), options);
    }
    std::printf("%s: %s\n", name.c_str(), kernelGood ? "right" : "WRONG");
    good &= kernelGood;
  }
  return good ? 0 : 1;
}
