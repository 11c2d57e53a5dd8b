//===- LowerKernels.cpp - Kernels to loops --------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ContractionLoops.h"
#include "LoopEmission.h"
#include "RuntimeCalls.h"
#include "Stages.h"

#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SCF/Transforms/Transforms.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Estimated simple operations below which a kernel stays on one thread. A
/// fork and join costs a few microseconds.
static constexpr double minParallelWork = 1 << 17;
/// Buffers of a step that are larger come from the pool instead of the stack.
static constexpr int64_t maxStackBytes = 128 << 10;

/// Simple operations in one execution of `op`; the runtime parallelises its
/// own calls.
static double estimateWork(Operation *op) {
  if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
    double points = 1;
    for (int64_t size : linalgOp.getStaticLoopRanges())
      points *= ShapedType::isDynamic(size) ? 64 : size;
    double cost = 1;
    for (Operation &inner : linalgOp.getBlock()->without_terminator())
      cost += isa<math::MathDialect>(inner.getDialect()) ? 8 : 0.5;
    return points * cost;
  }
  double sum = 0;
  for (Region &region : op->getRegions())
    for (Block &block : region)
      for (Operation &inner : block)
        sum += estimateWork(&inner);
  if (auto forall = dyn_cast<scf::ForallOp>(op)) {
    for (auto [low, high, step] :
         llvm::zip(forall.getMixedLowerBound(), forall.getMixedUpperBound(),
                   forall.getMixedStep())) {
      auto l = getConstantIntValue(low), h = getConstantIntValue(high),
           s = getConstantIntValue(step);
      sum *= l && h && s ? double(*h - *l) / *s : 64;
    }
  }
  return sum;
}

/// Reports of failed checks are found through the calling thread.
static bool callsBack(Operation *op) {
  return op->walk([](func::CallOp) { return WalkResult::interrupt(); })
      .wasInterrupted();
}

/// Small buffers that a kernel makes and drops go on the stack: of `frame`, or
/// where they are made if that is null.
static void moveToStack(Operation *root, func::FuncOp frame) {
  SmallVector<memref::AllocOp> allocs;
  root->walk([&](memref::AllocOp alloc) { allocs.push_back(alloc); });
  int64_t used = 0;
  for (memref::AllocOp alloc : allocs) {
    MemRefType type = alloc.getType();
    if (!type.hasStaticShape() || !type.getLayout().isIdentity())
      continue;
    int64_t bytes = type.getNumElements() *
                    std::max<int64_t>(1, type.getElementTypeBitWidth() / 8);
    if (used + bytes > maxStackBytes)
      continue;
    used += bytes + 64;
    OpBuilder builder(alloc);
    if (frame)
      builder.setInsertionPointToStart(&frame.getBody().front());
    Value stack = memref::AllocaOp::create(builder, alloc.getLoc(), type,
                                           builder.getI64IntegerAttr(64));
    alloc.replaceAllUsesWith(stack);
    alloc.erase();
  }
}

namespace {
struct Loop {
  scf::ForallOp op;
  bool isNested, isParallel;
};
} // namespace

static LogicalResult lowerKernel(func::FuncOp kernel,
                                 const Compilation &compilation) {
  VectorRegisters registers = registersOf(compilation.cpu.isa);
  IRRewriter rewriter(kernel.getContext());
  auto describe = [](scf::ForallOp op, double work) -> Loop {
    bool isNested = bool(op->getParentOfType<scf::ForallOp>());
    return {op, isNested,
            !isNested && work >= minParallelWork && !callsBack(op)};
  };
  SmallVector<Loop> loops; // inner ones first
  SmallVector<linalg::LinalgOp> ops;
  kernel.walk([&](linalg::LinalgOp op) { ops.push_back(op); });
  SmallVector<Loop> outer;
  kernel.walk([&](scf::ForallOp op) {
    outer.push_back(describe(op, estimateWork(op)));
  });
  for (linalg::LinalgOp op : ops) {
    rewriter.setInsertionPoint(op);
    if (auto contraction = dyn_cast<linalg::GenericOp>(op.getOperation());
        contraction && isContraction(op)) {
      double work = estimateWork(op);
      if (hasStaticContraction(contraction))
        loops.push_back(
            describe(emitContraction(rewriter, contraction, registers), work));
      else if (compilation.ahead)
        return op.emitError("cannot be compiled to an object: a product of "
                            "matrices whose sizes are only known when it runs");
      else
        lowerContraction(contraction);
    } else if (failed(emitLoops(rewriter, op))) {
      return failure();
    }
  }
  loops.append(outer);
  for (const Loop &loop : loops) {
    rewriter.setInsertionPoint(loop.op);
    // A parallel body has a stack frame of its own; that of a serial loop is
    // the kernel's.
    if (!loop.isNested)
      moveToStack(loop.op, loop.isParallel ? func::FuncOp() : kernel);
    LogicalResult done = loop.isParallel
                             ? scf::forallToParallelLoop(rewriter, loop.op)
                             : scf::forallToForLoop(rewriter, loop.op);
    if (failed(done))
      return failure();
  }
  return success();
}

LogicalResult execution::lowerKernels(Compilation &compilation) {
  for (auto function : compilation.module.getOps<func::FuncOp>())
    if (!function.isExternal() && failed(lowerKernel(function, compilation)))
      return failure();
  return success();
}
