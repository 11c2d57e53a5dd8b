//===- LowBitToGpu.cpp - Linears become launches of kernels ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/GPU/Passes.h"
#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/Routing.h"
#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::kernels {
#define GEN_PASS_DEF_LOWBITTOGPU
#include "quantopt/Codegen/GPU/Passes.h.inc"
} // namespace quantopt::kernels

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;

static std::optional<Scheme> schemeOf(Attribute attr) {
  if (auto affine = dyn_cast<lowbit::AffineAttr>(attr))
    return affine.getScheme();
  if (auto codebook = dyn_cast<lowbit::CodebookAttr>(attr))
    return codebook.getScheme();
  return std::nullopt;
}

/// The constant with another shape, without a copy.
static Attribute reshaped(ElementsAttr attr, RankedTensorType type) {
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr))
    return DenseResourceElementsAttr::get(type, resource.getRawHandle());
  return cast<DenseElementsAttr>(attr).reshape(type);
}

namespace {
class Lowering {
public:
  Lowering(ModuleOp module, const Chip &chip, std::optional<FloatKind> compute)
      : module(module), chip(chip), compute(compute) {}

  LogicalResult lower(lowbit::LinearOp linear);

private:
  LogicalResult describe(lowbit::LinearOp linear, LinearProblem &problem);
  Value buffer(OpBuilder &builder, lowbit::LinearOp linear, Operand operand,
               const LinearProblem &problem);
  mlir::gpu::GPUModuleOp kernels();

  ModuleOp module;
  Chip chip;
  std::optional<FloatKind> compute;
  /// Weights that several linears share are constants once.
  DenseMap<std::pair<Operation *, unsigned>, Value> planes;
};
} // namespace

mlir::gpu::GPUModuleOp Lowering::kernels() {
  if (auto found = module.lookupSymbol<mlir::gpu::GPUModuleOp>(kKernelsModule))
    return found;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  module->setAttr(mlir::gpu::GPUDialect::getContainerModuleAttrName(),
                  builder.getUnitAttr());
  return mlir::gpu::GPUModuleOp::create(
      builder, module.getLoc(), kKernelsModule,
      ArrayRef<Attribute>{targetAttr(module.getContext(), chip)});
}

LogicalResult Lowering::describe(lowbit::LinearOp linear,
                                 LinearProblem &problem) {
  auto error = [&] {
    return linear.emitError("layer '")
           << linear.getName() << "' has no GPU kernel: ";
  };
  RankedTensorType x = linear.getInput().getType();
  if (!x.hasStaticShape())
    return error() << "its input is " << x
                   << ", but kernels are made for a known number of rows - "
                      "give the model's inputs static shapes";
  auto type = cast<lowbit::WeightType>(linear.getWeight().getType());
  std::optional<Scheme> scheme = schemeOf(type.getScheme());
  if (!scheme)
    return error() << "its scheme is " << type.getScheme();
  problem.scheme = *scheme;
  problem.n = type.getN();
  problem.k = type.getK();
  problem.m = x.getNumElements() / std::max<int64_t>(problem.k, 1);
  problem.x = *getFloatKind(x.getElementType());
  problem.y = *getFloatKind(linear.getResult().getType().getElementType());
  if (compute)
    problem.compute = *compute;
  else
    problem.compute = problem.x == FloatKind::F32 ? FloatKind::BF16 : problem.x;
  problem.chip = chip;
  if (std::string message = verify(problem); !message.empty())
    return error() << message;
  return success();
}

