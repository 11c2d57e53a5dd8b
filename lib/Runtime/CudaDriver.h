//===- CudaDriver.h - The part of the CUDA driver's API we use --*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Declared here so that neither building nor linking needs a CUDA toolkit. The
// names are those that libcuda.so.1 exports: a `_v2` is part of the ABI.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_RUNTIME_CUDADRIVER_H
#define QUANTOPT_LIB_RUNTIME_CUDADRIVER_H

#include <cstddef>
#include <string>

namespace quantopt::cuda {

using Result = int; ///< 0 is success
using DeviceId = int;
using Pointer = unsigned long long;
using Context = struct ContextImpl *;
using Stream = struct StreamImpl *;
using Module = struct ModuleImpl *;
using Function = struct FunctionImpl *;
using Graph = struct GraphImpl *;
using GraphExec = struct GraphExecImpl *;

// Numbers of the ABI.
inline constexpr Result errorNoDevice = 100;
inline constexpr int attributeMajor = 75, attributeMinor = 76;
inline constexpr int functionMaxDynamicShared = 8;
inline constexpr unsigned streamNonBlocking = 1;
inline constexpr int captureThreadLocal = 1;
inline constexpr int jitErrorLog = 5, jitErrorLogBytes = 6;

/// Every entry point that is used: its name in the library and its type.
#define QUANTOPT_CUDA_CALLS(CALL)                                              \
  CALL(cuInit, unsigned flags)                                                 \
  CALL(cuGetErrorName, Result error, const char **name)                        \
  CALL(cuGetErrorString, Result error, const char **text)                      \
  CALL(cuDeviceGetCount, int *count)                                           \
  CALL(cuDeviceGet, DeviceId *device, int ordinal)                             \
  CALL(cuDeviceGetName, char *name, int length, DeviceId device)               \
  CALL(cuDeviceGetAttribute, int *value, int attribute, DeviceId device)       \
  CALL(cuDevicePrimaryCtxRetain, Context *context, DeviceId device)            \
  CALL(cuDevicePrimaryCtxRelease_v2, DeviceId device)                          \
  CALL(cuCtxSetCurrent, Context context)                                       \
  CALL(cuStreamCreate, Stream *stream, unsigned flags)                         \
  CALL(cuStreamDestroy_v2, Stream stream)                                      \
  CALL(cuStreamSynchronize, Stream stream)                                     \
  CALL(cuMemAlloc_v2, Pointer *address, size_t bytes)                          \
  CALL(cuMemFree_v2, Pointer address)                                          \
  CALL(cuMemcpyHtoDAsync_v2, Pointer to, const void *from, size_t bytes,       \
       Stream stream)                                                          \
  CALL(cuMemcpyDtoHAsync_v2, void *to, Pointer from, size_t bytes,             \
       Stream stream)                                                          \
  CALL(cuMemcpyDtoDAsync_v2, Pointer to, Pointer from, size_t bytes,           \
       Stream stream)                                                          \
  CALL(cuMemsetD8Async, Pointer to, unsigned char value, size_t bytes,         \
       Stream stream)                                                          \
  CALL(cuModuleLoadDataEx, Module *module, const void *image,                  \
       unsigned numOptions, int *options, void **values)                       \
  CALL(cuModuleUnload, Module module)                                          \
  CALL(cuModuleGetFunction, Function *function, Module module,                 \
       const char *name)                                                       \
  CALL(cuFuncSetAttribute, Function function, int attribute, int value)        \
  CALL(cuLaunchKernel, Function function, unsigned gridX, unsigned gridY,      \
       unsigned gridZ, unsigned blockX, unsigned blockY, unsigned blockZ,      \
       unsigned sharedBytes, Stream stream, void **arguments, void **extra)    \
  CALL(cuStreamBeginCapture_v2, Stream stream, int mode)                       \
  CALL(cuStreamEndCapture, Stream stream, Graph *graph)                        \
  CALL(cuGraphInstantiateWithFlags, GraphExec *executable, Graph graph,        \
       unsigned long long flags)                                               \
  CALL(cuGraphLaunch, GraphExec executable, Stream stream)                     \
  CALL(cuGraphDestroy, Graph graph)                                            \
  CALL(cuGraphExecDestroy, GraphExec executable)

/// The driver's functions, found in libcuda.so.1. It stays loaded.
struct Driver {
#define QUANTOPT_CUDA_POINTER(NAME, ...) Result (*NAME)(__VA_ARGS__) = nullptr;
  QUANTOPT_CUDA_CALLS(QUANTOPT_CUDA_POINTER)
#undef QUANTOPT_CUDA_POINTER

  /// Null and an error if the library or a function of it is missing.
  static const Driver *load(std::string &error);

  /// "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)".
  std::string describe(Result error) const;
};

} // namespace quantopt::cuda

#endif // QUANTOPT_LIB_RUNTIME_CUDADRIVER_H
