//===- FakeCudaDriver.cpp - A libcuda.so.1 for tests ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The driver's functions that quant-opt calls, over the PTX emulator, so that
// the way through the driver runs where there is none. Work waits until the
// stream is synchronised; while a graph is recorded, what CUDA forbids fails.
//
// FAKE_CUDA_FAIL=cuName lets a function fail; FAKE_CUDA_REPORT=1 counts calls
// at the end. What the ABI's numbers and types are, it cannot check.
//
//===----------------------------------------------------------------------===//

#include "CudaDriver.h"

#include "quantopt/PtxEmulator/PtxEmulator.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <utility>

using namespace quantopt;
using namespace quantopt::cuda;

namespace quantopt::cuda {
struct ContextImpl {};
struct ModuleImpl {
  std::unique_ptr<ptx::Module> module;
  std::vector<std::unique_ptr<FunctionImpl>> functions;
};
struct FunctionImpl {
  ptx::Module *module;
  std::string name;
  std::vector<ptx::Parameter> parameters;
  unsigned maxShared = 48 << 10;
};
using Work = std::vector<std::function<Result()>>;
struct StreamImpl {
  Work waiting;
  bool capturing = false;
};
struct GraphImpl {
  Work work;
};
struct GraphExecImpl {
  Work work;
};
} // namespace quantopt::cuda

namespace {

constexpr Result invalidValue = 1, invalidImage = 200, notFound = 500,
                 launchFailed = 719, captureUnsupported = 900, unknown = 999;

struct Counts {
  int launches = 0, captured = 0, graphs = 0, allocations = 0, alive = 0;
  ~Counts() {
    if (std::getenv("FAKE_CUDA_REPORT"))
      std::fprintf(stderr,
                   "%d launches, %d recorded, %d graphs launched, %d blocks "
                   "taken, %d not given back\n",
                   launches, captured, graphs, allocations, alive);
  }
};

Counts &counts() {
  static Counts instance;
  return instance;
}
ptx::DeviceMemory &memory() {
  static ptx::DeviceMemory instance;
  return instance;
}
StreamImpl &theStream() {
  static StreamImpl instance;
  return instance;
}
ContextImpl theContext;
thread_local Context currentContext = nullptr;

bool mustFail(const char *name) {
  const char *failing = std::getenv("FAKE_CUDA_FAIL");
  return failing && std::strcmp(failing, name) == 0;
}

/// Calls of a thread without a context, and what a recording cannot hold, fail.
Result enter(const char *name, bool whileCapturing = false) {
  if (mustFail(name))
    return unknown;
  if (!currentContext)
    return 201;
  return theStream().capturing && !whileCapturing ? captureUnsupported : 0;
}

Result enqueue(Stream stream, std::function<Result()> work) {
  if (stream != &theStream())
    return invalidValue;
  stream->waiting.push_back(std::move(work));
  return 0;
}

Result finish(Work work) {
  for (auto &item : work)
    if (Result failed = item())
      return failed;
  return 0;
}

} // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT Result cuInit(unsigned) {
  counts();
  return mustFail("cuInit") ? unknown : 0;
}
EXPORT Result cuGetErrorName(Result error, const char **name) {
  switch (error) {
  case invalidValue:
    *name = "CUDA_ERROR_INVALID_VALUE";
    return 0;
  case invalidImage:
    *name = "CUDA_ERROR_INVALID_IMAGE";
    return 0;
  case notFound:
    *name = "CUDA_ERROR_NOT_FOUND";
    return 0;
  case launchFailed:
    *name = "CUDA_ERROR_LAUNCH_FAILED";
    return 0;
  case captureUnsupported:
    *name = "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED";
    return 0;
  case unknown:
    *name = "CUDA_ERROR_UNKNOWN";
    return 0;
  }
  return invalidValue;
}
EXPORT Result cuGetErrorString(Result error, const char **text) {
  *text = error == unknown ? "unknown error" : nullptr;
  return *text ? 0 : invalidValue;
}
EXPORT Result cuDeviceGetCount(int *count) {
  *count = std::getenv("FAKE_CUDA_EMPTY") ? 0 : 1;
  return 0;
}
EXPORT Result cuDeviceGet(DeviceId *device, int ordinal) {
  *device = ordinal;
  return 0;
}
EXPORT Result cuDeviceGetName(char *name, int length, DeviceId) {
  std::snprintf(name, size_t(length), "Fake GPU");
  return 0;
}
EXPORT Result cuDeviceGetAttribute(int *value, int attribute, DeviceId) {
  *value = attribute == attributeMajor   ? 8
           : attribute == attributeMinor ? 0
                                         : -1;
  return 0;
}
EXPORT Result cuDevicePrimaryCtxRetain(Context *context, DeviceId) {
  *context = &theContext;
  return 0;
}
EXPORT Result cuDevicePrimaryCtxRelease_v2(DeviceId) { return 0; }
EXPORT Result cuCtxSetCurrent(Context context) {
  currentContext = context;
  return 0;
}
EXPORT Result cuStreamCreate(Stream *stream, unsigned) {
  *stream = &theStream();
  return enter("cuStreamCreate");
}
EXPORT Result cuStreamDestroy_v2(Stream) { return 0; }
EXPORT Result cuStreamSynchronize(Stream stream) {
  if (Result error = enter("cuStreamSynchronize"))
    return error;
  return finish(std::exchange(stream->waiting, {}));
}

