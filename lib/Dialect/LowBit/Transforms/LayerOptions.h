//===- LayerOptions.h - The table of what can be said of a layer *- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Options of passes, recipes and presets all set a LayerSpec through this one
// table, so that a name means the same everywhere.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYEROPTIONS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYEROPTIONS_H

#include "LayerSpec.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"

namespace quantopt::lowbit {

struct LayerOption {
  llvm::StringLiteral name;     ///< as on the command line
  llvm::StringLiteral expected; ///< what it takes, for diagnostics
  /// Sets its part of `spec`; false, and nothing changed, if `text` is not what
  /// is expected.
  bool (*set)(llvm::StringRef text, LayerSpec &spec);
  /// What `set` would take for the same.
  std::string (*get)(const LayerSpec &spec);
};

/// All of them.
llvm::ArrayRef<LayerOption> layerOptions();

/// The option of that name, or null.
const LayerOption *findLayerOption(llvm::StringRef name);

/// The value of option `name`, which must be in the table, in `spec`.
std::string optionText(const LayerSpec &spec, llvm::StringRef name);

/// A name of the table and its value.
using LayerSetting = std::pair<std::string, std::string>;

/// All options of `spec`, as "name=value name=value ...": equal for equal specs
/// only.
std::string describe(const LayerSpec &spec);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYEROPTIONS_H
