//===- RuntimeCalls.cpp - Calls from compiled code to the runtime ---------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RuntimeCalls.h"
#include "Stages.h"
#include "Words.h"

#include "quantopt/Runtime/BufferPool.h"
#include "quantopt/Runtime/Contract.h"
#include "quantopt/Runtime/RowsByExpert.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

thread_local RunState *execution::currentRun = nullptr;

//===----------------------------------------------------------------------===//
// The callees. Every argument is 64 bits wide, so that no calling convention
// is in doubt.
//===----------------------------------------------------------------------===//

static void hostLinear(int64_t id, int64_t x, int64_t rows, int64_t k,
                       int64_t xKind, int64_t residual, int64_t residualKind,
                       int64_t y, int64_t n, int64_t yKind) {
  RunState *run = currentRun;
  if (!run || !run->linearError.empty())
    return;
  auto matrix = [&](int64_t data, int64_t columns, int64_t kind) {
    return MatrixRef{reinterpret_cast<const void *>(data), rows, columns,
                     FloatKind(kind)};
  };
  run->linearError = run->handler->run(
      {id,
       matrix(x, k, xKind),
       matrix(residual, n, residualKind),
       MutableMatrixRef{reinterpret_cast<void *>(y), rows, n, FloatKind(yKind)},
       {}});
}

static void contractBuffers(int64_t kinds, int64_t a, int64_t b, int64_t c,
                            int64_t loops, int64_t numLoops,
                            int64_t accumulate) {
  contract(FloatKind(kinds & 3), reinterpret_cast<const void *>(a),
           FloatKind((kinds >> 2) & 3), reinterpret_cast<const void *>(b),
           FloatKind((kinds >> 4) & 3), reinterpret_cast<void *>(c),
           std::span(reinterpret_cast<const ContractionLoop *>(loops),
                     size_t(numLoops)),
           accumulate != 0);
}

static void reportCheck(int64_t id) {
  if (currentRun && currentRun->failedChecks.empty())
    currentRun->failedChecks.push_back(id);
}

static void *allocate(int64_t bytes) {
  void *block = poolAllocate(bytes);
  if (!block)
    llvm::report_bad_alloc_error("no memory for an activation");
  return block;
}

static void *allocateAligned(int64_t, int64_t bytes) { return allocate(bytes); }

using PooledBlock = std::unique_ptr<void, decltype(&poolFree)>;

/// Each expert gets its rows without gaps between them, as if it were a
/// host_linear.
static void hostExperts(int64_t call, int64_t x, int64_t rows, int64_t k,
                        int64_t xKind, int64_t routing, int64_t, int64_t y,
                        int64_t n, int64_t yKind) {
  RunState *run = currentRun;
  if (!run || !run->linearError.empty())
    return;
  MatrixRef input = {reinterpret_cast<const void *>(x), rows, k,
                     FloatKind(xKind)};
  MutableMatrixRef output = {reinterpret_cast<void *>(y), rows, n,
                             FloatKind(yKind)};
  RowsByExpert byExpert(
      {reinterpret_cast<const int64_t *>(routing), size_t(rows)});
  const ExpertCalls &calls = run->expertCalls[call];
  for (auto [expert, id] : llvm::zip_equal(calls.experts, calls.ids)) {
    std::span<const int64_t> its = byExpert.rows(expert);
    int64_t count = its.size();
    PooledBlock in(allocate(count * k * byteWidth(input.kind)), poolFree);
    PooledBlock out(allocate(count * n * byteWidth(output.kind)), poolFree);
    gatherRows(input, its, in.get());
    run->linearError = run->handler->run({id,
                                          {in.get(), count, k, input.kind},
                                          {},
                                          {out.get(), count, n, output.kind},
                                          its});
    if (!run->linearError.empty())
      return;
    scatterRows(out.get(), its, output);
  }
}

// The parts of the OpenMP runtime that the translation to LLVM IR calls. Their
// addresses are given to the compiled code, which therefore finds them however
// this library was loaded.
extern "C" {
void __kmpc_fork_call(void *, int32_t, void *, ...);
int32_t __kmpc_global_thread_num(void *);
void __kmpc_barrier(void *, int32_t);
void __kmpc_for_static_init_8u(void *, int32_t, int32_t, int32_t *, uint64_t *,
                               uint64_t *, int64_t *, int64_t, int64_t);
void __kmpc_for_static_fini(void *, int32_t);
}

ArrayRef<std::pair<StringRef, void *>> execution::runtimeSymbols() {
  auto address = [](auto *function) {
    return reinterpret_cast<void *>(function);
  };
  static const std::pair<StringRef, void *> symbols[] = {
      {"quantoptHostLinear", address(hostLinear)},
      {"quantoptHostExperts", address(hostExperts)},
      {"quantoptContract", address(contractBuffers)},
      {"quantoptReportCheck", address(reportCheck)},
      {"_mlir_memref_to_llvm_alloc", address(allocate)},
      {"_mlir_memref_to_llvm_aligned_alloc", address(allocateAligned)},
      {"_mlir_memref_to_llvm_free", address(poolFree)},
      {"__kmpc_fork_call", address(__kmpc_fork_call)},
      {"__kmpc_global_thread_num", address(__kmpc_global_thread_num)},
      {"__kmpc_barrier", address(__kmpc_barrier)},
      {"__kmpc_for_static_init_8u", address(__kmpc_for_static_init_8u)},
      {"__kmpc_for_static_fini", address(__kmpc_for_static_fini)},
  };
  return symbols;
}

