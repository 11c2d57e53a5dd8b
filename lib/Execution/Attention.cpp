//===- Attention.cpp - Each attention becomes a call of a kernel ----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Attention.h"
#include "Stages.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

static MemRefType bufferType(RankedTensorType type) {
  return MemRefType::get(type.getShape(), type.getElementType());
}

void execution::formAttention(Compilation &compilation) {
  SmallVector<linalg::GenericOp> products;
  compilation.entry.walk([&](linalg::GenericOp op) {
    if (isContraction(op))
      products.push_back(op);
  });
  llvm::StringMap<func::FuncOp> kernels;
  // Processors with AMX multiply pairs of bf16 in vectors at half the rate of
  // f32.
  bool bf16Products = compilation.cpu.bf16 &&
                      compilation.cpu.isa != cpu::Isa::Amx &&
                      compilation.products.compute != cpu::Compute::F32;
  OpBuilder top(compilation.module.getBodyRegion());
  for (linalg::GenericOp product : products) {
    std::optional<Attention> attention = matchAttention(product);
    if (!attention)
      continue;
    func::FuncOp kernel = emitAttention(top, *attention, bf16Products);
    std::string text;
    llvm::raw_string_ostream os(text);
    kernel->print(os, OpPrintingFlags().useLocalScope().assumeVerified());
    func::FuncOp &shared = kernels[text];
    if (shared) {
      kernel.erase();
    } else {
      shared = kernel;
      kernel.setName("attention_" + std::to_string(kernels.size() - 1));
      ++compilation.numKernels;
    }
    ++compilation.numKernelCalls;
    // The kernel is on buffers already; all it reads is there before.
    OpBuilder builder(product);
    Location loc = product.getLoc();
    SmallVector<Value> arguments;
    auto add = [&](const AttentionOperand &operand) {
      arguments.push_back(bufferization::ToBufferOp::create(
          builder, loc, bufferType(operand.type()), operand.tensor,
          /*read_only=*/true));
    };
    add(attention->q);
    add(attention->k);
    add(attention->v);
    llvm::for_each(attention->others, add);
    RankedTensorType type = attention->out.type();
    Value out = memref::AllocOp::create(builder, loc, bufferType(type));
    arguments.push_back(out);
    func::CallOp::create(builder, loc, shared, arguments);
    Value result = bufferization::ToTensorOp::create(
        builder, loc, type, out, /*restrict=*/true, /*writable=*/true);
    product->getResult(0).replaceAllUsesWith(result);
    product.erase(); // the rest of it is dead now
  }
}
