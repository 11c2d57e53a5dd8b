//===- SchemeSyntax.cpp - How schemes are written -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/IR/DialectImplementation.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

llvm::hash_code quantopt::hash_value(const Scheme &scheme) {
  return llvm::hash_combine(scheme.bits, scheme.granularity, scheme.groupSize,
                            scheme.zero, scheme.scaleType, scheme.table,
                            scheme.nesting);
}

SchemeInterface quantopt::lowbit::getSchemeAttr(MLIRContext *context,
                                                const Scheme &scheme) {
  if (scheme.table == CodeTable::Linear)
    return AffineAttr::get(context, scheme);
  return CodebookAttr::get(context, scheme);
}

LayoutAttr quantopt::lowbit::getLayoutAttr(MLIRContext *context,
                                           Layout layout) {
  if (layout == Layout::Dense)
    return {};
  return LayoutAttr::get(context, layout);
}

Type quantopt::lowbit::getScaleType(MLIRContext *context, ScaleKind kind) {
  switch (kind) {
  case ScaleKind::F16:
    return Float16Type::get(context);
  case ScaleKind::BF16:
    return BFloat16Type::get(context);
  case ScaleKind::F32:
    return Float32Type::get(context);
  case ScaleKind::E8M0:
    return Float8E8M0FNUType::get(context);
  case ScaleKind::E4M3:
    return Float8E4M3FNType::get(context);
  }
  llvm_unreachable("all kinds handled");
}

//===----------------------------------------------------------------------===//
// Words
//===----------------------------------------------------------------------===//

template <typename T> using Words = ArrayRef<std::pair<StringLiteral, T>>;

static constexpr std::pair<StringLiteral, ZeroKind> kZeros[] = {
    {"symmetric", ZeroKind::Symmetric},
    {"integer_zero", ZeroKind::Integer},
    {"float_minimum", ZeroKind::Minimum}};

static constexpr std::pair<StringLiteral, CodeTable> kTables[] = {
    {"nf4", CodeTable::NF4},
    {"fp4", CodeTable::FP4},
    {"iq4_nl", CodeTable::IQ4NL},
    {"e2m1", CodeTable::E2M1}};

static constexpr std::pair<StringLiteral, Nesting> kNestings[] = {
    {"dynamic", Nesting::Dynamic}, {"per_tensor", Nesting::PerTensor}};

template <typename T>
static ParseResult parseWord(AsmParser &parser, Words<T> words, T &value) {
  SMLoc loc = parser.getCurrentLocation();
  StringRef text;
  if (parser.parseKeyword(&text))
    return failure();
  for (const auto &[word, meaning] : words)
    if (text == word) {
      value = meaning;
      return success();
    }
  InFlightDiagnostic error = parser.emitError(loc, "expected ");
  llvm::interleaveComma(words, error, [&](const auto &word) {
    error << "'" << word.first << "'";
  });
  return error;
}

template <typename T> static StringRef wordOf(Words<T> words, T value) {
  for (const auto &[word, meaning] : words)
    if (meaning == value)
      return word;
  llvm_unreachable("every value has a word");
}

//===----------------------------------------------------------------------===//
// Parts of both schemes
//===----------------------------------------------------------------------===//

/// group = SIZE | flat = SIZE | per_channel | per_tensor
static ParseResult parseGranularity(AsmParser &parser, Scheme &scheme) {
  static constexpr std::pair<StringLiteral, Granularity> words[] = {
      {"group", Granularity::Group},
      {"flat", Granularity::Flat},
      {"per_channel", Granularity::Channel},
      {"per_tensor", Granularity::Tensor}};
  if (parseWord<Granularity>(parser, words, scheme.granularity))
    return failure();
  scheme.groupSize = 0;
  if (scheme.granularity == Granularity::Group ||
      scheme.granularity == Granularity::Flat)
    return failure(parser.parseEqual() ||
                   parser.parseInteger(scheme.groupSize));
  return success();
}

static void printGranularity(AsmPrinter &printer, const Scheme &scheme) {
  switch (scheme.granularity) {
  case Granularity::Group:
    printer << "group = " << scheme.groupSize;
    return;
  case Granularity::Flat:
    printer << "flat = " << scheme.groupSize;
    return;
  case Granularity::Channel:
    printer << "per_channel";
    return;
  case Granularity::Tensor:
    printer << "per_tensor";
    return;
  }
}

