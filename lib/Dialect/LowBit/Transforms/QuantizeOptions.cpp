//===- QuantizeOptions.cpp - Options that all quantizer passes share ------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizeOptions.h"

#include "quantopt/Dialect/LowBit/Transforms/Report.h"

using namespace mlir;

namespace quantopt::lowbit {

static InFlightDiagnostic badValue(ModuleOp module, StringRef option,
                                   StringRef value) {
  return module.emitError("option ") << option << "=" << value << ": ";
}

static LogicalResult parseLayer(ArrayRef<LayerSetting> settings,
                                LayerSpec &spec, ModuleOp module) {
  for (const auto &[name, text] : settings) {
    const LayerOption *option = findLayerOption(name);
    assert(option && "a pass option that is not in the table");
    if (!option->set(text, spec))
      return badValue(module, name, text) << "expected " << option->expected;
  }
  std::string rule = spec.verify();
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
                                                const LayerSpec &start,
                                                ModuleOp module) {
  QuantizeOptions options;
  options.layer = start;
  if (failed(parseLayer(text.layer, options.layer, module)) ||
      failed(parsePatterns(text.skip, "skip", options.skip, module)) ||
      failed(parsePatterns(text.only, "only", options.only, module)))
    return failure();
  if (text.tied != "skip" && text.tied != "quantize")
    return badValue(module, "tied", text.tied)
           << "expected 'skip' or 'quantize'";
  options.quantizeTied = text.tied == "quantize";
  auto progress = parseProgressStyle(text.progress, llvm::errs());
  if (!progress)
    return badValue(module, "progress", text.progress)
           << "expected 'auto', 'plain' or 'none'";
  options.progress = *progress;
  if (!text.samples.empty() &&
      (StringRef(text.samples).getAsInteger(10, options.samples) ||
       options.samples < 0))
    return badValue(module, "samples", text.samples)
           << "expected a number of at least 1, or 0 for all";
  options.entry = text.entry;
  options.report = text.report;
  options.calibration = text.calibration;
  options.threads = text.threads;
  if (!text.report.empty())
    if (std::string why = whyNotWritable(text.report); !why.empty())
      return badValue(module, "report", text.report)
             << "cannot be written: " << why;
  return options;
}

} // namespace quantopt::lowbit
