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

/// The function that a host_linear will call, set before bufferization: it may
/// not be made in the middle of it.
static constexpr llvm::StringLiteral kCalleeAttr = "quantopt.callee";

namespace {
/// A host_linear reads its input and writes a new buffer.
struct HostLinearInterface
    : BufferizableOpInterface::ExternalModel<HostLinearInterface,
                                             lowbit::HostLinearOp> {
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
    auto linear = cast<lowbit::HostLinearOp>(op);
    Location loc = op->getLoc();
    auto identity = [](Type tensor) {
      auto type = cast<RankedTensorType>(tensor);
      return MemRefType::get(type.getShape(), type.getElementType());
    };
    auto sizes = [&](Value buffer, MemRefType type) {
      SmallVector<Value> dynamic;
      for (auto [i, size] : llvm::enumerate(type.getShape()))
        if (ShapedType::isDynamic(size))
          dynamic.push_back(memref::DimOp::create(rewriter, loc, buffer, i));
      return dynamic;
    };
    SmallVector<Value> arguments = {
        arith::ConstantOp::create(rewriter, loc, linear.getIdAttr())};
    for (Value operand : op->getOperands()) {
      FailureOr<Value> buffer = getBuffer(rewriter, operand, options, state);
      if (failed(buffer))
        return failure();
      MemRefType type = identity(operand.getType());
      if (buffer->getType() != type) {
        // The host takes rows without gaps.
        Value packed =
            memref::AllocOp::create(rewriter, loc, type, sizes(*buffer, type));
        memref::CopyOp::create(rewriter, loc, *buffer, packed);
        buffer = packed;
      }
      arguments.push_back(*buffer);
    }
    MemRefType resultType = identity(linear.getResult().getType());
    Value y = memref::AllocOp::create(rewriter, loc, resultType,
                                      sizes(arguments[1], resultType));
    arguments.push_back(y);
    func::CallOp::create(rewriter, loc,
                         op->getAttrOfType<FlatSymbolRefAttr>(kCalleeAttr),
                         TypeRange(), arguments);
    replaceOpWithBufferizedValues(rewriter, op, y);
    return success();
  }
};
} // namespace

void execution::registerHostLinearInterface(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, lowbit::LowBitDialect *,
                            BufferizationDialect *) {
    lowbit::HostLinearOp::attachInterface<HostLinearInterface>(*context);
  });
}

LogicalResult execution::bufferize(Compilation &compilation) {
  HostLinearCalls calls(compilation.module);
  compilation.entry.walk([&](lowbit::HostLinearOp op) {
    op->setAttr(kCalleeAttr, calls.getCallee(op));
  });
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
  return cleanUp(compilation.module);
}
