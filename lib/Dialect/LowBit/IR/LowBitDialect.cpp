//===- LowBitDialect.cpp - Dialect, types and the affine scheme -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/DialectImplementation.h"
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

llvm::hash_code quantopt::hash_value(const Scheme &scheme) {
  return llvm::hash_combine(scheme.bits, scheme.granularity, scheme.groupSize,
                            scheme.zero, scheme.scaleType);
}

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
}

//===----------------------------------------------------------------------===//
// !lowbit.weight
//===----------------------------------------------------------------------===//

Type WeightType::parse(AsmParser &parser) {
  SmallVector<int64_t, 2> shape;
  Type elementType;
  SchemeInterface scheme;
  Attribute layout;
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
                                 SchemeInterface scheme, Attribute layout) {
  if (n < 1 || k < 1)
    return emitError() << "a weight is at least 1x1, not " << n << "x" << k;
  if (!getFloatKind(elementType))
    return emitError() << "the element type of a weight is f32, f16 or bf16, "
                          "not "
                       << elementType;
  return success();
}

//===----------------------------------------------------------------------===//
// #lowbit.affine: syntax
//===----------------------------------------------------------------------===//

static StringRef zeroKeyword(ZeroKind zero) {
  switch (zero) {
  case ZeroKind::Symmetric:
    return "symmetric";
  case ZeroKind::Integer:
    return "integer_zero";
  case ZeroKind::Minimum:
    return "float_minimum";
  }
  llvm_unreachable("all kinds handled");
}

static ParseResult parseEqualInteger(AsmParser &parser, int64_t &value) {
  return failure(parser.parseEqual() || parser.parseInteger(value));
}

Attribute AffineAttr::parse(AsmParser &parser, Type) {
  Scheme scheme;
  SMLoc loc = parser.getCurrentLocation();
  int64_t bits = 0;
  StringRef granularity, zero;
  Type scaleType;
  if (parser.parseLess() || parser.parseKeyword("bits") ||
      parseEqualInteger(parser, bits) || parser.parseComma() ||
      parser.parseKeyword(&granularity))
    return {};
  if (granularity == "group") {
    if (parseEqualInteger(parser, scheme.groupSize))
      return {};
  } else if (granularity == "per_channel" || granularity == "per_tensor") {
    scheme.granularity = granularity == "per_channel" ? Granularity::Channel
                                                      : Granularity::Tensor;
    scheme.groupSize = 0;
  } else {
    parser.emitError(loc, "expected 'group = SIZE', 'per_channel' or "
                          "'per_tensor' after the bits");
    return {};
  }
  if (parser.parseComma() || parser.parseKeyword(&zero) ||
      parser.parseComma() || parser.parseKeyword("scale") ||
      parser.parseEqual() || parser.parseType(scaleType) ||
      parser.parseGreater())
    return {};
  bool known = false;
  for (ZeroKind kind :
       {ZeroKind::Symmetric, ZeroKind::Integer, ZeroKind::Minimum})
    if (zero == zeroKeyword(kind)) {
      scheme.zero = kind;
      known = true;
    }
  std::optional<FloatKind> kind = getFloatKind(scaleType);
  if (!known || !kind) {
    parser.emitError(loc, known ? "scales are f16, bf16 or f32"
                                : "expected 'symmetric', 'integer_zero' or "
                                  "'float_minimum'");
    return {};
  }
  scheme.bits = static_cast<unsigned>(std::clamp<int64_t>(bits, 0, 255));
  scheme.scaleType = *kind;
  return parser.getChecked<AffineAttr>(loc, parser.getContext(), scheme);
}

void AffineAttr::print(AsmPrinter &printer) const {
  const Scheme &scheme = getScheme();
  printer << "<bits = " << scheme.bits << ", ";
  switch (scheme.granularity) {
  case Granularity::Group:
    printer << "group = " << scheme.groupSize;
    break;
  case Granularity::Channel:
    printer << "per_channel";
    break;
  case Granularity::Tensor:
    printer << "per_tensor";
    break;
  }
  printer << ", " << zeroKeyword(scheme.zero)
          << ", scale = " << getFloatType(getContext(), scheme.scaleType)
          << ">";
}

LogicalResult AffineAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 Scheme scheme) {
  std::string rule = scheme.verify();
  if (!rule.empty())
    return emitError() << rule;
  return success();
}
