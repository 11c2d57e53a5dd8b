//===- LinearKernelsTest.cpp - Every kernel against the weights in double -===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include "quantopt/Packing/PackedMatrix.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "llvm/Support/FormatVariadic.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <gtest/gtest.h>
#include <omp.h>
#include <random>
#include <sys/mman.h>

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

namespace {
/// Bytes with an unreadable page right behind them.
class GuardedBuffer {
public:
  explicit GuardedBuffer(size_t size) : size(size) {
    pages = (size + kPage - 1) / kPage * kPage;
    base =
        static_cast<char *>(mmap(nullptr, pages + kPage, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(base + pages, kPage, PROT_NONE);
  }
  GuardedBuffer(const GuardedBuffer &) = delete;
  ~GuardedBuffer() { munmap(base, pages + kPage); }
  char *data() const { return base + pages - size; }

private:
  static constexpr size_t kPage = 4096;
  size_t size, pages;
  char *base;
};

struct Weight {
  QuantizedMatrix matrix;
  PackedStorage packed;
  std::vector<float> values;
};
} // namespace

static Weight makeWeight(const LinearWeight &weight, int64_t k,
                         std::mt19937 &random) {
  std::normal_distribution<float> normal;
  const Scheme &scheme = weight.scheme;
  Weight result;
  QuantizedMatrix &matrix = result.matrix;
  matrix.scheme = scheme;
  matrix.n = weight.n;
  matrix.k = k;
  for (int64_t i = 0; i < weight.n * k; ++i)
    matrix.codes.push_back(random() & scheme.maxCode());
  for (int64_t i = 0; i < scheme.numScales(weight.n, k); ++i) {
    float scale = roundTo(scheme.scaleType, std::exp(normal(random) * 0.5f));
    matrix.scales.push_back(scale);
    if (scheme.zero == ZeroKind::Integer)
      matrix.offsets.push_back(random() & scheme.maxCode());
    else if (scheme.zero == ZeroKind::Minimum)
      matrix.offsets.push_back(
          roundTo(scheme.scaleType,
                  -scale * (scheme.maxCode() / 2.0f + normal(random))));
  }
  result.packed = pack(matrix, Layout::Cpu);
  result.values.resize(weight.n * k);
  dequantize(matrix, result.values);
  return result;
}

static double roundingOf(FloatKind kind) {
  return std::ldexp(1, kind == FloatKind::F32    ? -24
                       : kind == FloatKind::BF16 ? -8
                                                 : -11);
}

/// A row of x and of y.
static void checkRow(const LinearProblem &problem, const Weight &weight,
                     const float *x, const char *y) {
  const Scheme &scheme = weight.matrix.scheme;
  int64_t k = problem.k;
  for (int64_t column = 0; column < weight.matrix.n; ++column) {
    double sum = 0, absSum = 0, square = 0;
    for (int64_t i = 0; i < k; ++i) {
      double w = weight.values[column * k + i], v = x[i];
      sum += w * v;
      absSum += std::abs(w * v);
      square += w * w;
    }
    // Codes far from the middle weigh more before their offset is taken away.
    double perProduct = (k + 16) * roundingOf(FloatKind::F32) *
                        (scheme.zero == ZeroKind::Symmetric ? 2 : 8);
    double bound = 0;
    if (problem.products.compute == Compute::BF16)
      perProduct += 3 * roundingOf(FloatKind::BF16);
    if (problem.products.compute == Compute::I8) {
      // x is off by up to half a step of max |x| / 127, at random.
      bound += 5 * std::sqrt(square) * 4.5 / 254;
      if (scheme.table != CodeTable::Linear)
        perProduct += 0.02;
    }
    bound += absSum * perProduct + std::abs(sum) * roundingOf(problem.y);
    uint32_t bits = 0;
    size_t width = bitWidth(problem.y) / 8;
    std::memcpy(&bits, y + column * width, width);
    double value = decodeFloat(problem.y, bits);
    ASSERT_TRUE(std::abs(value - sum) <= bound)
        << llvm::formatv("y[{0}] is {1} instead of {2} +- {3}", column, value,
                         sum, bound)
               .str();
  }
}

static void put(FloatKind kind, char *data, int64_t at, float value) {
  uint32_t bits = encodeFloat(kind, value);
  std::memcpy(data + at * bitWidth(kind) / 8, &bits, bitWidth(kind) / 8);
}

namespace {
/// What a function is called with, each buffer between pages that nobody may
/// touch: random x and a workspace of NaN, then what is added.
struct Arguments {
  Arguments(const LinearProblem &problem, int64_t m)
      : random(m + problem.k), x(m * problem.k) {
    std::normal_distribution<float> normal;
    char *input = add(x.size() * bitWidth(problem.x) / 8);
    for (size_t i = 0; i < x.size(); ++i) {
      x[i] = roundTo(problem.x, normal(random));
      put(problem.x, input, i, x[i]);
    }
    size_t workspace = m * workspaceRowBytes(problem);
    std::memset(add(workspace), 0xff, workspace);
  }

