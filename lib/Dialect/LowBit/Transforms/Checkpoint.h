//===- Checkpoint.h - Solved layers on disk ---------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CHECKPOINT_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CHECKPOINT_H

#include "Fingerprint.h"

#include "quantopt/Dialect/LowBit/Transforms/Report.h"
#include "quantopt/Packing/PackedMatrix.h"

namespace quantopt::lowbit {

/// A folder with one file for each solved layer, so that a run that was killed
/// goes on where it stood.
///
/// `run.json` holds the fingerprint of the run, `layer-N.safetensors` the
/// planes and the report row of layer N. Every file appears whole or not at
/// all, so that what is there is right whenever the process ends.
class Checkpoint {
public:
  /// Opens `directory` for the run of `fingerprint`; makes it if it is not
  /// there. Refuses a folder of another run, or one that holds something else.
  static llvm::Expected<Checkpoint> open(llvm::StringRef directory,
                                         const Fingerprint &fingerprint);

  struct Layer {
    PackedStorage weight;
    LayerReport row;
  };

  /// Layer `index`, of scheme `scheme` and shape [n, k], or nothing if it was
  /// not solved. A file that is no such layer is an error.
  llvm::Expected<std::optional<Layer>>
  read(unsigned index, const Scheme &scheme, int64_t n, int64_t k) const;

  llvm::Error write(unsigned index, const PackedMatrix &weight,
                    const LayerReport &row) const;

private:
  explicit Checkpoint(llvm::StringRef directory) : directory(directory) {}
  std::string pathOf(unsigned index) const;

  std::string directory;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_CHECKPOINT_H
