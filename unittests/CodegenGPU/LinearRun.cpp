//===- LinearRun.cpp - A linear layer on the emulator ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Packing/PackedMatrix.h"

#include "mlir/IR/MLIRContext.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/TargetSelect.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <gtest/gtest.h>
#include <random>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;

/// What y holds before a run with experts.
static constexpr float kUntouched = 0.25f;

/// The number of the expert with this index: not the index itself.
static int64_t numberOf(int64_t expert) { return 3 * expert + 1; }

static QuantizedMatrix makeWeight(const LinearProblem &problem,
                                  std::mt19937 &random) {
  std::normal_distribution<float> normal;
  const Scheme &scheme = problem.scheme;
  QuantizedMatrix weight;
  weight.scheme = scheme;
  weight.n = problem.n;
  weight.k = problem.k;
  for (int64_t i = 0; i < problem.n * problem.k; ++i)
    weight.codes.push_back(random() & scheme.maxCode());
  for (int64_t i = 0; i < scheme.numScales(problem.n, problem.k); ++i) {
    float scale = roundTo(scheme.scaleType, std::exp(normal(random) * 0.5f));
    weight.scales.push_back(scale);
    if (scheme.zero == ZeroKind::Integer)
      weight.offsets.push_back(random() & scheme.maxCode());
    else if (scheme.zero == ZeroKind::Minimum)
      weight.offsets.push_back(
          roundTo(scheme.scaleType,
                  -scale * (scheme.maxCode() / 2.0f + normal(random))));
  }
  return weight;
}

LinearCase kernels::makeCase(const LinearProblem &problem, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  LinearCase result;
  result.problem = problem;
  auto [m, n, k] = std::tuple(problem.m, problem.n, problem.k);
  std::vector<std::vector<float>> values;
  for (int64_t i = 0; i < std::max<int64_t>(problem.experts, 1); ++i) {
    result.weights.push_back(makeWeight(problem, random));
    values.emplace_back(n * k);
    dequantize(result.weights.back(), values.back());
  }
  for (int64_t i = 0; i < m * k; ++i)
    result.x.push_back(roundTo(problem.x, normal(random)));
  result.y.resize(m * n);
  result.absSums.resize(m * n);
  for (int64_t token = 0; token < m; ++token) {
    int64_t expert = 0;
    if (problem.experts) {
      // Some rows go to nobody, and the last expert gets none.
      expert = random() % problem.experts;
      bool isServed = expert + 1 < problem.experts;
      result.routing.push_back(isServed ? numberOf(expert) : -1);
      if (!isServed) {
        for (int64_t row = 0; row < n; ++row)
          result.y[token * n + row] = kUntouched;
        continue;
      }
    }
    for (int64_t row = 0; row < n; ++row)
      for (int64_t i = 0; i < k; ++i) {
        double product =
            double(values[expert][row * k + i]) * result.x[token * k + i];
        result.y[token * n + row] += product;
        result.absSums[token * n + row] += std::abs(product);
      }
  }
  return result;
}

/// Half a unit in the last place of 1.
static double roundingOf(FloatKind kind) {
  switch (kind) {
  case FloatKind::F16:
    return std::ldexp(1, -11);
  case FloatKind::BF16:
    return std::ldexp(1, -8);
  case FloatKind::F32:
    return std::ldexp(1, -24);
  }
  return 0;
}

double kernels::errorBound(const LinearCase &linear, size_t output) {
  const LinearProblem &problem = linear.problem;
  double rounding = roundingOf(problem.compute);
  double perProduct = 2 * (problem.k + 16) * roundingOf(FloatKind::F32);
  if (problem.x != problem.compute)
    perProduct += rounding;
  // Values of a table are rounded to the type that is multiplied; integers are
  // exact.
  if (problem.scheme.table != CodeTable::Linear)
    perProduct += rounding;
  // Few tokens: scales multiply sums, if those are of one group. Else the
  // scale, the offset and the weight are rounded.
  int64_t group = problem.scheme.groupLength(problem.k);
  bool scalesSums = problem.m <= 32 &&
                    (group % 64 == 0 || group >= problem.k) &&
                    (problem.experts == 0 || problem.m <= 16 * problem.experts);
  if (!scalesSums)
    perProduct += 3 * rounding;
  // An offset is larger than the value that is left of it.
  if (problem.scheme.zero == ZeroKind::Minimum)
    perProduct *= 2;
  return linear.absSums[output] * perProduct +
         std::abs(linear.y[output]) * roundingOf(problem.y);
}

