//===- LowBitToGpu.cpp - Linears become launches of kernels ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Codegen/Common/LinearOperands.h"
#include "quantopt/Codegen/GPU/Passes.h"
#include "quantopt/Codegen/GPU/Serialize.h"
#include "quantopt/Dialect/LowBit/IR/BlobData.h"
#include "quantopt/Dialect/LowBit/IR/Lookup.h"
#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <map>

namespace quantopt::kernels {
#define GEN_PASS_DEF_LOWBITTOGPU
#include "quantopt/Codegen/GPU/Passes.h.inc"
} // namespace quantopt::kernels

using namespace mlir;
using namespace quantopt;
using namespace quantopt::codegen;
using namespace quantopt::kernels;

namespace {
/// One linear, or the experts of a layer in the order of their chain.
using Layer = SmallVector<lowbit::LinearOp, 1>;

class Lowering {
public:
  Lowering(ModuleOp module, const Chip &chip, std::optional<FloatKind> compute)
      : module(module), chip(chip), compute(compute) {}

  LogicalResult lower(const Layer &layer);

private:
  LogicalResult pack(lowbit::LinearOp linear);
  LogicalResult describe(const Layer &layer, LinearProblem &problem);
  Value plane(OpBuilder &builder, const Layer &layer, unsigned index,
              RankedTensorType type);
  Value buffer(OpBuilder &builder, const Layer &layer, Operand operand,
               const LinearProblem &problem);
  mlir::gpu::GPUModuleOp kernels();

