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
  return success();
}

/// What the reader of the recipe has checked.
static void applySettings(ArrayRef<RecipeSetting> settings, LayerSpec &spec) {
  for (const RecipeSetting &setting : settings)
    setting.option->set(setting.text, spec);
}

/// Reads the recipe if there is one, and sets `options.layer` and
/// `options.rules`.
static LogicalResult parseLayers(const QuantizeOptionText &text,
                                 QuantizeOptions &options, ModuleOp module) {
  Recipe recipe;
  if (!text.recipe.empty()) {
    FailureOr<Recipe> read = readRecipe(text.recipe, module.getLoc());
    if (failed(read))
      return failure();
    recipe = std::move(*read);
  }
  applySettings(recipe.defaults, options.layer);
  if (failed(parseLayer(text.layer, options.layer, module)))
    return failure();
  if (std::string broken = options.layer.verify(); !broken.empty())
    return module.emitError("options of all layers: ") << broken;
  for (RecipeRule &rule : recipe.rules) {
    LayerSpec spec = options.layer;
    applySettings(rule.settings, spec);
    if (std::string broken = spec.verify(); !broken.empty())
      return emitError(rule.loc, "this rule with the options of all layers: ")
             << broken;
    options.rules.push_back({std::move(rule), spec});
  }
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
                                                QuantizeOptions start,
                                                ModuleOp module) {
  QuantizeOptions options = std::move(start);
  if (failed(parseLayers(text, options, module)) ||
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
  // The table of a dry run is its result; there is little to wait for.
  options.progress = text.dryRun ? ProgressStyle::None : *progress;
  if (!text.samples.empty() &&
      (StringRef(text.samples).getAsInteger(10, options.samples) ||
       options.samples < 0))
    return badValue(module, "samples", text.samples)
           << "expected a number of at least 1, or 0 for all";
  options.entry = text.entry;
  options.report = text.report;
  options.calibration = text.calibration;
  options.threads = text.threads;
  options.checkpoint = text.checkpoint;
  options.dryRun = text.dryRun;
  options.drift = text.drift;
  if (!text.report.empty())
    if (std::string why = whyNotWritable(text.report); !why.empty())
      return badValue(module, "report", text.report)
             << "cannot be written: " << why;
  return options;
}

} // namespace quantopt::lowbit
