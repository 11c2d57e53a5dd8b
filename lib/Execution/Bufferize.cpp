//===- Bufferize.cpp - Tensors to buffers ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RuntimeCalls.h"
#include "Stages.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;
using namespace mlir::bufferization;
using namespace quantopt;
using namespace quantopt::execution;

/// What a call of the host needs, set before bufferization: a function may not
/// be made in the middle of it.
static constexpr llvm::StringLiteral kCalleeAttr = "quantopt.callee";
static constexpr llvm::StringLiteral kNumberAttr = "quantopt.number";

static MemRefType bufferType(Value tensor) {
  auto type = cast<RankedTensorType>(tensor.getType());
  return MemRefType::get(type.getShape(), type.getElementType());
}

/// A buffer of `type`; dynamic sizes are those of `like`.
static Value allocate(OpBuilder &builder, Location loc, MemRefType type,
                      Value like) {
  SmallVector<Value> sizes;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    if (ShapedType::isDynamic(size))
      sizes.push_back(memref::DimOp::create(builder, loc, like, i));
  return memref::AllocOp::create(builder, loc, type, sizes);
}

namespace {
/// host_linear and host_experts read their operands and write a new buffer.
template <typename Op>
struct HostInterface
    : BufferizableOpInterface::ExternalModel<HostInterface<Op>, Op> {
  bool bufferizesToMemoryRead(Operation *, OpOperand &,
                              const AnalysisState &) const {
    return true;
  }
  bool bufferizesToMemoryWrite(Operation *, OpOperand &,
                               const AnalysisState &) const {
    return false;
  }
  AliasingValueList getAliasingValues(Operation *, OpOperand &,
                                      const AnalysisState &) const {
    return {};
  }
  bool bufferizesToAllocation(Operation *, Value) const { return true; }

  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    Location loc = op->getLoc();
    auto experts = dyn_cast<lowbit::HostExpertsOp>(op);
    SmallVector<Value> arguments = {arith::ConstantOp::create(
        rewriter, loc, op->getAttrOfType<IntegerAttr>(kNumberAttr))};
    // The last operand of host_experts is where the result starts from.
    for (Value operand : op->getOperands().drop_back(experts ? 1 : 0)) {
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      MemRefType type = bufferType(operand);
      if (buffer->getType() != type) {
        // The host takes rows without gaps.
        Value packed = allocate(rewriter, loc, type, *buffer);
        memref::CopyOp::create(rewriter, loc, *buffer, packed);
        buffer = packed;
      }
      arguments.push_back(*buffer);
    }
    Value y =
        allocate(rewriter, loc, bufferType(op->getResult(0)), arguments[1]);
    if (experts) {
      FailureOr<Value> others =
          getBuffer(rewriter, experts.getOthers(), options, state);
      if (failed(others))
        return failure();
      memref::CopyOp::create(rewriter, loc, *others, y);
    }
    arguments.push_back(y);
    func::CallOp::create(rewriter, loc,
                         op->getAttrOfType<FlatSymbolRefAttr>(kCalleeAttr),
                         TypeRange(), arguments);
    replaceOpWithBufferizedValues(rewriter, op, y);
    return success();
  }
};
} // namespace

void execution::registerHostInterfaces(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, lowbit::LowBitDialect *,
                            BufferizationDialect *) {
    lowbit::HostLinearOp::attachInterface<HostInterface<lowbit::HostLinearOp>>(
        *context);
    lowbit::HostExpertsOp::attachInterface<
        HostInterface<lowbit::HostExpertsOp>>(*context);
  });
}

/// Asks for each result that is the next value of an argument to be written to
/// the argument's buffer.
static void writeInPlace(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  Operation *end = entry.getBody().front().getTerminator();
  OpBuilder builder(end);
  // What else an argument is returned for is its value before it is written.
  for (OpOperand &result : end->getOpOperands()) {
    bool isLost = llvm::any_of(compilation.inPlace, [&](InPlaceArgument it) {
      return result.get() == entry.getArgument(it.argument) &&
             result.getOperandNumber() != it.result;
    });
    if (isLost)
      result.set(
          AllocTensorOp::create(builder, end->getLoc(),
                                cast<RankedTensorType>(result.get().getType()),
                                ValueRange(), /*copy=*/result.get()));
  }
  for (InPlaceArgument updated : compilation.inPlace) {
    OpOperand &result = end->getOpOperand(updated.result);
    BlockArgument argument = entry.getArgument(updated.argument);
    if (result.get() != argument)
      result.set(MaterializeInDestinationOp::create(builder, end->getLoc(),
                                                    argument.getType(),
                                                    result.get(), argument)
                     ->getResult(0));
  }
}

/// Such results are with the caller already.
static void dropInPlaceResults(Compilation &compilation) {
  func::FuncOp entry = compilation.entry;
  llvm::BitVector dropped(entry.getNumResults());
  for (InPlaceArgument updated : compilation.inPlace)
    dropped.set(updated.result);
  entry.getBody().front().getTerminator()->eraseOperands(dropped);
  (void)entry.eraseResults(dropped);
}

LogicalResult execution::bufferize(Compilation &compilation) {
  HostFunctions functions(compilation.module);
  Builder builder(compilation.module.getContext());
  compilation.entry.walk([&](Operation *op) {
    if (auto linear = dyn_cast<lowbit::HostLinearOp>(op)) {
      op->setAttr(kCalleeAttr, functions.getCallee(linear));
      op->setAttr(kNumberAttr, linear.getIdAttr());
      compilation.mayWait |= linear.getObserved();
    } else if (auto experts = dyn_cast<lowbit::HostExpertsOp>(op)) {
      op->setAttr(kCalleeAttr, functions.getCallee(experts));
      compilation.mayWait |= experts.getObserved();
      op->setAttr(kNumberAttr,
                  builder.getI64IntegerAttr(compilation.expertCalls.size()));
      compilation.expertCalls.push_back(
          {experts.getExperts().vec(), experts.getIds().vec()});
    }
  });
  writeInPlace(compilation);
  PassManager passes(compilation.module.getContext());
  passes.addPass(createEmptyTensorEliminationPass());
  OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.functionBoundaryTypeConversion = LayoutMapOption::IdentityLayoutMap;
  options.unknownTypeConversion = LayoutMapOption::IdentityLayoutMap;
  options.allowReturnAllocsFromLoops = true;
  passes.addPass(createOneShotBufferizePass(options));
  if (failed(passes.run(compilation.module)))
    return failure();
  dropInPlaceResults(compilation);
  BufferResultsToOutParamsOpts outParams;
  outParams.hoistStaticAllocs = true;
  outParams.modifyPublicFunctions = true;
  if (compilation.ahead &&
      failed(promoteBufferResultsToOutParams(compilation.module, outParams)))
    return failure();
  return cleanUp(compilation.module);
}