  ModuleOp module;
  Chip chip;
  std::optional<FloatKind> compute;
  /// Weights that several linears share are constants once.
  DenseMap<std::pair<Operation *, unsigned>, Value> planes;
  /// Linears that read one input in one order have it arranged once: the kernel
  /// that does it, the input, and the block that both are in.
  std::map<std::tuple<std::string, void *, Block *>, Value> arranged;
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

LogicalResult Lowering::pack(lowbit::LinearOp linear) {
  auto weight = linear.getWeight().getDefiningOp<lowbit::WeightOp>();
  if (!weight)
    return linear.emitError("layer '")
           << linear.getName()
           << "' has a quantized weight that is not a lowbit.weight";
  if (failed(lowbit::convertLayout(weight, Layout::Nvptx)))
    return failure();
  return failure(failed(weight.getPlaneData()));
}

LogicalResult Lowering::describe(const Layer &layer, LinearProblem &problem) {
  lowbit::LinearOp linear = layer.front();
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
  problem.experts = linear.isRouted() ? layer.size() : 0;
  if (std::string message = verify(problem); !message.empty())
    return error() << message;
  return success();
}

/// A plane as a constant; those of experts one after the other.
Value Lowering::plane(OpBuilder &builder, const Layer &layer, unsigned index,
                      RankedTensorType type) {
  auto weightOf = [](lowbit::LinearOp linear) {
    return linear.getWeight().getDefiningOp<lowbit::WeightOp>();
  };
  Value &constant = planes[{weightOf(layer.front()), index}];
  if (constant && layer.size() == 1)
    return constant;
  lowbit::LinearOp first = layer.front();
  Attribute value;
  if (layer.size() == 1) {
    value = reshaped(weightOf(layer.front()).getPlaneAttrs()[index], type);
  } else {
    std::vector<char> all;
    for (lowbit::LinearOp linear : layer)
      llvm::append_range(all, (*weightOf(linear).getPlaneData())[index]);
    value =
        lowbit::createResource(type, (first.getName() + ".experts").str(), all);
  }
  OpBuilder::InsertionGuard guard(builder);
  if (layer.size() == 1)
    builder.setInsertionPoint(weightOf(layer.front()));
  Value result = arith::ConstantOp::create(builder, first.getLoc(),
                                           cast<TypedAttr>(value));
  if (layer.size() == 1)
    constant = result;
  return result;
}

Value Lowering::buffer(OpBuilder &builder, const Layer &layer, Operand operand,
                       const LinearProblem &problem) {
  lowbit::LinearOp linear = layer.front();
  Location loc = linear.getLoc();
  MemRefType type = operandType(builder.getContext(), problem, operand);
  auto tensorType =
      RankedTensorType::get(type.getShape(), type.getElementType());
  auto readOnly = [&](Value tensor) -> Value {
    return bufferization::ToBufferOp::create(builder, loc, type, tensor,
                                             /*read_only=*/true);
  };
  switch (operand) {
  case Operand::Codes:
  case Operand::Scales:
  case Operand::Offsets:
    // The planes are in this order.
    return readOnly(
        plane(builder, layer, static_cast<unsigned>(operand), tensorType));
  case Operand::X:
    return readOnly(flatten(builder, linear.getInput(), 2));
  case Operand::Routing:
    return readOnly(flatten(builder, linear.getRouting(), 1));
  case Operand::Experts: {
    SmallVector<int64_t> numbers;
    for (lowbit::LinearOp expert : layer)
      numbers.push_back(*expert.getExpert());
    return readOnly(arith::ConstantOp::create(
        builder, loc, DenseElementsAttr::get(tensorType, ArrayRef(numbers))));
  }
  case Operand::Y:
    if (linear.isRouted()) {
      // Rows of no expert stay as they are.
      Value start = flatten(builder, linear.getOthers(), 2);
      Value copy = bufferization::AllocTensorOp::create(
          builder, loc, tensorType, ValueRange(), start);
      return bufferization::ToBufferOp::create(builder, loc, type, copy);
    }
    return memref::AllocOp::create(builder, loc, type);
  case Operand::Arrivals: {
    Value counters = memref::AllocOp::create(builder, loc, type);
    Value zero =
        arith::ConstantOp::create(builder, loc, builder.getI32IntegerAttr(0));
    mlir::gpu::MemsetOp::create(builder, loc, /*asyncToken=*/Type(),
                                ValueRange(), counters, zero);
    return counters;
  }
  case Operand::Arranged:
  case Operand::Dense:
  case Operand::Partials:
  case Operand::Groups:
    return memref::AllocOp::create(builder, loc, type);
  }
  llvm_unreachable("an operand of a kernel");
}

LogicalResult Lowering::lower(const Layer &layer) {
  for (lowbit::LinearOp linear : layer)
    if (failed(pack(linear)))
      return failure();
  LinearProblem problem;
  if (failed(describe(layer, problem)))
    return failure();

  lowbit::LinearOp last = layer.back();
  OpBuilder builder(last);
  Location loc = last.getLoc();
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
    Value *result = nullptr;
    if (launch.operands.back() == Operand::Arranged) {
      result = &arranged[{launch.kernel, last.getInput().getAsOpaquePointer(),
                          last->getBlock()}];
      if (*result) {
        buffers[Operand::Arranged] = *result;
        continue;
      }
    }
    for (Operand operand : launch.operands) {
      Value &value = buffers[operand];
      if (!value)
        value = buffer(builder, layer, operand, problem);
      arguments.push_back(value);
    }
    if (result)
      *result = arguments.back();
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
  last.getResult().replaceAllUsesWith(
      unflatten(builder, y, last.getResult().getType(), last.getInput()));
  for (lowbit::LinearOp linear : llvm::reverse(layer))
    linear.erase();
  return success();
}

/// All quantized linears in the order of the graph, experts together.
static SmallVector<Layer> collectLayers(ModuleOp module) {
  SmallVector<Layer> layers;
  DenseMap<Operation *, size_t> layerOf;
  module.walk([&](lowbit::LinearOp linear) {
    if (!linear.isQuantized())
      return;
    lowbit::LinearOp before;
    if (linear.isRouted())
      before = linear.getOthers().getDefiningOp<lowbit::LinearOp>();
    auto it = before ? layerOf.find(before) : layerOf.end();
    size_t index = layers.size();
    if (it != layerOf.end() && continuesChain(before, linear)) {
      index = it->second;
      layers[index].push_back(linear);
    } else {
      layers.push_back({linear});
    }
    layerOf[linear] = index;
  });
  return layers;
}

LogicalResult kernels::lowerLinears(ModuleOp module, const Chip &chip,
                                    std::optional<FloatKind> compute) {
  Lowering lowering(module, chip, compute);
  for (const Layer &layer : collectLayers(module))
    if (failed(lowering.lower(layer)))
      return failure();
  eraseUnusedWeights(module);
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
    if (failed(lowerLinears(getOperation(), *target, kind)) ||
        failed(lowbit::lowerLookups(getOperation())))
      return signalPassFailure();
    eraseUnusedWeights(getOperation());
  }
};
} // namespace