CompiledLinear kernels::compileLinear(const LinearProblem &problem) {
  static bool initialized = [] {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
    return true;
  }();
  (void)initialized;
  CompiledLinear result;
  EXPECT_EQ(verify(problem), "");
  DialectRegistry registry;
  registerSerialization(registry);
  registry.insert<lowbit::LowBitDialect>();
  MLIRContext context(registry);
  context.loadAllAvailableDialects();
  OpBuilder builder(&context);
  OwningOpRef<ModuleOp> top = ModuleOp::create(builder.getUnknownLoc());
  builder.setInsertionPointToStart(top->getBody());
  auto module = mlir::gpu::GPUModuleOp::create(
      builder, builder.getUnknownLoc(), "kernels",
      ArrayRef<Attribute>{targetAttr(&context, problem.chip)});
  result.plan = emitLinear(module, problem);
  for (const KernelLaunch &launch : result.plan)
    for (Operand operand : launch.operands) {
      unsigned index = static_cast<unsigned>(operand);
      MemRefType type = operandType(&context, problem, operand);
      if (result.operandBytes.size() <= index)
        result.operandBytes.resize(index + 1);
      result.operandBytes[index] =
          type.getNumElements() * type.getElementTypeBitWidth() / 8;
    }
  if (failed(lowerToNvvm(module))) {
    ADD_FAILURE() << "the kernels cannot be lowered";
    return result;
  }
  FailureOr<std::string> ptx = toPtx(module);
  if (failed(ptx)) {
    ADD_FAILURE() << "no PTX";
    return result;
  }
  result.ptx = *ptx;
  std::string error;
  result.module = ptx::Module::parse(result.ptx, error);
  EXPECT_TRUE(result.module) << error;
  return result;
}

CompiledLinear kernels::withPtx(const CompiledLinear &compiled,
                                std::string ptx) {
  CompiledLinear result{compiled.plan, compiled.operandBytes, std::move(ptx),
                        nullptr};
  std::string error;
  result.module = ptx::Module::parse(result.ptx, error);
  EXPECT_TRUE(result.module) << error;
  return result;
}

static std::vector<uint8_t> encode(FloatKind kind,
                                   std::span<const float> values) {
  std::vector<uint8_t> bytes;
  for (float value : values) {
    uint32_t bits = encodeFloat(kind, value);
    for (unsigned i = 0; i < bitWidth(kind); i += 8)
      bytes.push_back(bits >> i);
  }
  return bytes;
}

static std::vector<uint8_t> bytesOf(const std::vector<int64_t> &numbers) {
  auto *bytes = reinterpret_cast<const uint8_t *>(numbers.data());
  return {bytes, bytes + 8 * numbers.size()};
}

LinearResult kernels::runLinear(const CompiledLinear &compiled,
                                const LinearCase &linear,
                                const ptx::RunOptions &options) {
  if (!compiled.module)
    return {{}, "there is no kernel"};
  const LinearProblem &problem = linear.problem;
  PackedStorage packed;
  for (const QuantizedMatrix &weight : linear.weights) {
    PackedStorage one = pack(weight, Layout::Nvptx);
    llvm::append_range(packed.codes, one.codes);
    llvm::append_range(packed.scales, one.scales);
    llvm::append_range(packed.offsets, one.offsets);
  }
  ptx::DeviceMemory memory;
  llvm::SmallVector<uint64_t> addresses;
  for (auto [index, size] : llvm::enumerate(compiled.operandBytes)) {
    uint64_t address = memory.allocate(size);
    addresses.push_back(address);
    std::vector<uint8_t> bytes;
    switch (static_cast<Operand>(index)) {
    case Operand::Codes:
      bytes = packed.codes;
      break;
    case Operand::Scales:
      bytes = packed.scales;
      break;
    case Operand::Offsets:
      bytes = packed.offsets;
      break;
    case Operand::X:
      bytes = encode(problem.x, linear.x);
      break;
    case Operand::Arrivals:
      bytes.assign(size, 0);
      break;
    case Operand::Y:
      if (!problem.experts)
        continue;
      bytes = encode(problem.y,
                     std::vector<float>(problem.m * problem.n, kUntouched));
      break;
    case Operand::Routing:
      bytes = bytesOf(linear.routing);
      break;
    case Operand::Experts: {
      std::vector<int64_t> numbers;
      for (int64_t i = 0; i < problem.experts; ++i)
        numbers.push_back(numberOf(i));
      bytes = bytesOf(numbers);
      break;
    }
    default:
      continue; // left undefined: NaN
    }
    EXPECT_EQ(int64_t(bytes.size()), size) << "operand " << index;
    if (size)
      std::memcpy(memory.data(address, size), bytes.data(), size);
  }
  // Twice: counters must be as before.
  for (int round = 0; round < 2; ++round)
    for (const KernelLaunch &launch : compiled.plan) {
      std::vector<uint8_t> parameters;
      for (Operand operand : launch.operands) {
        uint64_t address = addresses[static_cast<unsigned>(operand)];
        auto *bytes = reinterpret_cast<const uint8_t *>(&address);
        parameters.insert(parameters.end(), bytes, bytes + 8);
      }
      auto dim = [](const Dim3 &size) {
        return ptx::Dim3{uint32_t(size.x), uint32_t(size.y), uint32_t(size.z)};
      };
      ptx::Launch call{dim(launch.grid), dim(launch.block),
                       uint32_t(launch.sharedBytes), parameters};
      if (auto error =
              compiled.module->run(launch.kernel, call, memory, options))
        return {{}, launch.kernel + ": " + error->message};
    }
  LinearResult result;
  size_t bytes = bitWidth(problem.y) / 8;
  const uint8_t *data =
      memory.data(addresses[static_cast<unsigned>(Operand::Y)],
                  problem.m * problem.n * bytes);
  for (int64_t i = 0; i < problem.m * problem.n; ++i) {
    uint32_t bits = 0;
    std::memcpy(&bits, data + i * bytes, bytes);
    result.y.push_back(decodeFloat(problem.y, bits));
  }
  return result;
}

