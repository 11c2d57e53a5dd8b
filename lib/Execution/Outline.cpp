//===- Outline.cpp - Equal ops share a kernel -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model of thirty equal layers would be compiled thirty times over. Each
// loop and each op on buffers becomes a call of a function instead, and
// functions with equal text are one.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// A copy that a plain memcpy does.
static bool isPlainCopy(memref::CopyOp copy) {
  auto contiguous = [](Type type) {
    auto memref = dyn_cast<MemRefType>(type);
    return memref && memref.getLayout().isIdentity();
  };
  return contiguous(copy.getSource().getType()) &&
         contiguous(copy.getTarget().getType());
}

static bool shouldOutline(Operation *op) {
  if (op->getNumResults() > 0)
    return false;
  return isa<linalg::LinalgOp, scf::ForallOp, scf::ForOp, scf::ParallelOp>(op);
}

namespace {
class Outliner {
public:
  explicit Outliner(Compilation &compilation) : compilation(compilation) {}

  void outlineIn(Block &block) {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (shouldOutline(&op))
        outline(&op);
      else
        for (Region &region : op.getRegions())
          for (Block &inner : region)
            outlineIn(inner);
    }
  }

private:
  void outline(Operation *op) {
    // Constants move along, so that sizes stay known inside.
    SetVector<Value> used(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), used);
    SmallVector<Value> arguments;
    SmallVector<Operation *> constants;
    for (Value value : used) {
      Operation *source = value.getDefiningOp();
      if (source && source->hasTrait<OpTrait::ConstantLike>())
        constants.push_back(source);
      else
        arguments.push_back(value);
    }
    ModuleOp module = compilation.module;
    OpBuilder builder(module.getBodyRegion());
    auto kernel = func::FuncOp::create(
        builder, op->getLoc(), "kernel",
        builder.getFunctionType(ValueRange(arguments).getTypes(), {}));
    kernel.setPrivate();
    Block *body = kernel.addEntryBlock();
    builder.setInsertionPointToStart(body);
    IRMapping mapping;
    mapping.map(arguments, body->getArguments());
    for (Operation *constant : constants)
      builder.clone(*constant, mapping);
    builder.clone(*op, mapping);
    func::ReturnOp::create(builder, op->getLoc());

    std::string text;
    llvm::raw_string_ostream os(text);
    kernel->print(os, OpPrintingFlags().useLocalScope().assumeVerified());
    func::FuncOp &shared = kernels[text];
    if (shared) {
      kernel.erase();
    } else {
      shared = kernel;
      kernel.setName("kernel_" + std::to_string(kernels.size() - 1));
      kernel->setAttr("passthrough",
                      builder.getStrArrayAttr({"noinline", "nounwind"}));
      ++compilation.numKernels;
    }
    ++compilation.numKernelCalls;
    OpBuilder at(op);
    func::CallOp::create(at, op->getLoc(), shared, arguments);
    op->erase();
  }

  Compilation &compilation;
  llvm::StringMap<func::FuncOp> kernels;
};
} // namespace

LogicalResult execution::outlineKernels(Compilation &compilation) {
  SmallVector<memref::CopyOp> copies;
  compilation.module.walk([&](memref::CopyOp copy) {
    if (!isPlainCopy(copy))
      copies.push_back(copy);
  });
  for (memref::CopyOp copy : copies) {
    OpBuilder builder(copy);
    // Left over where a producer writes straight into its slice.
    if (copy.getSource() != copy.getTarget())
      linalg::makeMemRefCopyOp(builder, copy.getLoc(), copy.getSource(),
                               copy.getTarget());
    copy.erase();
  }
  Outliner(compilation).outlineIn(compilation.entry.getBody().front());
  return success();
}
