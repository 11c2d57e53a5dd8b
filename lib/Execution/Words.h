//===- Words.h - Arguments of the runtime ----------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_WORDS_H
#define QUANTOPT_LIB_EXECUTION_WORDS_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/BuiltinOps.h"

namespace quantopt::execution {

/// Builds 64-bit integers, which is what the runtime's functions take.
class Words {
public:
  Words(mlir::OpBuilder &builder, mlir::Location loc)
      : builder(builder), loc(loc) {}

  mlir::Value constant(int64_t value) {
    return mlir::arith::ConstantIntOp::create(builder, loc, value, 64);
  }
  mlir::Value fromIndex(mlir::Value index) {
    return mlir::arith::IndexCastOp::create(builder, loc, builder.getI64Type(),
                                            index);
  }
  mlir::Value from(mlir::OpFoldResult value) {
    if (auto attr = llvm::dyn_cast<mlir::Attribute>(value))
      return constant(llvm::cast<mlir::IntegerAttr>(attr).getInt());
    return fromIndex(llvm::cast<mlir::Value>(value));
  }
  /// The pointer of a buffer, from which its offset counts.
  mlir::Value base(mlir::Value buffer) {
    return fromIndex(mlir::memref::ExtractAlignedPointerAsIndexOp::create(
        builder, loc, buffer));
  }
  /// Address of the first element.
  mlir::Value address(mlir::Value buffer) {
    auto type = llvm::cast<mlir::MemRefType>(buffer.getType());
    mlir::Value start = base(buffer);
    auto metadata =
        mlir::memref::ExtractStridedMetadataOp::create(builder, loc, buffer);
    mlir::Value bytes =
        constant(llvm::divideCeil(type.getElementTypeBitWidth(), 8));
    mlir::Value offset = mlir::arith::MulIOp::create(
        builder, loc, from(metadata.getConstifiedMixedOffset()), bytes);
    return mlir::arith::AddIOp::create(builder, loc, start, offset);
  }
  /// Calls function `name` of the runtime, which returns an i64 if
  /// `hasResult`.
  mlir::func::CallOp call(mlir::ModuleOp module, llvm::StringRef name,
                          mlir::ValueRange arguments, bool hasResult = false) {
    llvm::SmallVector<mlir::Type, 1> results;
    if (hasResult)
      results.push_back(builder.getI64Type());
    if (!module.lookupSymbol(name)) {
      mlir::OpBuilder top(module.getBodyRegion());
      auto function = mlir::func::FuncOp::create(
          top, loc, name, top.getFunctionType(arguments.getTypes(), results));
      function.setPrivate();
    }
    return mlir::func::CallOp::create(builder, loc, name, results, arguments);
  }

private:
  mlir::OpBuilder &builder;
  mlir::Location loc;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_WORDS_H
