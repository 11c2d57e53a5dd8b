//===- DeviceKernels.cpp - Kernels for a GPU ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A loop over tiles gives each of its iterations to a block, which goes through
// the ops of the tile one after the other and keeps what is between them in
// shared memory. An op of its own is spread over as many blocks as it has work
// for; several small ones are done by one block. Shapes are static, so every
// launch has its size from here.
//
//===----------------------------------------------------------------------===//

#include "ContractionKernel.h"
#include "CooperativeLoops.h"
#include "DeviceStages.h"

#include "quantopt/Codegen/GPU/Serialize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// Threads of a block where nothing asks for fewer.
static constexpr int64_t maxThreads = 256;
/// Of shared memory that a kernel need not ask for.
static constexpr int64_t maxSharedBytes = 48 << 10;

namespace {

class KernelBuilder {
public:
  KernelBuilder(Compilation &compilation, gpu::GPUModuleOp module,
                func::FuncOp source)
      : compilation(compilation), source(source), loc(source.getLoc()),
        rewriter(source.getContext()), module(module) {}

  LogicalResult build();

  gpu::GPUFuncOp kernel;
  int64_t numBlocks = 1, blockSize = warpSize;
  bool reportsChecks = false;

private:
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(rewriter, loc, value);
  }
  void copyBody();
  LogicalResult reportChecksInMemory();
  LogicalResult emitTile(scf::ForallOp forall);
  LogicalResult emitInBlock(ArrayRef<linalg::LinalgOp> ops);
  LogicalResult emitOp(linalg::LinalgOp op);
  void emitOnce(Operation *op);
  LogicalResult moveToSharedMemory(memref::AllocOp alloc);
  LogicalResult checkSharedMemory();

  Compilation &compilation;
  func::FuncOp source;
  Location loc;
  IRRewriter rewriter;
  gpu::GPUModuleOp module;
  Value block, thread;
};

} // namespace

/// The source's body in a gpu.func.
void KernelBuilder::copyBody() {
  rewriter.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types(source.getArgumentTypes());
  reportsChecks =
      source->walk([](func::CallOp) { return WalkResult::interrupt(); })
          .wasInterrupted();
  if (reportsChecks)
    types.push_back(MemRefType::get({int64_t(compilation.checks.size())},
                                    rewriter.getI32Type()));
  kernel = gpu::GPUFuncOp::create(rewriter, loc, source.getName(),
                                  rewriter.getFunctionType(types, {}));
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(),
                  rewriter.getUnitAttr());
  Block &body = kernel.getBody().front();
  rewriter.setInsertionPointToStart(&body);
  block = gpu::BlockIdOp::create(rewriter, loc, gpu::Dimension::x);
  thread = gpu::ThreadIdOp::create(rewriter, loc, gpu::Dimension::x);
  IRMapping mapping;
  mapping.map(source.getArguments(),
              body.getArguments().take_front(source.getNumArguments()));
  for (Operation &op : source.getBody().front().without_terminator())
    rewriter.clone(op, mapping);
  gpu::ReturnOp::create(rewriter, loc);
}

/// quantoptReportCheck(id) -> a mark in the last argument. Several threads may
/// set it; all write the same.
LogicalResult KernelBuilder::reportChecksInMemory() {
  if (!reportsChecks)
    return success();
  Value flags = kernel.getArgument(source.getNumArguments());
  SmallVector<func::CallOp> calls;
  kernel.walk([&](func::CallOp call) { calls.push_back(call); });
  for (func::CallOp call : calls) {
    rewriter.setInsertionPoint(call);
    Value one = arith::ConstantIntOp::create(rewriter, loc, 1, 32);
    Value index = arith::IndexCastOp::create(
        rewriter, loc, rewriter.getIndexType(), call.getOperand(0));
    memref::StoreOp::create(rewriter, loc, one, flags, index);
    rewriter.eraseOp(call);
  }
  return success();
}

/// Gives `value` another type, and what is seen through it as well.
static void setBufferType(Value value, Attribute space) {
  auto type = cast<MemRefType>(value.getType());
  value.setType(MemRefType::get(type.getShape(), type.getElementType(),
                                type.getLayout(), space));
  for (Operation *user : value.getUsers())
    if (isa<ViewLikeOpInterface>(user))
      setBufferType(user->getResult(0), space);
}

