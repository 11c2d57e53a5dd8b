//===- Presets.h - Choices of all options at once ---------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PRESETS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PRESETS_H

#include "QuantizeOptions.h"

namespace quantopt::lowbit {

/// What a quantizer does if its options say nothing, for the preset of that
/// name; a diagnostic at `module` if there is none.
mlir::FailureOr<QuantizeOptions> findPreset(llvm::StringRef name,
                                            mlir::ModuleOp module);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_PRESETS_H
