//===- ContractionTest.cpp - Generated contractions against plain loops ---===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/CompiledModule.h"

#include "mlir/Parser/Parser.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/TargetParser/Host.h"

#include <gtest/gtest.h>
#include <numeric>
#include <omp.h>
#include <random>

using namespace mlir;
using namespace quantopt;

namespace {

constexpr unsigned a = 0, b = 1, c = 2;

/// Loops and, for each array, the loops that its dimensions go with.
struct Problem {
  std::vector<int64_t> sizes;
  std::vector<unsigned> dims[3];
  FloatKind kinds[3] = {FloatKind::F32, FloatKind::F32, FloatKind::F32};
  bool adds = false; // to what c holds

  bool has(unsigned array, unsigned loop) const {
    return llvm::is_contained(dims[array], loop);
  }
  std::vector<int64_t> shape(unsigned array) const {
    std::vector<int64_t> result;
    for (unsigned loop : dims[array])
      result.push_back(sizes[loop]);
    return result;
  }
  std::string text() const;
};

const char *name(FloatKind kind) {
  return kind == FloatKind::F32   ? "f32"
         : kind == FloatKind::F16 ? "f16"
                                  : "bf16";
}

DType dtype(FloatKind kind) {
  return kind == FloatKind::F32   ? DType::F32
         : kind == FloatKind::F16 ? DType::F16
                                  : DType::BF16;
}

std::string Problem::text() const {
  std::string types[3], maps, iterators, text;
  auto list = [](auto range, auto print) {
    return llvm::join(llvm::map_range(range, print), ", ");
  };
  auto loopName = [](unsigned loop) { return "d" + std::to_string(loop); };
  auto loops = llvm::seq<unsigned>(0, sizes.size());
  for (unsigned array : {a, b, c}) {
    types[array] = "tensor<";
    for (int64_t size : shape(array))
      types[array] += std::to_string(size) + "x";
    types[array] += std::string(name(kinds[array])) + ">";
    maps += (array ? ", " : "") + ("affine_map<(" + list(loops, loopName)) +
            ") -> (" + list(dims[array], loopName) + ")>";
  }
  iterators = list(loops, [&](unsigned loop) {
    return std::string(has(c, loop) ? "\"parallel\"" : "\"reduction\"");
  });
  std::string to = name(kinds[c]);
  llvm::raw_string_ostream os(text);
  os << "func.func @main(%a: " << types[a] << ", %b: " << types[b]
     << ", %c: " << types[c] << ") -> " << types[c] << " {\n";
  if (!adds)
    os << "%zero = arith.constant 0.0 : " << to << "\n"
       << "%init = linalg.fill ins(%zero : " << to << ") outs(%c : " << types[c]
       << ") -> " << types[c] << "\n";
  os << "%r = linalg.generic {indexing_maps = [" << maps
     << "], iterator_types = [" << iterators << "]} ins(%a, %b : " << types[a]
     << ", " << types[b] << ") outs(" << (adds ? "%c" : "%init") << " : "
     << types[c] << ") {\n^bb0(%x: " << name(kinds[a])
     << ", %y: " << name(kinds[b]) << ", %z: " << to << "):\n";
  const char *factors[2] = {"%x", "%y"};
  for (unsigned array : {a, b})
    if (kinds[array] != kinds[c]) {
      os << factors[array] << "w = arith.extf " << factors[array] << " : "
         << name(kinds[array]) << " to " << to << "\n";
      factors[array] = array == a ? "%xw" : "%yw";
    }
  os << "%p = arith.mulf " << factors[a] << ", " << factors[b] << " : " << to
     << "\n%s = arith.addf %z, %p : " << to << "\nlinalg.yield %s : " << to
     << "\n} -> " << types[c] << "\nreturn %r : " << types[c] << "\n}\n";
  return text;
}

float at(const HostArray &array, FloatKind kind, int64_t i) {
  float value;
  widen(kind, array.data + i * byteWidth(kind), 1, &value);
  return value;
}

/// What the contraction means, in double, and the sum of magnitudes.
void reference(const Problem &problem, ArrayRef<HostArray> inputs,
               std::vector<double> &sums, std::vector<double> &magnitudes) {
  int64_t total = 1;
  for (int64_t size : problem.sizes)
    total *= size;
  for (size_t i = 0; i < sums.size(); ++i) {
    sums[i] = problem.adds ? at(inputs[c], problem.kinds[c], i) : 0;
    magnitudes[i] = std::abs(sums[i]);
  }
  for (int64_t flat = 0; flat < total; ++flat) {
    int64_t offsets[3];
    for (unsigned array : {a, b, c}) {
      offsets[array] = 0;
      for (unsigned loop : problem.dims[array]) {
        int64_t rest = flat;
        for (unsigned before = 0; before < loop; ++before)
          rest /= problem.sizes[before];
        offsets[array] =
            offsets[array] * problem.sizes[loop] + rest % problem.sizes[loop];
      }
    }
    double product = double(at(inputs[a], problem.kinds[a], offsets[a])) *
                     at(inputs[b], problem.kinds[b], offsets[b]);
    sums[offsets[c]] += product;
    magnitudes[offsets[c]] += std::abs(product);
  }
}

std::vector<HostArray> makeInputs(const Problem &problem, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<HostArray> inputs;
  for (unsigned array : {a, b, c}) {
    std::byte *bytes;
    inputs.push_back(HostArray::allocate(dtype(problem.kinds[array]),
                                         problem.shape(array), bytes));
    for (int64_t i = 0; i < inputs.back().size(); ++i) {
      float value = std::normal_distribution<float>()(random);
      narrow(problem.kinds[array], &value, 1,
             bytes + i * byteWidth(problem.kinds[array]));
    }
  }
  return inputs;
}

/// Runs the problem with `isa` with one thread and with three, which must
/// agree.
HostArray compute(const Problem &problem, ArrayRef<HostArray> inputs,
                  std::optional<cpu::Isa> isa = {}) {
  MLIRContext context;
  DialectRegistry registry;
  registerExecutionDialects(registry);
  context.appendDialectRegistry(registry);
  ParserConfig config(&context);
  auto module = parseSourceString<ModuleOp>(problem.text(), config);
  CompileOptions options;
  if (isa)
    options.target = cpu::Target{*isa};
  SmallVector<HostArray> results, again;
  auto compiled = CompiledModule::compile(*module, "main", options);
  if (failed(compiled))
    return {};
  omp_set_num_threads(1);
  EXPECT_TRUE(succeeded((*compiled)->run(inputs, results)));
  omp_set_num_threads(3);
  EXPECT_TRUE(succeeded((*compiled)->run(inputs, again)));
  EXPECT_EQ(0, memcmp(results[0].data, again[0].data, results[0].sizeInBytes()))
      << problem.text();
  return results[0];
}

void check(const Problem &problem, unsigned seed,
           std::optional<cpu::Isa> isa = {}) {
  std::vector<HostArray> inputs = makeInputs(problem, seed);
  HostArray result = compute(problem, inputs, isa);
  ASSERT_TRUE(result.data) << problem.text();
  std::vector<double> sums(result.size()), magnitudes(result.size());
  reference(problem, inputs, sums, magnitudes);
  FloatKind kind = problem.kinds[c];
  double rounding = kind == FloatKind::F32   ? 0
                    : kind == FloatKind::F16 ? 1.0 / 2048
                                             : 1.0 / 256;
  for (int64_t i = 0; i < result.size(); ++i)
    ASSERT_NEAR(at(result, kind, i), sums[i],
                1e-6 * magnitudes[i] + rounding * std::abs(sums[i]) + 1e-7)
        << "element " << i << " of\n"
        << problem.text();
}

/// Loops of every role, each array's dimensions in any order.
Problem makeUpAnySize(std::mt19937 &random) {
  auto pick = [&](int64_t low, int64_t high) {
    return std::uniform_int_distribution<int64_t>(low, high)(random);
  };
  Problem problem;
  auto addLoops = [&](int64_t count, ArrayRef<unsigned> arrays, int64_t most) {
    for (int64_t i = 0; i < count; ++i) {
      for (unsigned array : arrays)
        problem.dims[array].push_back(problem.sizes.size());
      problem.sizes.push_back(pick(1, most));
    }
  };
  addLoops(pick(0, 2), {a, b, c}, 3);
  addLoops(pick(0, 2), {a, c}, pick(0, 1) ? 6 : 40);
  addLoops(pick(0, 2), {b, c}, pick(0, 1) ? 6 : 70);
  if (problem.dims[a].empty() || problem.dims[b].empty() ||
      llvm::equal(problem.dims[a], problem.dims[b]))
    addLoops(1, {a, c}, 9);
  addLoops(pick(1, 2), {a, b}, pick(0, 1) ? 20 : 300);
  for (unsigned array : {a, b, c})
    if (pick(0, 1))
      std::shuffle(problem.dims[array].begin(), problem.dims[array].end(),
                   random);
  FloatKind narrow[] = {FloatKind::F32, FloatKind::F16, FloatKind::BF16};
  FloatKind kind = narrow[pick(0, 2)];
  if (pick(0, 1))
    problem.kinds[a] = problem.kinds[b] = kind;
  if (pick(0, 1))
    problem.kinds[c] = problem.kinds[a] == problem.kinds[b] ? problem.kinds[a]
                                                            : FloatKind::F32;
  problem.adds = pick(0, 1);
  return problem;
}

/// One that plain loops have done soon, and that stays a product of matrices
/// when loops of size 1 are left out.
Problem makeUp(std::mt19937 &random) {
  while (true) {
    Problem problem = makeUpAnySize(random);
    double points = 1;
    bool hasMatrix = false, hasSum = false;
    for (auto [loop, size] : llvm::enumerate(problem.sizes)) {
      points *= size;
      bool inBoth = problem.has(a, loop) && problem.has(b, loop);
      hasMatrix |= size > 1 && !inBoth;
      hasSum |= size > 1 && !problem.has(c, loop);
    }
    if (points < 300000 && hasMatrix && hasSum)
      return problem;
  }
}

/// [m, k] x [n, k]^T, as a linear layer has it.
Problem linear(int64_t m, int64_t n, int64_t k) {
  return {{m, n, k}, {{0, 2}, {1, 2}, {0, 1}}};
}
/// [m, k] x [k, n].
Problem product(int64_t m, int64_t n, int64_t k) {
  return {{m, n, k}, {{0, 2}, {2, 1}, {0, 1}}};
}

bool hostHas(StringRef feature) {
  return llvm::sys::getHostCPUFeatures().lookup(feature);
}

} // namespace