Value Lowering::buffer(OpBuilder &builder, lowbit::LinearOp linear,
                       Operand operand, const LinearProblem &problem) {
  Location loc = linear.getLoc();
  MemRefType type = operandType(builder.getContext(), problem, operand);
  auto tensorType =
      RankedTensorType::get(type.getShape(), type.getElementType());
  switch (operand) {
  case Operand::Codes:
  case Operand::Scales:
  case Operand::Offsets: {
    // The planes are in this order.
    auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
    unsigned index = static_cast<unsigned>(operand);
    Value &plane = planes[{weight, index}];
    if (!plane) {
      OpBuilder::InsertionGuard guard(builder);
      builder.setInsertionPoint(weight);
      Attribute value = reshaped(weight.getPlaneAttrs()[index], tensorType);
      plane = arith::ConstantOp::create(builder, loc, cast<TypedAttr>(value));
    }
    return bufferization::ToBufferOp::create(builder, loc, type, plane,
                                             /*read_only=*/true);
  }
  case Operand::X: {
    Value x = linear.getInput();
    int64_t rank = linear.getInput().getType().getRank();
    if (rank == 1) {
      SmallVector<ReassociationIndices> all = {{0, 1}};
      x = tensor::ExpandShapeOp::create(builder, loc, tensorType, x, all);
    } else if (rank > 2) {
      SmallVector<ReassociationIndices> groups = {
          llvm::to_vector(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
      x = tensor::CollapseShapeOp::create(builder, loc, tensorType, x, groups);
    }
    return bufferization::ToBufferOp::create(builder, loc, type, x,
                                             /*read_only=*/true);
  }
  case Operand::Arrivals: {
    Value counters = memref::AllocOp::create(builder, loc, type);
    Value zero =
        arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(0));
    mlir::gpu::MemsetOp::create(builder, loc, /*asyncToken=*/Type(),
                                ValueRange(), counters, zero);
    return counters;
  }
  case Operand::Y:
  case Operand::Arranged:
  case Operand::Partials:
    return memref::AllocOp::create(builder, loc, type);
  }
  llvm_unreachable("an operand of a kernel");
}

LogicalResult Lowering::lower(lowbit::LinearOp linear) {
  auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
  if (!weight)
    return linear.emitError("layer '")
           << linear.getName()
           << "' has a quantized weight that is not a lowbit.weight";
  LinearProblem problem;
  if (failed(lowbit::convertLayout(weight, Layout::Nvptx)) ||
      failed(describe(linear, problem)))
    return failure();
  for (ElementsAttr plane : weight.getPlaneAttrs())
    if (failed(lowbit::getRawBytes(plane, [&] {
          return linear.emitError("weight of layer '")
                 << linear.getName() << "': ";
        })))
      return failure();

  OpBuilder builder(linear);
  Location loc = linear.getLoc();
  LinearPlan plan = emitLinear(kernels(), problem);
  std::map<Operand, Value> buffers;
  auto index = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(builder, loc, value);
  };
  auto dim = [&](const Dim3 &size) {
    return mlir::gpu::KernelDim3{index(size.x), index(size.y), index(size.z)};
  };
  for (const KernelLaunch &launch : plan) {
    SmallVector<Value> arguments;
    for (Operand operand : launch.operands) {
      Value &value = buffers[operand];
      if (!value)
        value = buffer(builder, linear, operand, problem);
      arguments.push_back(value);
    }
    Value sharedBytes;
    if (launch.sharedBytes)
      sharedBytes = arith::ConstantOp::create(
          builder, loc, builder.getI32IntegerAttr(launch.sharedBytes));
    auto symbol = SymbolRefAttr::get(
        builder.getContext(), kKernelsModule,
        {FlatSymbolRefAttr::get(builder.getContext(), launch.kernel)});
    mlir::gpu::LaunchFuncOp::create(builder, loc, symbol, dim(launch.grid),
                                    dim(launch.block), sharedBytes, arguments);
  }
  MemRefType type = operandType(builder.getContext(), problem, Operand::Y);
  Value y = bufferization::ToTensorOp::create(
      builder, loc,
      RankedTensorType::get(type.getShape(), type.getElementType()),
      buffers[Operand::Y], /*restrict=*/true, /*writable=*/true);
  RankedTensorType resultType = linear.getResult().getType();
  int64_t rank = resultType.getRank();
  if (rank == 1) {
    SmallVector<ReassociationIndices> all = {{0, 1}};
    y = tensor::CollapseShapeOp::create(builder, loc, resultType, y, all);
  } else if (rank > 2) {
    SmallVector<ReassociationIndices> groups = {
        llvm::to_vector(llvm::seq<int64_t>(0, rank - 1)), {rank - 1}};
    y = tensor::ExpandShapeOp::create(builder, loc, resultType, y, groups);
  }
  if (linear.isRouted())
    y = lowbit::selectRoutedRows(builder, linear, y);
  linear.getResult().replaceAllUsesWith(y);
  linear.erase();
  return success();
}

LogicalResult kernels::lowerLinears(ModuleOp module, const Chip &chip,
                                    std::optional<FloatKind> compute) {
  SmallVector<lowbit::LinearOp> linears;
  module.walk([&](lowbit::LinearOp op) {
    if (op.isQuantized())
      linears.push_back(op);
  });
  Lowering lowering(module, chip, compute);
  for (lowbit::LinearOp linear : linears)
    if (failed(lowering.lower(linear)))
      return failure();
  SmallVector<lowbit::WeightOp> unused;
  module.walk([&](lowbit::WeightOp op) {
    if (op->use_empty())
      unused.push_back(op);
  });
  for (lowbit::WeightOp op : unused)
    op.erase();
  return success();
}

namespace {
struct LowBitToGpuPass
    : public quantopt::kernels::impl::LowBitToGpuBase<LowBitToGpuPass> {
  using LowBitToGpuBase::LowBitToGpuBase;

  void getDependentDialects(DialectRegistry &registry) const override {
    LowBitToGpuBase::getDependentDialects(registry);
    registerSerialization(registry);
  }

  void runOnOperation() override {
    std::optional<Chip> target = parseChip(chip.getValue());
    if (!target) {
      getOperation().emitError("lowbit-to-gpu knows no chip '")
          << chip << "' - give chip=sm_80, sm_89, sm_90a, sm_100a or sm_120";
      return signalPassFailure();
    }
    std::optional<FloatKind> kind;
    if (compute == "f16")
      kind = FloatKind::F16;
    else if (compute == "bf16")
      kind = FloatKind::BF16;
    else if (compute != "auto") {
      getOperation().emitError("lowbit-to-gpu cannot multiply in '")
          << compute << "' - give compute=auto, f16 or bf16";
      return signalPassFailure();
    }
    if (failed(lowerLinears(getOperation(), *target, kind)))
      signalPassFailure();
  }
};
} // namespace