std::string kernels::firstWrong(const LinearCase &linear,
                                const std::vector<float> &y) {
  int64_t n = linear.problem.n;
  for (size_t i = 0; i < y.size(); ++i) {
    // Not ">": NaN is wrong.
    double bound = errorBound(linear, i);
    if (!(std::abs(y[i] - linear.y[i]) <= bound))
      return llvm::formatv("y[{0}][{1}] is {2} instead of {3} +- {4}", i / n,
                           i % n, y[i], linear.y[i], bound);
  }
  return "";
}

void kernels::check(const LinearProblem &problem) {
  CompiledLinear compiled = compileLinear(problem);
  std::string name = compiled.plan.empty() ? "" : compiled.plan.back().kernel;
  SCOPED_TRACE(name);
  if (const char *folder = std::getenv("QUANTOPT_PTX_DIR"))
    std::ofstream(std::string(folder) + "/" + problem.chip.name() + "_" + name +
                  ".ptx")
        << compiled.ptx;
  LinearCase linear = makeCase(problem, problem.m + problem.n + problem.k);
  std::vector<float> first;
  for (auto schedule : {ptx::Schedule::Greedy, ptx::Schedule::RoundRobin,
                        ptx::Schedule::Random}) {
    ptx::RunOptions options;
    options.schedule = schedule;
    options.seed = 1 + problem.n;
    LinearResult result = runLinear(compiled, linear, options);
    ASSERT_EQ(result.error, "");
    ASSERT_EQ(firstWrong(linear, result.y), "");
    if (first.empty())
      first = result.y;
    EXPECT_EQ(result.y, first) << "another schedule, another result";
  }
}

LinearProblem kernels::problemOf(int64_t m, int64_t n, int64_t k) {
  LinearProblem problem;
  problem.m = m;
  problem.n = n;
  problem.k = k;
  problem.scheme.zero = ZeroKind::Symmetric;
  problem.chip = *parseChip("sm_80");
  return problem;
}

void kernels::checkSchemes(LinearProblem base) {
  for (unsigned bits : {2, 3, 4, 8})
    for (FloatKind type : {FloatKind::F16, FloatKind::BF16})
      for (ZeroKind zero :
           {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum}) {
        LinearProblem problem = base;
        problem.scheme.bits = bits;
        problem.scheme.zero = zero;
        problem.x = problem.y = problem.compute = type;
        check(problem);
      }
  for (int64_t group : {32, 40, 128}) {
    LinearProblem problem = base;
    problem.scheme.groupSize = group;
    check(problem);
  }
  for (CodeTable table : {CodeTable::NF4, CodeTable::FP4}) {
    LinearProblem problem = base;
    problem.scheme.table = table;
    problem.scheme.scaleType = ScaleKind::F32;
    check(problem);
  }
}
