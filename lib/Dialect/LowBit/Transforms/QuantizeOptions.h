//===- QuantizeOptions.h - Options all quantizers share ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H

#include "Progress.h"
#include "Recipe.h"

#include "mlir/IR/BuiltinOps.h"

namespace quantopt::lowbit {

/// The options as the pass got them; names as on the command line.
struct QuantizeOptionText {
  /// Those of the table of LayerOptions.h that were given.
  std::vector<LayerSetting> layer;
  std::vector<std::string> skip, only;
  std::string tied, entry, recipe, report, progress, calibration, samples;
  unsigned threads = 0;
  std::string checkpoint;
  bool dryRun = false, drift = false;

  /// From a pass whose tablegen options are those of QuantizePass.
  template <typename PassT> static QuantizeOptionText of(const PassT &pass) {
    QuantizeOptionText text;
    // A table decides about several of the others, which then have their say.
    text.give(pass.table, pass.doubleQuant, pass.bits, pass.groupSize,
              pass.zero, pass.symmetric, pass.scaleType, pass.fullRange,
              pass.search, pass.embeddings);
    text.skip = {pass.skip.begin(), pass.skip.end()};
    text.only = {pass.only.begin(), pass.only.end()};
    text.tied = pass.tied;
    text.entry = pass.entry;
    text.recipe = pass.recipe;
    text.report = pass.report;
    text.progress = pass.progress;
    text.calibration = pass.calibration;
    text.samples = pass.samples.getValue().str();
    text.threads = pass.threads;
    text.checkpoint = pass.checkpoint;
    text.dryRun = pass.dryRun;
    text.drift = pass.drift;
    return text;
  }

  /// Adds options of a pass whose names are in the table.
  template <typename... OptionT> void give(const OptionT &...options) {
    auto giveOne = [&](const auto &option) {
      if (!option.getValue().empty())
        layer.emplace_back(option.ArgStr, option.getValue().str());
    };
    (giveOne(options), ...);
  }
};

/// Layers that a rule of the recipe matches, and what is done with them.
struct LayerRule {
  RecipeRule from;
  LayerSpec spec;
};

/// Their meaning.
struct QuantizeOptions {
  LayerSpec layer;              ///< of layers that no rule matches
  std::vector<LayerRule> rules; ///< the first that matches counts
  std::vector<llvm::Regex> skip, only;
  bool quantizeTied = false;
  std::string entry, report;
  ProgressStyle progress = ProgressStyle::None;
  std::string calibration; ///< a file, "none", or empty for what is attached
  /// Without data, go on as calibration=none does.
  bool dataOptional = false;
  int64_t samples = 0;    ///< 0: all
  unsigned threads = 0;   ///< 0: one per core
  std::string checkpoint; ///< a folder, or empty
  bool dryRun = false;
  bool drift = false; ///< measure LayerReport::outputDrift
};

/// Reads `text` and the recipe that it names. What is done with a layer is,
/// from the weakest to the strongest, as `start`, the defaults of the recipe,
/// `text` and the rule of the recipe say. A value that no option takes is a
/// diagnostic at `module` that lists those it takes.
mlir::FailureOr<QuantizeOptions>
parseQuantizeOptions(const QuantizeOptionText &text, QuantizeOptions start,
                     mlir::ModuleOp module);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
