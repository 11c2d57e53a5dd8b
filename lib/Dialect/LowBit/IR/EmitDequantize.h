//===- EmitDequantize.h - What codes mean, as upstream IR -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_IR_EMITDEQUANTIZE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_IR_EMITDEQUANTIZE_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

namespace quantopt::lowbit {

/// What SchemeInterface::emitDequantize is for schemes of the library.
mlir::Value emitDequantize(mlir::OpBuilder &builder, mlir::Location loc,
                           const Scheme &scheme, int64_t n, int64_t k,
                           mlir::ValueRange planes, Layout layout,
                           mlir::Value rows, mlir::RankedTensorType type);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_IR_EMITDEQUANTIZE_H
