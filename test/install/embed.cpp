//===- embed.cpp - A compiler that quantizes with quant-opt's passes ------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

using namespace quantopt;

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  registry.insert<lowbit::LowBitDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::linalg::LinalgDialect,
                  mlir::tensor::TensorDialect>();
  mlir::MLIRContext context(registry);
  auto module = mlir::parseSourceFile<mlir::ModuleOp>(argv[1], &context);
  if (!module)
    return 1;

  lowbit::RtnQuantizeOptions options;
  options.bits = 8;
  options.groupSize = "channel";
  options.progress = "none";
  mlir::PassManager passes(&context);
  passes.addPass(lowbit::createRtnQuantize(options));
  passes.addPass(lowbit::createLowBitToLinalg());
  if (failed(passes.run(*module)))
    return 1;
  module->print(llvm::outs());
  return 0;
}
