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

#include "mlir/Analysis/TopologicalSortUtils.h"
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

/// On a device the entry runs loops itself and launches what is in them; it
/// cannot store into a buffer either.
static bool shouldOutline(Operation *op, bool onDevice) {
  if (op->getNumResults() > 0)
    return false;
  if (onDevice)
    return isa<linalg::LinalgOp, scf::ForallOp, memref::StoreOp>(op);
  return isa<linalg::LinalgOp, scf::ForallOp, scf::ForOp, scf::ParallelOp>(op);
}

namespace {
class Outliner {
public:
  explicit Outliner(Compilation &compilation) : compilation(compilation) {}

  void outlineIn(Block &block) {
    SmallVector<Operation *> together;
    auto finish = [&] {
      if (!together.empty())
        outline(together);
      together.clear();
    };
    for (Operation &op : llvm::make_early_inc_range(block)) {
      if (shouldOutline(&op, compilation.onDevice())) {
        bool joins = joinsNeighbours(&op);
        if (!joins)
          finish();
        together.push_back(&op);
        if (!joins)
          finish();
        continue;
      }
      // What comes before such ops may as well come after them.
      if (!isMemoryEffectFree(&op) && !isa<memref::AllocOp>(op))
        finish();
      for (Region &region : op.getRegions())
        for (Block &inner : region)
          outlineIn(inner);
    }
    finish();
  }

private:
  /// On a device a launch costs about as much as this many elements in one
  /// block: small ops that follow each other become one kernel.
  static constexpr int64_t maxJoinedElements = 8192;

  bool joinsNeighbours(Operation *op) {
    auto linalgOp = dyn_cast<linalg::LinalgOp>(op);
    if (!compilation.onDevice() || !linalgOp || isContraction(op) ||
        linalgOp.hasDynamicShape())
      return false;
    int64_t elements = 1;
    for (int64_t size : linalgOp.getStaticLoopRanges())
      elements *= size;
    return elements <= maxJoinedElements;
  }

  /// A view whose place is only known at run time moves too: kernels get
  /// buffers that a pointer describes, where sizes are static.
  static bool movesAlong(Operation *source) {
    if (source->hasTrait<OpTrait::ConstantLike>())
      return true;
    if (!isa<ViewLikeOpInterface>(source))
      return false;
    auto type = dyn_cast<MemRefType>(source->getResult(0).getType());
    int64_t offset;
    SmallVector<int64_t> strides;
    return type && type.hasStaticShape() &&
           succeeded(type.getStridesAndOffset(strides, offset)) &&
           (ShapedType::isDynamic(offset) ||
            ShapedType::isDynamicShape(strides));
  }

  void outline(ArrayRef<Operation *> ops) {
    Location loc = ops[0]->getLoc();
    // Constants move along, so that sizes stay known inside.
    SetVector<Value> used;
    for (Operation *op : ops) {
      used.insert(op->operand_begin(), op->operand_end());
      getUsedValuesDefinedAbove(op->getRegions(), used);
    }
    SmallVector<Value> arguments;
    SetVector<Operation *> moved;
    for (size_t i = 0; i < used.size(); ++i) { // grows
      Operation *source = used[i].getDefiningOp();
      if (source && movesAlong(source)) {
        moved.insert(source);
        used.insert(source->operand_begin(), source->operand_end());
      } else {
        arguments.push_back(used[i]);
      }
    }
    ModuleOp module = compilation.module;
    OpBuilder builder(module.getBodyRegion());
    auto kernel = func::FuncOp::create(
        builder, loc, "kernel",
        builder.getFunctionType(ValueRange(arguments).getTypes(), {}));
    kernel.setPrivate();
    Block *body = kernel.addEntryBlock();
    builder.setInsertionPointToStart(body);
    IRMapping mapping;
    mapping.map(arguments, body->getArguments());
    for (Operation *source : topologicalSort(moved))
      builder.clone(*source, mapping);
    for (Operation *op : ops)
      builder.clone(*op, mapping);
    func::ReturnOp::create(builder, loc);

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
    OpBuilder at(ops.back());
    func::CallOp::create(at, loc, shared, arguments);
    for (Operation *op : ops)
      op->erase();
  }

  Compilation &compilation;
  llvm::StringMap<func::FuncOp> kernels;
};
} // namespace

LogicalResult execution::outlineKernels(Compilation &compilation) {
  SmallVector<memref::CopyOp> copies;
  compilation.module.walk([&](memref::CopyOp copy) {
    // Inside a loop over tiles a device has threads to copy with, and no call.
    bool inTile =
        compilation.onDevice() && copy->getParentOfType<scf::ForallOp>();
    if (!isPlainCopy(copy) || inTile)
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
