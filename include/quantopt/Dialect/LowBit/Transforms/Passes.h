//===- Passes.h - Passes of the lowbit dialect ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_H
#define QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Dialect/LowBit/Transforms/OptionText.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace quantopt::lowbit {

#define GEN_PASS_DECL
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_H