/// scale = TYPE
static ParseResult parseScaleType(AsmParser &parser, Scheme &scheme) {
  SMLoc loc = parser.getCurrentLocation();
  Type type;
  if (parser.parseKeyword("scale") || parser.parseEqual() ||
      parser.parseType(type))
    return failure();
  for (ScaleKind kind : {ScaleKind::F16, ScaleKind::BF16, ScaleKind::F32,
                         ScaleKind::E8M0, ScaleKind::E4M3})
    if (type == getScaleType(parser.getContext(), kind)) {
      scheme.scaleType = kind;
      return success();
    }
  return parser.emitError(loc,
                          "scales are f16, bf16, f32, f8E8M0FNU or f8E4M3FN");
}

static LogicalResult verifyScheme(function_ref<InFlightDiagnostic()> emitError,
                                  const Scheme &scheme) {
  std::string rule = scheme.verify();
  if (!rule.empty())
    return emitError() << rule;
  return success();
}

//===----------------------------------------------------------------------===//
// #lowbit.affine
//===----------------------------------------------------------------------===//

Attribute AffineAttr::parse(AsmParser &parser, Type) {
  Scheme scheme;
  SMLoc loc = parser.getCurrentLocation();
  int64_t bits = 0;
  if (parser.parseLess() || parser.parseKeyword("bits") ||
      parser.parseEqual() || parser.parseInteger(bits) || parser.parseComma() ||
      parseGranularity(parser, scheme) || parser.parseComma() ||
      parseWord<ZeroKind>(parser, kZeros, scheme.zero) || parser.parseComma() ||
      parseScaleType(parser, scheme) || parser.parseGreater())
    return {};
  scheme.bits = static_cast<unsigned>(std::clamp<int64_t>(bits, 0, 255));
  return parser.getChecked<AffineAttr>(loc, parser.getContext(), scheme);
}

void AffineAttr::print(AsmPrinter &printer) const {
  const Scheme &scheme = getScheme();
  printer << "<bits = " << scheme.bits << ", ";
  printGranularity(printer, scheme);
  printer << ", " << wordOf<ZeroKind>(kZeros, scheme.zero)
          << ", scale = " << getScaleType(getContext(), scheme.scaleType)
          << ">";
}

LogicalResult AffineAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 Scheme scheme) {
  if (scheme.table != CodeTable::Linear)
    return emitError() << "an affine scheme has no code table";
  return verifyScheme(emitError, scheme);
}

//===----------------------------------------------------------------------===//
// #lowbit.codebook
//===----------------------------------------------------------------------===//

Attribute CodebookAttr::parse(AsmParser &parser, Type) {
  Scheme scheme;
  scheme.zero = ZeroKind::Symmetric;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseLess() ||
      parseWord<CodeTable>(parser, kTables, scheme.table) ||
      parser.parseComma() || parseGranularity(parser, scheme) ||
      parser.parseComma() || parseScaleType(parser, scheme))
    return {};
  if (succeeded(parser.parseOptionalComma()) &&
      (parser.parseKeyword("nested") || parser.parseEqual() ||
       parseWord<Nesting>(parser, kNestings, scheme.nesting)))
    return {};
  if (parser.parseGreater())
    return {};
  return parser.getChecked<CodebookAttr>(loc, parser.getContext(), scheme);
}

void CodebookAttr::print(AsmPrinter &printer) const {
  const Scheme &scheme = getScheme();
  printer << "<" << wordOf<CodeTable>(kTables, scheme.table) << ", ";
  printGranularity(printer, scheme);
  printer << ", scale = " << getScaleType(getContext(), scheme.scaleType);
  if (scheme.nesting != Nesting::None)
    printer << ", nested = " << wordOf<Nesting>(kNestings, scheme.nesting);
  printer << ">";
}

LogicalResult CodebookAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                   Scheme scheme) {
  if (scheme.table == CodeTable::Linear)
    return emitError() << "a codebook scheme has a code table";
  return verifyScheme(emitError, scheme);
}

//===----------------------------------------------------------------------===//
// #lowbit.layout
//===----------------------------------------------------------------------===//

Attribute LayoutAttr::parse(AsmParser &parser, Type) {
  StringRef name;
  if (parser.parseLess())
    return {};
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseKeyword(&name))
    return {};
  std::optional<Layout> layout = layoutNamed(name);
  // A weight that is dense has no layout: one spelling for one type.
  if (!layout || *layout == Layout::Dense) {
    parser.emitError(loc, "there is no layout '") << name << "'";
    return {};
  }
  if (parser.parseGreater())
    return {};
  return LayoutAttr::get(parser.getContext(), *layout);
}

void LayoutAttr::print(AsmPrinter &printer) const {
  printer << "<" << layoutName(getLayout()) << ">";
}
