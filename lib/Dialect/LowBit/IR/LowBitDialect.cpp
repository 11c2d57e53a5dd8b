//===- LowBitDialect.cpp - Dialect and types ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ConvertedPlanes.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
#include "quantopt/Dialect/LowBit/IR/PlaneMemory.h"

#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

#include "quantopt/Dialect/LowBit/IR/LowBitDialect.cpp.inc"
#include "quantopt/Dialect/LowBit/IR/LowBitInterfaces.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitAttrs.cpp.inc"
#define GET_TYPEDEF_CLASSES
#include "quantopt/Dialect/LowBit/IR/LowBitTypes.cpp.inc"

FloatType quantopt::getFloatType(MLIRContext *context, FloatKind kind) {
  switch (kind) {
  case FloatKind::F16:
    return Float16Type::get(context);
  case FloatKind::BF16:
    return BFloat16Type::get(context);
  case FloatKind::F32:
    return Float32Type::get(context);
  }
  llvm_unreachable("all kinds handled");
}

std::optional<FloatKind> quantopt::getFloatKind(Type type) {
  return llvm::TypeSwitch<Type, std::optional<FloatKind>>(type)
      .Case<Float16Type>([](auto) { return FloatKind::F16; })
      .Case<BFloat16Type>([](auto) { return FloatKind::BF16; })
      .Case<Float32Type>([](auto) { return FloatKind::F32; })
      .Default([](Type) { return std::nullopt; });
}

void LowBitDialect::initialize() {
  planeMemory = std::make_shared<PlaneMemory>();
  addAttributes<
#define GET_ATTRDEF_LIST
#include "quantopt/Dialect/LowBit/IR/LowBitAttrs.cpp.inc"
      >();
  addTypes<
#define GET_TYPEDEF_LIST
#include "quantopt/Dialect/LowBit/IR/LowBitTypes.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "quantopt/Dialect/LowBit/IR/LowBitOps.cpp.inc"
      >();
  addInterfaces<ConvertedPlanes>();
}

//===----------------------------------------------------------------------===//
// !lowbit.weight
//===----------------------------------------------------------------------===//

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t, 2> shape;
  Type elementType;
  SchemeInterface scheme;
  LayoutAttr layout;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parser.parseDimensionList(shape, /*allowDynamic=*/false) ||
      parser.parseType(elementType) || parser.parseComma() ||
      parser.parseAttribute(scheme))
    return {};
  if (succeeded(parser.parseOptionalComma()) && parser.parseAttribute(layout))
    return {};
  if (parser.parseGreater())
    return {};
  if (shape.size() != 2) {
    parser.emitError(loc, "a weight is [N, K], but ")
        << shape.size() << " dimensions were given";
    return {};
  }
  return parser.getChecked<WeightType>(loc, parser.getContext(), shape[0],
                                       shape[1], elementType, scheme, layout);
}

void WeightType::print(AsmPrinter &printer) const {
  printer << "<" << getN() << "x" << getK() << "x" << getElementType() << ", "
          << getScheme();
  if (getLayout())
    printer << ", " << getLayout();
  printer << ">";
}

LogicalResult WeightType::verify(function_ref<InFlightDiagnostic()> emitError,
                                 int64_t n, int64_t k, Type elementType,
                                 SchemeInterface scheme, LayoutAttr layout) {
  if (n < 1 || k < 1)
    return emitError() << "a weight is at least 1x1, not " << n << "x" << k;
  if (!getFloatKind(elementType))
    return emitError() << "the element type of a weight is f32, f16 or bf16, "
                          "not "
                       << elementType;
  if (layout && scheme.getSchemeIn(n, k, layout.getLayout()) != scheme)
    return emitError() << "the layout '" << layoutName(layout.getLayout())
                       << "' takes scales of f16, bf16 or f32 per group or "
                          "channel, so it does not hold "
                       << scheme;
  return success();
}
