//===- LowerLaunches.cpp - What the entry asks of a device ----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The entry runs on the host, with buffers that are on the device: it computes
// with their addresses and never looks inside.
//
//===----------------------------------------------------------------------===//

#include "DeviceStages.h"
#include "Words.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

static LogicalResult freeBuffers(Compilation &compilation) {
  PassManager passes(compilation.module.getContext());
  buildFreeBuffers(passes);
  if (failed(passes.run(compilation.module)))
    return failure();
  // Who owns a buffer is then only known at run time, by lists in memory.
  if (compilation.module.lookupSymbol("dealloc_helper"))
    return compilation.entry.emitError(
        "cannot be run on the GPU: a loop carries a tensor of which it is not "
        "known where it comes from; unroll it, or run on the host");
  return success();
}

/// Any number, as 64 bits of which a kernel takes the low ones.
static Value asWord(OpBuilder &builder, Location loc, Words &words,
                    Value value) {
  Type type = value.getType(), i64 = builder.getI64Type();
  if (isa<MemRefType>(type))
    return words.base(value);
  if (type.isIndex())
    return words.fromIndex(value);
  if (isa<FloatType>(type))
    value = arith::BitcastOp::create(
        builder, loc, builder.getIntegerType(type.getIntOrFloatBitWidth()),
        value);
  if (value.getType() == i64)
    return value;
  return arith::ExtUIOp::create(builder, loc, i64, value);
}

/// What the entry cannot ask of a device.
static LogicalResult checkLaunch(Compilation &compilation,
                                 gpu::LaunchFuncOp launch) {
  if (launch.getAsyncToken() || !launch.getAsyncDependencies().empty() ||
      launch.hasClusterSize())
    return launch.emitError("cannot be run: asynchronous launches and clusters "
                            "are not supported");
  for (Type type : launch.getKernelOperands().getTypes()) {
    auto buffer = dyn_cast<MemRefType>(type);
    bool fits = buffer ? buffer.hasStaticShape()
                       : type.isIndex() || (type.isIntOrFloat() &&
                                            type.getIntOrFloatBitWidth() <= 64);
    if (!fits)
      return launch.emitError("cannot be run on the GPU: operand of type ")
             << type << "; only static shapes are supported";
  }
  return success();
}

namespace {

/// Functions, one for each kernel, that launch it. They take its operands, the
/// sizes of grid and block, and the bytes of dynamic shared memory; so buffers
/// are seen to be in use.
class Launchers {
public:
  explicit Launchers(Compilation &compilation) : compilation(compilation) {}

  void replaceByCall(gpu::LaunchFuncOp launch) {
    OpBuilder builder(launch);
    Location loc = launch.getLoc();
    gpu::KernelDim3 grid = launch.getGridSizeOperandValues(),
                    block = launch.getBlockSizeOperandValues();
    Value shared = launch.getDynamicSharedMemorySize();
    if (!shared)
      shared = arith::ConstantIntOp::create(builder, loc, 0, 32);
    SmallVector<Value> operands(launch.getKernelOperands());
    operands.append(
        {grid.x, grid.y, grid.z, block.x, block.y, block.z, shared});
    FunctionType type =
        builder.getFunctionType(ValueRange(operands).getTypes(), {});
    func::FuncOp &launcher = launchers[{launch.getKernelAttr(), type}];
    if (!launcher)
      launcher = build(launch, type);
    func::CallOp::create(builder, loc, launcher, operands);
    launch.erase();
  }

private:
  func::FuncOp build(gpu::LaunchFuncOp launch, FunctionType type) {
    Location loc = launch.getLoc();
    OpBuilder builder(compilation.module.getBodyRegion());
    auto launcher = func::FuncOp::create(
        builder, loc, "launch_" + std::to_string(launchers.size() - 1), type);
    launcher.setPrivate();
    launcher->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
    Block *body = launcher.addEntryBlock();
    builder.setInsertionPointToStart(body);
    Words words(builder, loc);
    int64_t count = launch.getNumKernelOperands();
    Value arguments = memref::AllocaOp::create(
        builder, loc,
        MemRefType::get({std::max<int64_t>(count, 1)}, builder.getI64Type()));
    for (int64_t i = 0; i < count; ++i) {
      Value index = arith::ConstantIndexOp::create(builder, loc, i);
      Value word = asWord(builder, loc, words, body->getArgument(i));
      memref::StoreOp::create(builder, loc, word, arguments, index);
    }
    auto [it, isNew] = compilation.kernelNumbers.insert(
        {{launch.getKernelModuleName().str(), launch.getKernelName().str()},
         int64_t(compilation.kernelNumbers.size())});
    SmallVector<Value> call = {words.constant(it->second)};
    for (Value size : body->getArguments().drop_front(count))
      call.push_back(asWord(builder, loc, words, size));
    call.append({words.base(arguments), words.constant(count)});
    words.call(compilation.module, "quantoptLaunch", call);
    func::ReturnOp::create(builder, loc);
    return launcher;
  }