  char *add(size_t bytes) {
    owned.push_back(std::make_unique<GuardedBuffer>(bytes));
    buffers.push_back(owned.back()->data());
    return owned.back()->data();
  }

  std::mt19937 random;
  std::vector<float> x;
  std::vector<void *> buffers;

private:
  std::vector<std::unique_ptr<GuardedBuffer>> owned;
};
} // namespace

static void check(const LinearProblem &problem, int64_t m) {
  ASSERT_EQ(verify(problem), "");
  CompiledLinear compiled(problem);
  Arguments arguments(problem, m);
  std::vector<Weight> weights;
  std::vector<char *> outputs;
  for (const LinearWeight &weight : problem.weights) {
    weights.push_back(makeWeight(weight, problem.k, arguments.random));
    for (const auto *plane :
         {&weights.back().packed.codes, &weights.back().packed.scales,
          &weights.back().packed.offsets})
      if (plane != &weights.back().packed.offsets || !plane->empty())
        std::memcpy(arguments.add(plane->size()), plane->data(), plane->size());
    outputs.push_back(arguments.add(m * weight.n * bitWidth(problem.y) / 8));
  }
  std::vector<std::vector<char>> first;
  for (int threads : {1, 2, 3, 4}) {
    omp_set_num_threads(threads);
    for (auto [output, weight] : llvm::zip_equal(outputs, problem.weights))
      std::memset(output, 0xff, m * weight.n * bitWidth(problem.y) / 8);
    compiled.run(arguments.buffers, m);
    for (auto [index, weight] : llvm::enumerate(problem.weights)) {
      size_t bytes = m * weight.n * bitWidth(problem.y) / 8;
      if (threads == 1)
        first.emplace_back(outputs[index], outputs[index] + bytes);
      ASSERT_TRUE(
          std::equal(first[index].begin(), first[index].end(), outputs[index]))
          << threads << " threads, another result";
    }
  }
  for (auto [index, weight] : llvm::enumerate(weights)) {
    SCOPED_TRACE(llvm::formatv("weight {0}", index).str());
    size_t rowBytes = weight.matrix.n * bitWidth(problem.y) / 8;
    for (int64_t row = 0; row < m; ++row)
      checkRow(problem, weight, arguments.x.data() + row * problem.k,
               outputs[index] + row * rowBytes);
  }
}

static LinearProblem problemOf(int64_t m, int64_t n, int64_t k,
                               Compute compute) {
  LinearProblem problem;
  LinearWeight weight;
  weight.scheme.zero = ZeroKind::Symmetric;
  weight.n = n;
  problem.weights = {weight};
  problem.m = m;
  problem.k = k;
  problem.products.compute = compute;
  problem.target = hostTarget();
  return problem;
}

/// What this processor can run.
static std::vector<Target> targets() {
  std::vector<Target> result = {{Isa::Generic}};
  Target host = hostTarget();
  if (isAvx512(host.isa) || host.isa == Isa::AvxVnni)
    result.push_back({Isa::Avx2});
  if (isAvx512(host.isa)) // with VL the same instruction as AVX-VNNI's
    result.push_back({Isa::AvxVnni});
  if (host.isa == Isa::Amx)
    result.push_back({Isa::Avx512, host.bf16});
  if (host.isa != Isa::Generic)
    result.push_back(host);
  return result;
}

static std::vector<Compute> computesOf(const Target &target) {
  if (target.bf16)
    return {Compute::F32, Compute::BF16, Compute::I8};
  return {Compute::F32, Compute::I8};
}

TEST(CpuLinear, Rows) {
  for (Compute compute : computesOf(hostTarget()))
    for (int64_t m : {1, 2, 3, 4, 5, 8, 13, 16, 31, 70}) {
      SCOPED_TRACE(llvm::formatv("{0} m={1}", computeName(compute), m).str());
      check(problemOf(m, 80, 160, compute), m);
    }
}

TEST(CpuLinear, RowsInBlocks) {
  for (Compute compute : computesOf(hostTarget()))
    for (int64_t rows : {int64_t(100), ShapedType::kDynamic}) {
      SCOPED_TRACE(computeName(compute).str());
      check(problemOf(rows, 20 * 16 + 5, 4096, compute), 100);
    }
}

TEST(CpuLinear, Schemes) {
  for (Target target : targets())
    for (Compute compute : computesOf(target))
      for (unsigned bits = 2; bits <= 8; ++bits)
        for (ZeroKind zero :
             {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum}) {
          SCOPED_TRACE(llvm::formatv("{0} {1} {2} bits, zero {3}",
                                     isaName(target.isa), computeName(compute),
                                     bits, int(zero))
                           .str());
          LinearProblem problem = problemOf(3, 48, 128, compute);
          problem.target = target;
          problem.weights[0].scheme.bits = bits;
          problem.weights[0].scheme.zero = zero;
          check(problem, 3);
        }
}

TEST(CpuLinear, Tables) {
  for (Target target : targets())
    for (Compute compute : computesOf(target))
      for (CodeTable table : {CodeTable::NF4, CodeTable::FP4, CodeTable::IQ4NL,
                              CodeTable::E2M1}) {
        SCOPED_TRACE(llvm::formatv("{0} {1} table {2}", isaName(target.isa),
                                   computeName(compute), int(table))
                         .str());
        LinearProblem problem = problemOf(2, 32, 192, compute);
        problem.target = target;
        problem.weights[0].scheme.table = table;
        problem.weights[0].scheme.scaleType = ScaleKind::F32;
        check(problem, 2);
      }
}

TEST(CpuLinear, Shapes) {
  for (Target target : targets())
    for (Compute compute : computesOf(target))
      for (auto [n, k] : {std::pair<int64_t, int64_t>{1, 1},
                          {17, 77},
                          {31, 64},
                          {33, 100},
                          {70, 130},
                          {129, 333}})
        for (int64_t m : {1, 7}) {
          SCOPED_TRACE(llvm::formatv("{0} {1} {2}x{3}x{4}", isaName(target.isa),
                                     computeName(compute), m, n, k)
                           .str());
          LinearProblem problem = problemOf(m, n, k, compute);
          problem.target = target;
          problem.weights[0].scheme.zero = ZeroKind::Integer;
          check(problem, m);
        }
}

TEST(CpuLinear, Groups) {
  for (Compute compute : computesOf(hostTarget()))
    for (int64_t group : {4, 8, 12, 16, 32, 40, 96, 100, 128, 160, 192, 256})
      for (int64_t k : {256, 300}) {
        SCOPED_TRACE(llvm::formatv("{0} group {1} of {2}", computeName(compute),
                                   group, k)
                         .str());
        LinearProblem problem = problemOf(2, 48, k, compute);
        problem.weights[0].scheme.groupSize = group;
        problem.weights[0].scheme.zero = ZeroKind::Minimum;
        check(problem, 2);
      }
}

TEST(CpuLinear, InputGroups) {
  for (int64_t inputGroup : {32, 64, 96, 128})
    for (int64_t group : {64, 192}) {
      SCOPED_TRACE(
          llvm::formatv("groups {0}, of x {1}", group, inputGroup).str());
      LinearProblem problem = problemOf(3, 48, 400, Compute::I8);
      problem.weights[0].scheme.groupSize = group;
      problem.products.inputGroup = inputGroup;
      check(problem, 3);
    }
}

/// Tiles of AMX's registers beside those of vectors, and their remainders.
TEST(CpuLinear, Matrices) {
  if (hostTarget().isa != Isa::Amx)
    GTEST_SKIP() << "NOTE: this processor has no AMX: its kernels do not run";
  for (Compute compute : {Compute::BF16, Compute::I8})
    for (ZeroKind zero :
         {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum})
      for (int64_t inputGroup : {32, 64, 96, 128})
        for (auto [m, n, k] :
             {std::tuple<int64_t, int64_t, int64_t>{9, 80, 224},
              {31, 35, 300},
              {33, 16, 100},
              {134, 40, 416}}) {
          SCOPED_TRACE(llvm::formatv("{0} zero {1} by {2} {3}x{4}x{5}",
                                     computeName(compute), int(zero),
                                     inputGroup, m, n, k)
                           .str());
          LinearProblem problem = problemOf(m, n, k, compute);
          problem.weights[0].scheme.groupSize = inputGroup;
          problem.weights[0].scheme.zero = zero;
          problem.products.inputGroup = inputGroup;
          check(problem, m);
        }
}

TEST(CpuLinear, MatricesOfAllSchemes) {
  if (hostTarget().isa != Isa::Amx)
    GTEST_SKIP() << "NOTE: this processor has no AMX: its kernels do not run";
  for (Compute compute : {Compute::BF16, Compute::I8}) {
    LinearProblem problem = problemOf(17, 32, 128, compute);
    Scheme &scheme = problem.weights[0].scheme;
    for (unsigned bits = 2; bits <= 8; ++bits)
      for (ZeroKind zero : {ZeroKind::Symmetric, ZeroKind::Integer}) {
        SCOPED_TRACE(llvm::formatv("{0} {1} bits, zero {2}",
                                   computeName(compute), bits, int(zero))
                         .str());
        scheme.bits = bits;
        scheme.zero = zero;
        check(problem, 17);
      }
    scheme.bits = 4;
    scheme.zero = ZeroKind::Symmetric;
    for (CodeTable table : {CodeTable::NF4, CodeTable::E2M1}) {
      SCOPED_TRACE(
          llvm::formatv("{0} table {1}", computeName(compute), int(table))
              .str());
      scheme.table = table;
      check(problem, 17);
    }
  }
}

/// Segments that are decoded in parts.
TEST(CpuLinear, MatricesOfLongSegments) {
  if (hostTarget().isa != Isa::Amx)
    GTEST_SKIP() << "NOTE: this processor has no AMX: its kernels do not run";
  for (Compute compute : {Compute::BF16, Compute::I8})
    for (ZeroKind zero : {ZeroKind::Symmetric, ZeroKind::Minimum})
      for (int64_t k : {1024, 1500}) {
        SCOPED_TRACE(llvm::formatv("{0} zero {1} {2}", computeName(compute),
                                   int(zero), k)
                         .str());
        LinearProblem problem = problemOf(20, 32, k, compute);
        problem.weights[0].scheme.granularity = Granularity::Channel;
        problem.weights[0].scheme.zero = zero;
        problem.products.inputGroup = 1536;
        check(problem, 20);
      }
}

TEST(CpuLinear, Channels) {
  for (Compute compute : computesOf(hostTarget())) {
    SCOPED_TRACE(computeName(compute).str());
    LinearProblem problem = problemOf(5, 48, 300, compute);
    problem.weights[0].scheme.granularity = Granularity::Channel;
    check(problem, 5);
  }
}

TEST(CpuLinear, Types) {
  for (Compute compute : computesOf(hostTarget()))
    for (FloatKind x : {FloatKind::F16, FloatKind::BF16, FloatKind::F32})
      for (FloatKind y : {FloatKind::F16, FloatKind::BF16, FloatKind::F32}) {
        SCOPED_TRACE(
            llvm::formatv("{0} {1} {2}", computeName(compute), int(x), int(y))
                .str());
        LinearProblem problem = problemOf(3, 35, 90, compute);
        problem.x = x;
        problem.y = y;
        check(problem, 3);
      }
}

TEST(CpuLinear, SeveralWeights) {
  for (Compute compute : computesOf(hostTarget())) {
    SCOPED_TRACE(computeName(compute).str());
    LinearProblem problem = problemOf(9, 72, 160, compute);
    LinearWeight other = problem.weights[0];
    other.n = 24;
    other.scheme.bits = 3;
    other.scheme.zero = ZeroKind::Integer;
    problem.weights.push_back(other);
    problem.weights.push_back(problem.weights[0]);
    check(problem, 9);
  }
}

TEST(CpuLinear, RowsKnownWhenCalled) {
  for (Compute compute : computesOf(hostTarget())) {
    LinearProblem problem = problemOf(ShapedType::kDynamic, 40, 96, compute);
    for (int64_t m : {0, 1, 2, 7, 23}) {
      SCOPED_TRACE(llvm::formatv("{0} m={1}", computeName(compute), m).str());
      check(problem, m);
    }
  }
}

/// (y0 * perRow + residual) - y1 * bias + scalar, of which every operand is
/// another kind of array.
static Epilogue makeEpilogue(MLIRContext *context) {
  context->loadDialect<arith::ArithDialect, func::FuncDialect>();
  OpBuilder b(context);
  Location loc = b.getUnknownLoc();
  SmallVector<Type> types(6, b.getF32Type());
  auto body = func::FuncOp::create(loc, "epilogue",
                                   b.getFunctionType(types, b.getF32Type()));
  b.setInsertionPointToStart(body.addEntryBlock());
  auto arg = [&](unsigned i) { return body.getArgument(i); };
  Value left = arith::MulFOp::create(b, loc, arg(0), arg(2));
  left = arith::AddFOp::create(b, loc, left, arg(3));
  Value right = arith::MulFOp::create(b, loc, arg(1), arg(4));
  left = arith::SubFOp::create(b, loc, left, right);
  Value sum = arith::AddFOp::create(b, loc, left, arg(5));
  func::ReturnOp::create(b, loc, sum);
  Epilogue epilogue;
  epilogue.weights = {0, 2};
  for (auto [hasRows, hasColumns] :
       {std::pair(true, false), {true, true}, {false, true}, {false, false}})
    epilogue.operands.push_back({hasRows, hasColumns, FloatKind::F32});
  epilogue.body = std::make_shared<OwningOpRef<func::FuncOp>>(body);
  return epilogue;
}

/// A problem of three weights with an epilogue of the first and the last,
/// against the same linears without it. `m` rows.
static void checkEpilogue(const LinearProblem &problem, int64_t m) {
  int64_t n = problem.weights[0].n, k = problem.k;
  std::mt19937 random(m + n);
  std::normal_distribution<float> normal;
  std::vector<std::unique_ptr<GuardedBuffer>> owned;
  auto allocate = [&](size_t numbers) {
    owned.push_back(std::make_unique<GuardedBuffer>(numbers * 4));
    auto *data = reinterpret_cast<float *>(owned.back()->data());
    std::generate(data, data + numbers, [&] { return normal(random); });
    return data;
  };
  std::vector<void *> plain = {allocate(m * k),
                               allocate(m * workspaceRowBytes(problem) / 4)};
  std::vector<void *> buffers = plain;
  std::vector<Weight> weights;
  std::vector<float *> y;
  for (auto [index, weight] : llvm::enumerate(problem.weights)) {
    weights.push_back(makeWeight(weight, k, random));
    for (auto *plane :
         {&weights.back().packed.codes, &weights.back().packed.scales}) {
      owned.push_back(std::make_unique<GuardedBuffer>(plane->size()));
      std::memcpy(owned.back()->data(), plane->data(), plane->size());
      plain.push_back(owned.back()->data());
      buffers.push_back(plain.back());
    }
    y.push_back(allocate(m * weight.n));
    plain.push_back(y.back());
    if (index == 1)
      buffers.push_back(y.back());
  }
  float *perRow = allocate(m), *residual = allocate(m * n), *bias = allocate(n),
        *scalar = allocate(1), *result = allocate(m * n);
  for (float *array : {perRow, residual, bias, scalar, result})
    buffers.push_back(array);
  CompiledLinear(problem).run(plain, m);
  std::vector<float> second(y[1], y[1] + m * problem.weights[1].n);

  auto context = std::make_shared<MLIRContext>();
  LinearProblem finished = problem;
  finished.epilogues.push_back(makeEpilogue(context.get()));
  ASSERT_EQ(verify(finished), "");
  CompiledLinear(finished, context).run(buffers, m);
  EXPECT_TRUE(std::equal(second.begin(), second.end(), y[1]));
  for (int64_t row = 0; row < m; ++row)
    for (int64_t column = 0; column < n; ++column) {
      int64_t at = row * n + column;
      double left = double(y[0][at]) * perRow[row];
      double right = double(y[2][at]) * bias[column];
      double bound = 1e-6 * (std::abs(left) + std::abs(right) +
                             std::abs(residual[at]) + std::abs(*scalar));
      ASSERT_NEAR(result[at], left + residual[at] - right + *scalar, bound)
          << row << ", " << column;
    }
}

TEST(CpuLinear, Epilogues) {
  for (Target target : targets())
    for (Compute compute : computesOf(target))
      for (auto [m, n] : {std::pair<int64_t, int64_t>{1, 37}, {21, 64}}) {
        SCOPED_TRACE(llvm::formatv("{0} {1} {2}x{3}", isaName(target.isa),
                                   computeName(compute), m, n)
                         .str());
        LinearProblem problem = problemOf(m, n, 96, compute);
        problem.target = target;
        problem.weights.append(2, problem.weights[0]);
        problem.weights[1].n = 24;
        checkEpilogue(problem, m);
      }
  LinearProblem problem = problemOf(ShapedType::kDynamic, 37, 96, Compute::F32);
  problem.weights.append(2, problem.weights[0]);
  checkEpilogue(problem, 13);
}

TEST(CpuLinear, RefusesEpiloguesOfDifferentSizes) {
  MLIRContext context;
  LinearProblem problem = problemOf(1, 16, 64, Compute::F32);
  problem.weights.append(2, problem.weights[0]);
  problem.epilogues.push_back(makeEpilogue(&context));
  EXPECT_EQ(verify(problem), "");
  problem.weights[2].n = 32;
  EXPECT_NE(verify(problem), "");
}

/// Rows of x that go to experts by `routing`; those of others stay as they are.
static void checkExperts(const LinearProblem &problem,
                         const CompiledLinear &compiled,
                         ArrayRef<int64_t> routing) {
  ASSERT_EQ(verify(problem), "");
  const LinearWeight &kind = problem.weights[0];
  int64_t m = routing.size(), k = problem.k;
  size_t rowBytes = kind.n * bitWidth(problem.y) / 8;
  Arguments arguments(problem, m);
  llvm::copy(routing, reinterpret_cast<int64_t *>(arguments.add(m * 8)));
  std::vector<Weight> experts;
  for (int64_t i = 0; i < problem.experts.count; ++i)
    experts.push_back(makeWeight(kind, k, arguments.random));
  for (auto plane : {&PackedStorage::codes, &PackedStorage::scales,
                     &PackedStorage::offsets}) {
    size_t bytes = (experts[0].packed.*plane).size();
    if (bytes == 0)
      continue;
    char *joined = arguments.add(bytes * experts.size());
    for (const Weight &expert : experts) {
      std::memcpy(joined, (expert.packed.*plane).data(), bytes);
      joined += bytes;
    }
  }
  char *y = arguments.add(m * rowBytes);
  std::vector<char> first, untouched(rowBytes, 0x55);
  for (int threads : {1, 2, 3, 4}) {
    omp_set_num_threads(threads);
    std::memset(y, 0x55, m * rowBytes);
    compiled.run(arguments.buffers, m);
    if (threads == 1)
      first.assign(y, y + m * rowBytes);
    ASSERT_TRUE(std::equal(first.begin(), first.end(), y))
        << threads << " threads, another result";
  }
  for (int64_t row = 0; row < m; ++row) {
    SCOPED_TRACE(llvm::formatv("row {0}", row).str());
    int64_t expert = routing[row] - problem.experts.first;
    const char *found = y + row * rowBytes;
    if (expert < 0 || expert >= problem.experts.count)
      ASSERT_TRUE(std::equal(untouched.begin(), untouched.end(), found));
    else
      checkRow(problem, experts[expert], arguments.x.data() + row * k, found);
  }
}

/// `m` numbers, of which some are of no expert in [2, 6).
static std::vector<int64_t> makeRouting(int64_t m) {
  std::mt19937 random(m);
  std::vector<int64_t> routing;
  for (int64_t row = 0; row < m; ++row)
    routing.push_back(int64_t(random() % 7) + (random() % 3 == 0));
  return routing;
}

static LinearProblem expertsOf(int64_t m, int64_t n, int64_t k,
                               Compute compute) {
  LinearProblem problem = problemOf(m, n, k, compute);
  problem.experts = {2, 4};
  return problem;
}

TEST(CpuExperts, Rows) {
  for (Target target : targets())
    for (Compute compute : computesOf(target)) {
      LinearProblem problem = expertsOf(ShapedType::kDynamic, 37, 77, compute);
      problem.target = target;
      CompiledLinear compiled(problem);
      for (int64_t m : {0, 1, 2, 9, 40, 130}) {
        SCOPED_TRACE(llvm::formatv("{0} {1} m={2}", isaName(target.isa),
                                   computeName(compute), m)
                         .str());
        checkExperts(problem, compiled, makeRouting(m));
      }
    }
}

TEST(CpuExperts, OneGetsAllOrNoneGetsAny) {
  for (Compute compute : computesOf(hostTarget())) {
    LinearProblem problem = expertsOf(23, 80, 64, compute);
    CompiledLinear compiled(problem);
    for (int64_t expert : {-1, 2, 5, 6})
      checkExperts(problem, compiled, std::vector<int64_t>(23, expert));
  }
}

TEST(CpuExperts, Schemes) {
  for (Compute compute : computesOf(hostTarget()))
    for (ZeroKind zero :
         {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum})
      for (auto [bits, group, table] : {std::tuple(3u, 16, CodeTable::Linear),
                                        {4u, 128, CodeTable::Linear},
                                        {4u, 64, CodeTable::NF4}}) {
        if (table != CodeTable::Linear && zero != ZeroKind::Symmetric)
          continue;
        SCOPED_TRACE(llvm::formatv("{0} {1} bits, groups of {2}, zero {3}",
                                   computeName(compute), bits, group, int(zero))
                         .str());
        LinearProblem problem = expertsOf(21, 33, 300, compute);
        Scheme &scheme = problem.weights[0].scheme;
        scheme.bits = bits;
        scheme.groupSize = group;
        scheme.table = table;
        scheme.zero = zero;
        checkExperts(problem, CompiledLinear(problem), makeRouting(21));
      }
}

TEST(CpuExperts, Types) {
  for (FloatKind x : {FloatKind::F16, FloatKind::BF16})
    for (FloatKind y : {FloatKind::F16, FloatKind::BF16}) {
      LinearProblem problem = expertsOf(11, 35, 90, Compute::F32);
      problem.x = x;
      problem.y = y;
      checkExperts(problem, CompiledLinear(problem), makeRouting(11));
    }
}

TEST(CpuExperts, AreMultipliedAlone) {
  LinearProblem problem = expertsOf(1, 16, 64, Compute::F32);
  EXPECT_EQ(verify(problem), "");
  problem.weights.push_back(problem.weights[0]);
  EXPECT_NE(verify(problem), "");
}

TEST(CpuLinear, RefusesWhatItCannotDo) {
  LinearProblem problem = problemOf(1, 16, 64, Compute::F32);
  problem.weights[0].scheme.groupSize = 10;
  EXPECT_NE(verify(problem), "");
  problem.weights[0].scheme.groupSize = 32;
  EXPECT_EQ(verify(problem), "");
  problem.target = {Isa::Avx2};
  problem.products.compute = Compute::BF16;
  EXPECT_NE(verify(problem), "");
}