//===----------------------------------------------------------------------===//
// The callers
//===----------------------------------------------------------------------===//

int64_t execution::floatKindCode(Type element) {
  return int64_t(*getFloatKind(element));
}

FlatSymbolRefAttr HostFunctions::getCallee(lowbit::HostLinearOp op) {
  return getCallee(op.getLoc(), "quantoptHostLinear", op.getInput(),
                   op.getResidual(), op.getResult());
}

FlatSymbolRefAttr HostFunctions::getCallee(lowbit::HostExpertsOp op) {
  return getCallee(op.getLoc(), "quantoptHostExperts", op.getInput(),
                   op.getRouting(), op.getResult());
}

FlatSymbolRefAttr HostFunctions::getCallee(Location loc, StringRef runtimeName,
                                           Value x, Value beside, Value y) {
  OpBuilder builder(module.getBodyRegion());
  SmallVector<Type> types = {builder.getI64Type()};
  for (Value tensor : {x, beside, y})
    if (tensor) {
      auto type = cast<RankedTensorType>(tensor.getType());
      types.push_back(MemRefType::get(type.getShape(), type.getElementType()));
    }
  FunctionType signature = builder.getFunctionType(types, {});
  FlatSymbolRefAttr &callee = callees[signature];
  if (callee)
    return callee;
  std::string name = "host_linear_" + std::to_string(callees.size() - 1);
  auto function = func::FuncOp::create(builder, loc, name, signature);
  function.setPrivate();
  function->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
  Block *body = function.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Words words(builder, loc);
  Value input = body->getArgument(1), output = body->getArguments().back();
  int64_t rank = cast<MemRefType>(input.getType()).getRank();
  auto size = [&](Value buffer, int64_t dim) {
    return words.fromIndex(memref::DimOp::create(builder, loc, buffer, dim));
  };
  Value rows = words.constant(1), none = words.constant(0);
  for (int64_t dim = 0; dim + 1 < rank; ++dim)
    rows = arith::MulIOp::create(builder, loc, rows, size(input, dim));
  auto kind = [&](Value buffer) {
    Type type = getElementTypeOrSelf(buffer);
    return isa<FloatType>(type) ? words.constant(floatKindCode(type)) : none;
  };
  Value extra = beside ? body->getArgument(2) : Value();
  words.call(module, runtimeName,
             {body->getArgument(0), words.address(input), rows,
              size(input, rank - 1), kind(input),
              extra ? words.address(extra) : none, extra ? kind(extra) : none,
              words.address(output), size(output, rank - 1), kind(output)});
  func::ReturnOp::create(builder, loc);
  return callee = FlatSymbolRefAttr::get(function);
}

void execution::lowerContraction(linalg::GenericOp op) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  Words words(builder, loc);
  SmallVector<AffineMap> maps = op.getIndexingMapsArray();
  SmallVector<Range> ranges =
      cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(builder, loc);
  SmallVector<SmallVector<OpFoldResult>> strides;
  int64_t kinds = 0;
  for (auto [i, value] : llvm::enumerate(op->getOperands())) {
    auto metadata =
        memref::ExtractStridedMetadataOp::create(builder, loc, value);
    strides.push_back(metadata.getConstifiedMixedStrides());
    kinds |= floatKindCode(getElementTypeOrSelf(value.getType())) << (2 * i);
  }
  auto tableType =
      MemRefType::get({int64_t(ranges.size()) * 4}, builder.getI64Type());
  Value table = memref::AllocaOp::create(builder, loc, tableType);
  int64_t at = 0;
  auto store = [&](Value word) {
    Value index = arith::ConstantIndexOp::create(builder, loc, at++);
    memref::StoreOp::create(builder, loc, word, table, index);
  };
  for (auto [dim, range] : llvm::enumerate(ranges)) {
    store(words.from(range.size));
    AffineExpr expr = builder.getAffineDimExpr(dim);
    for (unsigned operand = 0; operand < 3; ++operand) {
      std::optional<unsigned> position = maps[operand].getResultPosition(expr);
      store(position ? words.from(strides[operand][*position])
                     : words.constant(0));
    }
  }
  words.call(op->getParentOfType<ModuleOp>(), "quantoptContract",
             {words.constant(kinds), words.address(op->getOperand(0)),
              words.address(op->getOperand(1)),
              words.address(op->getOperand(2)), words.address(table),
              words.constant(ranges.size()), words.constant(addsToInit(op))});
  op->erase();
}