  Compilation &compilation;
  DenseMap<std::pair<Attribute, Type>, func::FuncOp> launchers;
};

} // namespace

static Value bytesOf(OpBuilder &builder, Location loc, Words &words,
                     MemRefType type) {
  int64_t width = llvm::divideCeil(type.getElementTypeBitWidth(), 8);
  return words.constant(type.getNumElements() * width);
}

/// Bytes of zero are all that is needed.
static LogicalResult lowerMemset(Compilation &compilation, gpu::MemsetOp op) {
  auto type = cast<MemRefType>(op.getDst().getType());
  bool zero = matchPattern(op.getValue(), m_Zero()) ||
              matchPattern(op.getValue(), m_PosZeroFloat());
  if (op.getAsyncToken() || !zero || !type.hasStaticShape() ||
      !type.getLayout().isIdentity())
    return op.emitError("cannot be run: memory can only be filled with zeros");
  OpBuilder builder(op);
  Words words(builder, op.getLoc());
  words.call(
      compilation.module, "quantoptDeviceClear",
      {words.address(op.getDst()), bytesOf(builder, op.getLoc(), words, type)});
  op.erase();
  return success();
}

static LogicalResult lowerCopy(Compilation &compilation, memref::CopyOp copy) {
  auto type = cast<MemRefType>(copy.getSource().getType());
  if (!type.hasStaticShape() || !type.getLayout().isIdentity())
    return copy.emitError("cannot be run on the GPU: copy of ") << type;
  OpBuilder builder(copy);
  Words words(builder, copy.getLoc());
  words.call(compilation.module, "quantoptDeviceCopy",
             {words.address(copy.getTarget()), words.address(copy.getSource()),
              bytesOf(builder, copy.getLoc(), words, type)});
  copy.erase();
  return success();
}

/// The entry itself needs the number, to choose a branch perhaps: it waits for
/// the device.
static void lowerRead(Compilation &compilation, memref::LoadOp load) {
  OpBuilder builder(load);
  Location loc = load.getLoc();
  Words words(builder, loc);
  MemRefType type = load.getMemRefType();
  Type element = type.getElementType();
  SmallVector<OpFoldResult> offsets(load.getIndices()),
      ones(type.getRank(), builder.getIndexAttr(1));
  Value there = memref::SubViewOp::create(builder, loc, load.getMemRef(),
                                          offsets, ones, ones);
  unsigned width = element.isIndex() ? 64 : element.getIntOrFloatBitWidth();
  Value word = words
                   .call(compilation.module, "quantoptDeviceRead",
                         {words.address(there),
                          words.constant(llvm::divideCeil(width, 8))},
                         /*hasResult=*/true)
                   .getResult(0);
  if (width < 64)
    word = arith::TruncIOp::create(builder, loc, builder.getIntegerType(width),
                                   word);
  if (element.isIndex())
    word = arith::IndexCastOp::create(builder, loc, element, word);
  else if (isa<FloatType>(element))
    word = arith::BitcastOp::create(builder, loc, element, word);
  load.replaceAllUsesWith(word);
  load.erase();
  compilation.dependsOnData = true;
}

LogicalResult execution::lowerLaunches(Compilation &compilation) {
  SmallVector<gpu::LaunchFuncOp> launches;
  compilation.entry.walk(
      [&](gpu::LaunchFuncOp launch) { launches.push_back(launch); });
  Launchers launchers(compilation);
  for (gpu::LaunchFuncOp launch : launches) {
    if (failed(checkLaunch(compilation, launch)))
      return failure();
    launchers.replaceByCall(launch);
  }
  for (auto binary :
       llvm::make_early_inc_range(compilation.module.getOps<gpu::BinaryOp>()))
    binary.erase();
  if (failed(freeBuffers(compilation)))
    return failure();
  SmallVector<memref::CopyOp> copies;
  SmallVector<memref::LoadOp> reads;
  SmallVector<gpu::MemsetOp> fills;
  compilation.entry.walk([&](Operation *op) {
    if (auto copy = dyn_cast<memref::CopyOp>(op))
      copies.push_back(copy);
    else if (auto read = dyn_cast<memref::LoadOp>(op))
      reads.push_back(read);
    else if (auto fill = dyn_cast<gpu::MemsetOp>(op))
      fills.push_back(fill);
    else if (auto call = dyn_cast<func::CallOp>(op))
      compilation.dependsOnData |= call.getCallee() == "quantoptReportCheck";
  });
  for (memref::CopyOp copy : copies)
    if (failed(lowerCopy(compilation, copy)))
      return failure();
  for (gpu::MemsetOp fill : fills)
    if (failed(lowerMemset(compilation, fill)))
      return failure();
  for (memref::LoadOp read : reads)
    lowerRead(compilation, read);
  return success();
}
