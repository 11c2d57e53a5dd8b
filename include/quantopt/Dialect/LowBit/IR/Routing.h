//===- Routing.h - Routed linears in upstream dialects ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_ROUTING_H
#define QUANTOPT_DIALECT_LOWBIT_IR_ROUTING_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

namespace quantopt::lowbit {

/// The result of `linear`, which is routed, where `product` is that of the same
/// linear without a routing: its rows of the expert, the others' else. Both are
/// [..., N] of one type.
mlir::Value selectRoutedRows(mlir::OpBuilder &builder, LinearOp linear,
                             mlir::Value product);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_ROUTING_H
