//===- Fingerprint.h - What the bytes of a result depend on -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_FINGERPRINT_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_FINGERPRINT_H

#include "quantopt/Calibration/Samples.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace quantopt::lowbit {

/// Two runs of equal fingerprints, on processors of one kind, write the same
/// bytes. The digests are XXH3 (128 bits): they tell apart what changed by
/// accident, not what somebody forged.
struct Fingerprint {
  std::string program; ///< version of quant-opt
  std::string model;   ///< digestModule
  std::string data;    ///< digestSamples, or "none"
  /// By layer, in the order of the run: its name and what is done with it.
  std::vector<std::pair<std::string, std::string>> layers;

  bool operator==(const Fingerprint &) const = default;
};

llvm::json::Value toJSON(const Fingerprint &fingerprint);
bool fromJSON(const llvm::json::Value &value, Fingerprint &fingerprint,
              llvm::json::Path path);

/// What is different in `now`, as "the model was ..."; empty if nothing is.
std::string describeChange(const Fingerprint &before, const Fingerprint &now);

/// Of the ops of `module` and of the data behind its constants, under whatever
/// names that data goes.
std::string digestModule(mlir::ModuleOp module);

std::string digestSamples(const CalibrationSamples &samples);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_FINGERPRINT_H
