//===- KernelParts.cpp - What kernels are made of -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelParts.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

Value execution::addSharedMemory(gpu::GPUFuncOp kernel, Location loc,
                                 ArrayRef<int64_t> shape, Type element) {
  Builder builder(kernel.getContext());
  auto space = gpu::AddressSpaceAttr::get(kernel.getContext(),
                                          gpu::AddressSpace::Workgroup);
  auto type =
      MemRefType::get(shape, element, MemRefLayoutAttrInterface(), space);
  Value buffer = kernel.addWorkgroupAttribution(type, loc);
  // LLVM raises accesses to what the alignment allows, and a kernel's own
  // vector accesses need it.
  kernel.setworkgroupAttributionAttrs(
      kernel.getNumWorkgroupAttributions() - 1,
      builder.getDictionaryAttr(
          builder.getNamedAttr(LLVM::LLVMDialect::getAlignAttrName(),
                               builder.getI64IntegerAttr(16))));
  return buffer;
}

SmallVector<Value> execution::delinearize(OpBuilder &builder, Location loc,
                                          Value linear,
                                          ArrayRef<int64_t> sizes) {
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(builder, loc, value);
  };
  SmallVector<Value> position(sizes.size());
  for (size_t i = sizes.size(); i-- > 1;) {
    if (sizes[i] == 1) {
      position[i] = constant(0);
      continue;
    }
    Value size = constant(sizes[i]);
    position[i] = arith::RemUIOp::create(builder, loc, linear, size);
    linear = arith::DivUIOp::create(builder, loc, linear, size);
  }
  if (!sizes.empty())
    position[0] = linear;
  return position;
}

// The hardware moves 32 bits at a time.
Value execution::shuffleXor(OpBuilder &builder, Location loc, Value value,
                            int64_t distance) {
  Type type = value.getType();
  Type i32 = builder.getI32Type();
  auto move = [&](Value word) -> Value {
    return gpu::ShuffleOp::create(builder, loc, word, int32_t(distance),
                                  int32_t(warpSize), gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  Type bits = type;
  if (type.isIndex()) {
    bits = builder.getI64Type();
    value = arith::IndexCastOp::create(builder, loc, bits, value);
  } else if (isa<FloatType>(type)) {
    bits = builder.getIntegerType(type.getIntOrFloatBitWidth());
    value = arith::BitcastOp::create(builder, loc, bits, value);
  }
  unsigned width = bits.getIntOrFloatBitWidth();
  if (width < 32) {
    value = move(arith::ExtUIOp::create(builder, loc, i32, value));
    value = arith::TruncIOp::create(builder, loc, bits, value);
  } else if (width == 32) {
    value = move(value);
  } else {
    Value half = arith::ConstantIntOp::create(builder, loc, 32, 64);
    Value low = arith::TruncIOp::create(builder, loc, i32, value);
    Value high = arith::TruncIOp::create(
        builder, loc, i32, arith::ShRUIOp::create(builder, loc, value, half));
    low = arith::ExtUIOp::create(builder, loc, bits, move(low));
    high = arith::ExtUIOp::create(builder, loc, bits, move(high));
    high = arith::ShLIOp::create(builder, loc, high, half);
    value = arith::OrIOp::create(builder, loc, low, high);
  }
  if (type.isIndex())
    return arith::IndexCastOp::create(builder, loc, type, value);
  if (isa<FloatType>(type))
    return arith::BitcastOp::create(builder, loc, type, value);
  return value;
}