LogicalResult KernelBuilder::moveToSharedMemory(memref::AllocOp alloc) {
  MemRefType type = alloc.getType();
  if (!type.hasStaticShape() || !type.getLayout().isIdentity())
    return alloc.emitError("cannot be run on the GPU: a block needs a buffer "
                           "of type ")
           << type;
  Value shared =
      addSharedMemory(kernel, loc, type.getShape(), type.getElementType());
  rewriter.replaceAllUsesWith(alloc, shared);
  rewriter.eraseOp(alloc);
  setBufferType(shared, cast<MemRefType>(shared.getType()).getMemorySpace());
  return success();
}

/// Each iteration of the loop is a block.
LogicalResult KernelBuilder::emitTile(scf::ForallOp forall) {
  SmallVector<int64_t> low, steps, trips;
  for (auto [l, h, s] :
       llvm::zip(forall.getMixedLowerBound(), forall.getMixedUpperBound(),
                 forall.getMixedStep())) {
    auto lower = getConstantIntValue(l), upper = getConstantIntValue(h),
         step = getConstantIntValue(s);
    if (!lower || !upper || !step)
      return forall.emitError("cannot be run on the GPU: the size of a loop is "
                              "not known; only static shapes are supported");
    low.push_back(*lower);
    steps.push_back(*step);
    trips.push_back(llvm::divideCeil(*upper - *lower, *step));
    numBlocks *= trips.back();
  }
  rewriter.setInsertionPoint(forall);
  SmallVector<Value> position = delinearize(rewriter, loc, block, trips);
  for (auto [index, l, step] : llvm::zip(position, low, steps)) {
    index = arith::MulIOp::create(rewriter, loc, index, constant(step));
    index = arith::AddIOp::create(rewriter, loc, index, constant(l));
  }
  rewriter.eraseOp(forall.getTerminator());
  rewriter.inlineBlockBefore(forall.getBody(), forall, position);
  rewriter.eraseOp(forall);

  SmallVector<linalg::LinalgOp> ops;
  SmallVector<memref::AllocOp> buffers;
  WalkResult known =
      kernel.walk<WalkOrder::PreOrder>([&](Operation *op) -> WalkResult {
        if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op)) {
          ops.push_back(linalgOp);
          return WalkResult::skip();
        }
        if (auto alloc = dyn_cast<memref::AllocOp>(op))
          buffers.push_back(alloc);
        else if (isa<scf::SCFDialect>(op->getDialect()) ||
                 isa<memref::CopyOp>(op))
          return op->emitError("cannot be run on the GPU: '")
                 << op->getName() << "' inside a tile; this is a defect of "
                 << "quant-opt";
        return WalkResult::advance();
      });
  if (known.wasInterrupted())
    return failure();
  for (memref::AllocOp buffer : buffers)
    if (failed(moveToSharedMemory(buffer)))
      return failure();
  return emitInBlock(ops);
}

/// One op after the other, all by the threads of one block.
LogicalResult KernelBuilder::emitInBlock(ArrayRef<linalg::LinalgOp> ops) {
  int64_t points = 1;
  for (linalg::LinalgOp op : ops)
    points = std::max(points, countOutputs(op) * countReductionSteps(op));
  blockSize = std::min<int64_t>(maxThreads, llvm::alignTo(points, warpSize));
  Team team{kernel, thread, /*block=*/Value(), blockSize};
  for (linalg::LinalgOp op : ops) {
    rewriter.setInsertionPoint(op);
    // What an op writes, other threads read.
    if (op != ops.front())
      gpu::BarrierOp::create(rewriter, loc);
    if (failed(emitCooperativeLoops(rewriter, op, chooseShare(op, blockSize),
                                    team)))
      return failure();
  }
  return success();
}

LogicalResult KernelBuilder::emitOp(linalg::LinalgOp op) {
  if (op.hasDynamicShape())
    return op.emitError("cannot be run on the GPU: only static shapes are "
                        "supported; import the model with fixed sizes");
  rewriter.setInsertionPoint(op);
  if (isContraction(op)) {
    auto product = cast<linalg::GenericOp>(op.getOperation());
    if (auto tiling = tileContraction(product)) {
      numBlocks = tiling->blocks();
      blockSize = tiling->threads();
      emitTiledContraction(rewriter, product, *tiling, kernel, block, thread);
      return success();
    }
  }
  Share share = chooseShare(op, /*blockSize=*/0);
  int64_t points = countOutputs(op);
  if (share != Share::Thread)
    points *= warpSize;
  blockSize = share == Share::Block
                  ? maxThreads
                  : std::min<int64_t>(
                        maxThreads,
                        llvm::alignTo(std::max<int64_t>(points, 1), warpSize));
  numBlocks = countBlocks(op, share, blockSize);
  Team team{kernel, thread, block, blockSize, numBlocks};
  return emitCooperativeLoops(rewriter, op, share, team);
}

