//===- QuantizeOptions.h - Options all quantizers share ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H

#include "LayerOptions.h"
#include "Progress.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Regex.h"

namespace quantopt::lowbit {

/// The options as the pass got them; names as on the command line.
struct QuantizeOptionText {
  /// Those of the table of LayerOptions.h that were given.
  std::vector<LayerSetting> layer;
  std::vector<std::string> skip, only;
  std::string tied, entry, report, progress, calibration, samples;
  unsigned threads = 0;

  /// From a pass whose tablegen options are those of QuantizePass.
  template <typename PassT> static QuantizeOptionText of(const PassT &pass) {
    QuantizeOptionText text;
    text.give(pass.bits, pass.groupSize, pass.zero, pass.symmetric,
              pass.scaleType, pass.fullRange, pass.search);
    text.skip = {pass.skip.begin(), pass.skip.end()};
    text.only = {pass.only.begin(), pass.only.end()};
    text.tied = pass.tied;
    text.entry = pass.entry;
    text.report = pass.report;
    text.progress = pass.progress;
    text.calibration = pass.calibration;
    text.samples = pass.samples.getValue().str();
    text.threads = pass.threads;
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

/// Their meaning.
struct QuantizeOptions {
  LayerSpec layer; ///< of every layer
  std::vector<llvm::Regex> skip, only;
  bool quantizeTied = false;
  std::string entry, report;
  ProgressStyle progress = ProgressStyle::None;
  std::string calibration; ///< a file, "none", or empty for what is attached
  int64_t samples = 0;     ///< 0: all
  unsigned threads = 0;    ///< 0: one per core
};

/// Reads `text`; what it does not give is as in `start`. A value that no option
/// takes is a diagnostic at `module` that lists those it takes.
mlir::FailureOr<QuantizeOptions>
parseQuantizeOptions(const QuantizeOptionText &text, const LayerSpec &start,
                     mlir::ModuleOp module);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
