//===- Recipe.h - What is done with which layers, from a file ---*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
//   defaults:                     # options of all layers
//     group-size: 128
//   layers:                       # the first rule that matches a name counts
//     - match: "lm_head|embed"    # regular expression, or a list of them
//       skip: true
//     - match: "down_proj$"
//       bits: 8                   # what it does not say stays as it is
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_RECIPE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_RECIPE_H

#include "LayerOptions.h"

#include "mlir/IR/Location.h"
#include "llvm/Support/Regex.h"

namespace quantopt::lowbit {

/// An option of a layer that the file sets. The text is one that it takes.
struct RecipeSetting {
  const LayerOption *option;
  std::string text;
};

struct RecipePattern {
  std::string text;
  llvm::Regex regex;
  mlir::FileLineColLoc loc;
};

struct RecipeRule {
  mlir::FileLineColLoc loc;
  std::vector<RecipePattern> match; ///< one is enough
  bool skip = false;
  std::vector<RecipeSetting> settings;
};

struct Recipe {
  std::vector<RecipeSetting> defaults;
  std::vector<RecipeRule> rules;
};

/// Reads the recipe in `path`. Fails with a diagnostic at the line and column
/// of what is wrong: syntax, keys, values, patterns; at `loc` if the file
/// cannot be read.
mlir::FailureOr<Recipe> readRecipe(llvm::StringRef path, mlir::Location loc);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_RECIPE_H