/// An op that one thread does.
void KernelBuilder::emitOnce(Operation *op) {
  rewriter.setInsertionPoint(op);
  Value isFirst = arith::CmpIOp::create(rewriter, loc, arith::CmpIPredicate::eq,
                                        thread, constant(0));
  auto branch = scf::IfOp::create(rewriter, loc, isFirst, false);
  rewriter.moveOpBefore(op, branch.thenBlock()->getTerminator());
}

LogicalResult KernelBuilder::checkSharedMemory() {
  int64_t bytes = 0;
  for (BlockArgument buffer : kernel.getWorkgroupAttributions()) {
    auto type = cast<MemRefType>(buffer.getType());
    int64_t width = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
    bytes += llvm::alignTo(type.getNumElements() * width, 16);
  }
  if (bytes > maxSharedBytes)
    return kernel.emitError("cannot be run on the GPU: a block needs ")
           << bytes << " bytes of shared memory, " << maxSharedBytes
           << " are possible; this is a defect of quant-opt";
  return success();
}

LogicalResult KernelBuilder::build() {
  copyBody();
  if (failed(reportChecksInMemory()))
    return failure();
  // The outliner gives a kernel one op, or several small ones, besides
  // constants and views.
  SmallVector<linalg::LinalgOp> ops;
  Operation *other = nullptr;
  for (Operation &op : kernel.getBody().front().without_terminator()) {
    if (auto linalgOp = dyn_cast<linalg::LinalgOp>(op))
      ops.push_back(linalgOp);
    else if (isa<scf::ForallOp, memref::StoreOp>(op))
      other = &op;
  }
  LogicalResult done = success();
  if (auto forall = dyn_cast_or_null<scf::ForallOp>(other))
    done = emitTile(forall);
  else if (other)
    emitOnce(other);
  else
    done = ops.size() == 1 ? emitOp(ops[0]) : emitInBlock(ops);
  if (failed(done) || failed(checkSharedMemory()))
    return failure();
  // Known to LLVM and to ptxas.
  kernel.setKnownBlockSizeAttr(
      rewriter.getDenseI32ArrayAttr({int32_t(blockSize), 1, 1}));
  return success();
}

LogicalResult execution::emitDeviceKernels(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  OpBuilder builder(compilation.module.getBodyRegion());
  Attribute target = kernels::targetAttr(entry.getContext(), *compilation.chip);
  auto module = gpu::GPUModuleOp::create(builder, entry.getLoc(), "kernels",
                                         ArrayRef<Attribute>(target));
  Value flags;
  if (!compilation.checks.empty()) {
    unsigned index = entry.getNumArguments();
    auto type = MemRefType::get({int64_t(compilation.checks.size())},
                                builder.getI32Type());
    if (failed(entry.insertArgument(index, type, {}, entry.getLoc())))
      return failure();
    flags = entry.getArgument(index);
  }
  compilation.module->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                              builder.getUnitAttr());
  SymbolTableCollection symbols;
  SymbolUserMap users(symbols, compilation.module);
  for (auto source :
       llvm::make_early_inc_range(compilation.module.getOps<func::FuncOp>())) {
    if (source == entry || source.isExternal())
      continue;
    KernelBuilder kernel(compilation, module, source);
    if (failed(kernel.build()))
      return failure();
    for (Operation *user : users.getUsers(source)) {
      auto call = cast<func::CallOp>(user);
      OpBuilder at(call);
      auto constant = [&](int64_t value) {
        return arith::ConstantIndexOp::create(at, call.getLoc(), value);
      };
      Value one = constant(1);
      SmallVector<Value> operands(call.getOperands());
      if (kernel.reportsChecks)
        operands.push_back(flags);
      gpu::LaunchFuncOp::create(
          at, call.getLoc(), kernel.kernel,
          gpu::KernelDim3{constant(kernel.numBlocks), one, one},
          gpu::KernelDim3{constant(kernel.blockSize), one, one},
          /*dynamicSharedMemorySize=*/Value(), operands);
      call.erase();
    }
    source.erase();
  }
  PassManager passes(builder.getContext());
  OpPassManager &inKernels = passes.nest<gpu::GPUModuleOp>();
  inKernels.addPass(createCanonicalizerPass());
  inKernels.addPass(createCSEPass());
  return passes.run(compilation.module);
}
