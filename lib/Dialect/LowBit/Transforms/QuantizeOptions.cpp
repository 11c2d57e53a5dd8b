//===- QuantizeOptions.cpp - Options that all quantizer passes share ------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeOptions.h"

#include "quantopt/Dialect/LowBit/Transforms/Report.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;

namespace quantopt::lowbit {

static InFlightDiagnostic badValue(ModuleOp module, StringRef option,
                                   StringRef value) {
  return module.emitError("option ") << option << "=" << value << ": ";
}

static LogicalResult parseGroup(StringRef text, Scheme &scheme,
                                ModuleOp module) {
  if (text == "channel" || text == "tensor") {
    scheme.granularity =
        text == "channel" ? Granularity::Channel : Granularity::Tensor;
    scheme.groupSize = 0;
    return success();
  }
  if (text.getAsInteger(10, scheme.groupSize) || scheme.groupSize < 1)
    return badValue(module, "group-size", text)
           << "expected a number of at least 1, 'channel' or 'tensor'";
  return success();
}

static LogicalResult parseScheme(const QuantizeOptionText &text, Scheme &scheme,
                                 ModuleOp module) {
  scheme.bits = text.bits;
  if (failed(parseGroup(text.groupSize, scheme, module)))
    return failure();
  auto zero = llvm::StringSwitch<std::optional<ZeroKind>>(text.zero)
                  .Case("integer", ZeroKind::Integer)
                  .Case("float", ZeroKind::Minimum)
                  .Case("none", ZeroKind::Symmetric)
                  .Default(std::nullopt);
  if (!zero)
    return badValue(module, "zero", text.zero)
           << "expected 'integer', 'float' or 'none'";
  scheme.zero = text.symmetric ? ZeroKind::Symmetric : *zero;
  auto scaleType = llvm::StringSwitch<std::optional<FloatKind>>(text.scaleType)
                       .Case("f16", FloatKind::F16)
                       .Case("bf16", FloatKind::BF16)
                       .Case("f32", FloatKind::F32)
                       .Default(std::nullopt);
  if (!scaleType)
    return badValue(module, "scale-type", text.scaleType)
           << "expected 'f16', 'bf16' or 'f32'";
  scheme.scaleType = *scaleType;
  std::string rule = scheme.verify();
  if (!rule.empty())
    return module.emitError("options bits and group-size: ") << rule;
  return success();
}

static LogicalResult parsePatterns(ArrayRef<std::string> texts,
                                   StringRef option,
                                   std::vector<llvm::Regex> &patterns,
                                   ModuleOp module) {
  for (const std::string &text : texts) {
    llvm::Regex pattern(text);
    std::string error;
    if (!pattern.isValid(error))
      return badValue(module, option, text)
             << "not a regular expression: " << error;
    patterns.push_back(std::move(pattern));
  }
  return success();
}

FailureOr<QuantizeOptions> parseQuantizeOptions(const QuantizeOptionText &text,
                                                ModuleOp module) {
  QuantizeOptions options;
  if (failed(parseScheme(text, options.scheme, module)) ||
      failed(parsePatterns(text.skip, "skip", options.skip, module)) ||
      failed(parsePatterns(text.only, "only", options.only, module)))
    return failure();
  auto search = llvm::StringSwitch<std::optional<SearchKind>>(text.search)
                    .Case("none", SearchKind::None)
                    .Case("lsq", SearchKind::LeastSquares)
                    .Case("grid", SearchKind::Grid)
                    .Default(std::nullopt);
  if (!search)
    return badValue(module, "search", text.search)
           << "expected 'none', 'lsq' or 'grid'";
  options.search = {*search, text.fullRange};
  if (text.tied != "skip" && text.tied != "quantize")
    return badValue(module, "tied", text.tied)
           << "expected 'skip' or 'quantize'";
  options.quantizeTied = text.tied == "quantize";
  auto progress = parseProgressStyle(text.progress, llvm::errs());
  if (!progress)
    return badValue(module, "progress", text.progress)
           << "expected 'auto', 'plain' or 'none'";
  options.progress = *progress;
  options.entry = text.entry;
  options.report = text.report;
  if (!text.report.empty())
    if (std::string why = whyNotWritable(text.report); !why.empty())
      return badValue(module, "report", text.report)
             << "cannot be written: " << why;
  return options;
}

} // namespace quantopt::lowbit
