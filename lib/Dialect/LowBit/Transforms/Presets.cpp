//===- Presets.cpp - Choices of all options at once -----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Presets.h"

using namespace mlir;

namespace quantopt::lowbit {

namespace {
struct Preset {
  llvm::StringLiteral name;
  /// Options of a layer as in the table of LayerOptions.cpp.
  llvm::StringLiteral layer;
  int64_t samples;   ///< calibration samples used; 0: all
  bool dataOptional; ///< without data, do what can be done
};
} // namespace

static constexpr Preset kPresets[] = {
    // One sample suffices for the mean square of each input: on five
    // models more gained nothing.
    {"fast", "method=rtn importance=inputs search=lsq", /*samples=*/1,
     /*dataOptional=*/true},
    // The wider search costs little beside the solve. With it alone some models
    // gain nothing over plain GPTQ; a round of refinement makes sure.
    {"balanced", "method=gptq search=grid damp=auto level-tokens=.5 refine=1",
     /*samples=*/0,
     /*dataOptional=*/false},
    // Two rounds of refinement are where gains fade.
    {"best",
     "method=gptq search=grid damp=auto level-tokens=.5 refine=2 "
     "asymmetric=auto",
     /*samples=*/0,
     /*dataOptional=*/false},
};

FailureOr<QuantizeOptions> findPreset(StringRef name, ModuleOp module) {
  const Preset *preset = llvm::find_if(
      kPresets, [&](const Preset &preset) { return preset.name == name; });
  if (preset == std::end(kPresets)) {
    InFlightDiagnostic diag = module.emitError("option preset=")
                              << name << ": expected ";
    llvm::interleaveComma(kPresets, diag,
                          [&](const Preset &known) { diag << known.name; });
    return diag;
  }
  QuantizeOptions options;
  SmallVector<StringRef> settings;
  preset->layer.split(settings, ' ');
  for (StringRef setting : settings) {
    auto [option, text] = setting.split('=');
    [[maybe_unused]] bool isSet =
        findLayerOption(option)->set(text, options.layer);
    assert(isSet && "a preset with a value that its option does not take");
  }
  options.samples = preset->samples;
  options.dataOptional = preset->dataOptional;
  return options;
}

} // namespace quantopt::lowbit