EXPORT Result cuMemAlloc_v2(Pointer *address, size_t bytes) {
  if (Result error = enter("cuMemAlloc_v2"))
    return error;
  *address = memory().allocate(bytes);
  ++counts().allocations;
  ++counts().alive;
  return 0;
}
EXPORT Result cuMemFree_v2(Pointer address) {
  if (Result error = enter("cuMemFree_v2"))
    return error;
  // As in CUDA, what is under way ends first.
  if (Result error = finish(std::exchange(theStream().waiting, {})))
    return error;
  --counts().alive;
  return memory().free(address) ? 0 : invalidValue;
}
EXPORT Result cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes,
                                   Stream stream) {
  if (Result error = enter("cuMemcpyHtoDAsync_v2"))
    return error;
  auto *begin = static_cast<const uint8_t *>(from);
  return enqueue(stream, [to, data = std::vector(begin, begin + bytes)] {
    uint8_t *there = memory().data(to, data.size());
    if (there)
      std::memcpy(there, data.data(), data.size());
    return there ? 0 : invalidValue;
  });
}
EXPORT Result cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes,
                                   Stream stream) {
  if (Result error = enter("cuMemcpyDtoHAsync_v2"))
    return error;
  return enqueue(stream, [=] {
    uint8_t *there = memory().data(from, bytes);
    if (there)
      std::memcpy(to, there, bytes);
    return there ? 0 : invalidValue;
  });
}
EXPORT Result cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes,
                                   Stream stream) {
  if (Result error = enter("cuMemcpyDtoDAsync_v2", true))
    return error;
  return enqueue(stream, [=] {
    uint8_t *source = memory().data(from, bytes);
    uint8_t *target = memory().data(to, bytes);
    if (source && target)
      std::memcpy(target, source, bytes);
    return source && target ? 0 : invalidValue;
  });
}
EXPORT Result cuMemsetD8Async(Pointer to, unsigned char value, size_t bytes,
                              Stream stream) {
  if (Result error = enter("cuMemsetD8Async", true))
    return error;
  return enqueue(stream, [=] {
    uint8_t *there = memory().data(to, bytes);
    if (there)
      std::memset(there, value, bytes);
    return there ? 0 : invalidValue;
  });
}