TEST(Contraction, AnyLoopsInAnyOrder) {
  std::mt19937 random(1);
  for (unsigned i = 0; i < 60; ++i)
    check(makeUp(random), i);
}

TEST(Contraction, NarrowerVectors) {
  std::mt19937 random(2);
  for (unsigned i = 0; i < 15; ++i) {
    check(makeUp(random), i, cpu::Isa::Generic);
    if (hostHas("avx2") && hostHas("fma"))
      check(makeUp(random), i, cpu::Isa::Avx2);
  }
}

TEST(Contraction, MatrixShapes) {
  unsigned seed = 0;
  for (int64_t m : {1, 2, 7, 8, 13, 33})
    for (int64_t n : {1, 15, 16, 49})
      check(linear(m, n, 70), ++seed);
  check(linear(70, 130, 600), ++seed);
  check(product(3, 100, 300), ++seed);
  // Rows of a that share places in the cache.
  check(linear(30, 20, 1024), ++seed);
}

TEST(Contraction, SameBitsForAnyVectorWidth) {
  if (!hostHas("avx512f"))
    GTEST_SKIP() << "this host has one vector width";
  for (Problem problem : {linear(3, 37, 77), linear(40, 37, 600),
                          product(5, 37, 300), product(50, 64, 300)})
    for (bool adds : {false, true}) {
      problem.adds = adds;
      std::vector<HostArray> inputs = makeInputs(problem, 1);
      HostArray wide = compute(problem, inputs, cpu::Isa::Avx512);
      HostArray narrow = compute(problem, inputs, cpu::Isa::Avx2);
      EXPECT_EQ(0, memcmp(wide.data, narrow.data, wide.sizeInBytes()))
          << problem.text();
    }
}
