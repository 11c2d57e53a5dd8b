//===- LowBit.h - The lowbit dialect ----------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_LOWBIT_H
#define QUANTOPT_DIALECT_LOWBIT_IR_LOWBIT_H

#include "quantopt/Packing/PackedMatrix.h"

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/Hashing.h"

namespace quantopt {

/// Lets a Scheme be a parameter of an attribute.
llvm::hash_code hash_value(const Scheme &scheme);

/// The MLIR type of `kind`, and back (nullopt for any other type).
mlir::FloatType getFloatType(mlir::MLIRContext *context, FloatKind kind);
std::optional<FloatKind> getFloatKind(mlir::Type type);

namespace lowbit {

class PlaneMemory;

/// One buffer of a quantized weight.
struct Plane {
  llvm::StringRef name;
  mlir::RankedTensorType type;
};

/// Names of the discardable attributes (see the dialect's description).
inline constexpr llvm::StringLiteral kCalibrationAttr = "lowbit.calibration";
inline constexpr llvm::StringLiteral kParameterAttr = "lowbit.parameter";
inline constexpr llvm::StringLiteral kAliasesAttr = "lowbit.aliases";
inline constexpr llvm::StringLiteral kRefusedAttr = "lowbit.refused";

} // namespace lowbit
} // namespace quantopt

#include "quantopt/Dialect/LowBit/IR/LowBitDialect.h.inc"
#include "quantopt/Dialect/LowBit/IR/LowBitInterfaces.h.inc"

#define GET_ATTRDEF_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitAttrs.h.inc"
#define GET_TYPEDEF_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitTypes.h.inc"
#define GET_OP_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitOps.h.inc"

namespace quantopt::lowbit {

/// The attribute that says `scheme`: #lowbit.affine or #lowbit.codebook.
SchemeInterface getSchemeAttr(mlir::MLIRContext *context, const Scheme &scheme);

/// The attribute that says `layout`; null for Dense.
LayoutAttr getLayoutAttr(mlir::MLIRContext *context, Layout layout);

/// The MLIR type of a plane of scales of `kind`.
mlir::Type getScaleType(mlir::MLIRContext *context, ScaleKind kind);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOWBIT_H