EXPORT Result cuModuleLoadDataEx(Module *module, const void *image,
                                 unsigned numOptions, int *options,
                                 void **values) {
  if (Result error = enter("cuModuleLoadDataEx"))
    return error;
  std::string message;
  auto loaded = std::make_unique<ModuleImpl>();
  loaded->module =
      ptx::Module::parse(static_cast<const char *>(image), message);
  if (loaded->module) {
    *module = loaded.release();
    return 0;
  }
  char *log = nullptr;
  size_t bytes = 0;
  for (unsigned i = 0; i < numOptions; ++i)
    if (options[i] == jitErrorLog)
      log = static_cast<char *>(values[i]);
    else if (options[i] == jitErrorLogBytes)
      bytes = reinterpret_cast<uintptr_t>(values[i]);
  if (log && bytes)
    std::snprintf(log, bytes, "%s", message.c_str());
  return invalidImage;
}
EXPORT Result cuModuleUnload(Module module) {
  delete module;
  return 0;
}
EXPORT Result cuModuleGetFunction(Function *function, Module module,
                                  const char *name) {
  if (Result error = enter("cuModuleGetFunction"))
    return error;
  auto parameters = module->module->parameters(name);
  if (!parameters)
    return notFound;
  module->functions.push_back(std::make_unique<FunctionImpl>(
      FunctionImpl{module->module.get(), name, *parameters}));
  *function = module->functions.back().get();
  return 0;
}
EXPORT Result cuFuncSetAttribute(Function function, int attribute, int value) {
  if (attribute != functionMaxDynamicShared || value > 227 << 10)
    return invalidValue;
  function->maxShared = unsigned(value);
  return 0;
}
EXPORT Result cuLaunchKernel(Function function, unsigned gridX, unsigned gridY,
                             unsigned gridZ, unsigned blockX, unsigned blockY,
                             unsigned blockZ, unsigned sharedBytes,
                             Stream stream, void **arguments, void **) {
  if (Result error = enter("cuLaunchKernel", true))
    return error;
  if (sharedBytes > function->maxShared || gridX == 0 || gridY > 65535 ||
      gridZ > 65535 || blockX * blockY * blockZ > 1024)
    return invalidValue;
  ++(stream->capturing ? counts().captured : counts().launches);
  std::vector<uint8_t> data;
  for (size_t i = 0; i < function->parameters.size(); ++i) {
    auto [offset, size] = function->parameters[i];
    data.resize(offset + size);
    std::memcpy(data.data() + offset, arguments[i], size);
  }
  return enqueue(stream, [=] {
    auto error = function->module->run(
        function->name,
        {{gridX, gridY, gridZ}, {blockX, blockY, blockZ}, sharedBytes, data},
        memory());
    if (error)
      std::fprintf(stderr, "fake CUDA: %s\n", error->message.c_str());
    return error ? launchFailed : 0;
  });
}

EXPORT Result cuStreamBeginCapture_v2(Stream stream, int) {
  if (Result error = enter("cuStreamBeginCapture_v2"))
    return error;
  if (Result error = finish(std::exchange(stream->waiting, {})))
    return error;
  stream->capturing = true;
  return 0;
}
EXPORT Result cuStreamEndCapture(Stream stream, Graph *graph) {
  stream->capturing = false;
  *graph = new GraphImpl{std::exchange(stream->waiting, {})};
  return enter("cuStreamEndCapture");
}
EXPORT Result cuGraphInstantiateWithFlags(GraphExec *executable, Graph graph,
                                          unsigned long long) {
  *executable = new GraphExecImpl{graph->work};
  return 0;
}
EXPORT Result cuGraphLaunch(GraphExec executable, Stream stream) {
  if (Result error = enter("cuGraphLaunch"))
    return error;
  ++counts().graphs;
  return enqueue(stream, [executable] { return finish(executable->work); });
}
EXPORT Result cuGraphDestroy(Graph graph) {
  delete graph;
  return 0;
}
EXPORT Result cuGraphExecDestroy(GraphExec executable) {
  delete executable;
  return 0;
}

// The names and types are those that the device looks for.
#define SAME_TYPE(NAME, ...)                                                   \
  static_assert(std::is_same_v<decltype(&NAME), decltype(Driver::NAME)>);
QUANTOPT_CUDA_CALLS(SAME_TYPE)
