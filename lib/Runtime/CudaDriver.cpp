//===- CudaDriver.cpp - Finding the CUDA driver ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "CudaDriver.h"

#include <dlfcn.h>

using namespace quantopt::cuda;

namespace {
struct Loaded {
  Driver driver;
  std::string error;

  Loaded() {
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char *reason = dlerror();
      error = reason ? reason : "libcuda.so.1 cannot be loaded";
      return;
    }
#define QUANTOPT_CUDA_FIND(NAME, ...) find(library, #NAME, driver.NAME);
    QUANTOPT_CUDA_CALLS(QUANTOPT_CUDA_FIND)
#undef QUANTOPT_CUDA_FIND
  }

  template <typename FunctionT>
  void find(void *library, const char *name, FunctionT *&function) {
    function = reinterpret_cast<FunctionT *>(dlsym(library, name));
    if (!function && error.empty())
      error = std::string("libcuda.so.1 has no ") + name +
              "; the driver is older than CUDA 11.4";
  }
};
} // namespace

const Driver *Driver::load(std::string &error) {
  static const Loaded loaded;
  error = loaded.error;
  return error.empty() ? &loaded.driver : nullptr;
}

std::string Driver::describe(Result error) const {
  const char *name = nullptr, *text = nullptr;
  cuGetErrorName(error, &name);
  cuGetErrorString(error, &text);
  std::string description = name ? name : "CUDA error " + std::to_string(error);
  return text ? description + " (" + text + ")" : description;
}
