//===- QuantizeOptions.h - Options all quantizers share ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H

#include "Progress.h"

#include "quantopt/Quantize/Search.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Regex.h"

namespace quantopt::lowbit {

/// The options as the pass got them; names as on the command line.
struct QuantizeOptionText {
  unsigned bits;
  std::string groupSize;
  bool symmetric;
  std::string zero, scaleType;
  bool fullRange;
  std::string search;
  std::vector<std::string> skip, only;
  std::string tied, entry, report, progress;

  /// From a pass whose tablegen options are those of QuantizePass.
  template <typename PassT> static QuantizeOptionText of(const PassT &pass) {
    return {pass.bits,
            pass.groupSize,
            pass.symmetric,
            pass.zero,
            pass.scaleType,
            pass.fullRange,
            pass.search,
            {pass.skip.begin(), pass.skip.end()},
            {pass.only.begin(), pass.only.end()},
            pass.tied,
            pass.entry,
            pass.report,
            pass.progress};
  }
};

/// Their meaning.
struct QuantizeOptions {
  Scheme scheme;
  SearchOptions search;
  std::vector<llvm::Regex> skip, only;
  bool quantizeTied = false;
  std::string entry, report;
  ProgressStyle progress = ProgressStyle::None;
};

/// Reads `text`; a value that no option takes is a diagnostic at `module` that
/// lists those it takes.
mlir::FailureOr<QuantizeOptions>
parseQuantizeOptions(const QuantizeOptionText &text, mlir::ModuleOp module);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZEOPTIONS_H
