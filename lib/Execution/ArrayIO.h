//===- ArrayIO.h - Arrays of a tensor type, made and printed ----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_ARRAYIO_H
#define QUANTOPT_LIB_EXECUTION_ARRAYIO_H

#include "quantopt/Formats/HostArray.h"

#include "mlir/IR/BuiltinTypes.h"

#include <random>

namespace quantopt::execution {

/// How an array's element type is spelled in MLIR; arrays do not say more.
bool elementMatches(mlir::Type element, DType dtype);

/// The type of an array of such elements, if there is one.
std::optional<DType> dtypeOf(mlir::Type element);

/// The elements as 64-bit integers; empty if the array holds something else.
std::vector<int64_t> readIntegers(const HostArray &array);

/// An array that `type`, of static shape, allows: floats like a normal
/// distribution's, integers from 0 to 15. The same for the same seed
/// everywhere.
HostArray makeUp(mlir::RankedTensorType type, std::mt19937 &random);

/// Shape, type and the first 64 elements on one line.
void printArray(const HostArray &array, llvm::raw_ostream &os);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_ARRAYIO_H
