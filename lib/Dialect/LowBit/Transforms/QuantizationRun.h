//===- QuantizationRun.h - Around the method --------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZATIONRUN_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZATIONRUN_H

#include "Checkpoint.h"
#include "QuantizePlan.h"

#include "quantopt/Packing/PackedMatrix.h"

namespace quantopt::lowbit {

/// A point in time, or a difference of two.
using Seconds = double;

/// The time on the wall since some fixed point.
Seconds wallSeconds();

/// User and system time of all threads of the process.
Seconds cpuSeconds();

/// The largest resident set that the process has had.
int64_t peakBytes();

/// What was done with a layer before it was quantized.
struct LayerScaling {
  std::optional<AwqReport> report; ///< nullopt if nothing was to be done
  /// By which the columns of its weight were multiplied; empty if by nothing.
  std::vector<float> columns;
};

/// Collects quantized layers and their figures, shows progress, and at the end
/// rewrites the module and writes the report.
class QuantizationRun {
public:
  QuantizationRun(mlir::ModuleOp module, llvm::StringRef method,
                  const QuantizeOptions &options, QuantizePlan plan);

  const QuantizePlan &plan() const { return quantizePlan; }
  const QuantizeOptions &options() const { return quantizeOptions; }
  /// For figures of the whole run that only the method knows.
  ModelReport &report() { return modelReport; }

  /// Layer `index` is done. `row` needs what only the method knows: its name,
  /// tokens, errors, damping, fallback and time. The rest is filled in.
  /// `weight` is the float matrix [n, k] that `matrix` stands for. Fails, with
  /// a diagnostic, if the layer cannot be written to the checkpoint.
  mlir::LogicalResult record(unsigned index, const QuantizedMatrix &matrix,
                             std::span<const float> weight, LayerReport row);

  /// How each layer was scaled before.
  void noteScaling(std::vector<LayerScaling> notes) {
    scaling = std::move(notes);
  }
  /// What the columns of the weight of layer `index` were multiplied by; empty
  /// if by nothing.
  std::span<const float> columnScales(unsigned index) const {
    return scaling.empty() ? std::span<const float>() : scaling[index].columns;
  }

  /// Layer `index` uses the weight of an earlier one.
  void recordShared(unsigned index);

  /// Takes over the layers that `checkpoint` holds, and writes to it those that
  /// are recorded from now on.
  mlir::LogicalResult resume(Checkpoint checkpoint);

  /// Whether layer `index` is done.
  bool isRecorded(unsigned index) const { return recorded[index]; }
  bool isFinished() const {
    return llvm::all_of(recorded, [](bool done) { return done; });
  }

  /// The quantized weight of layer `index` (or of its leader); only once
  /// recorded.
  PackedMatrix weight(unsigned index) const;

  /// Rewrites the readers of layer `index`, which is recorded and no linear, to
  /// its weight.
  void rewriteTable(unsigned index);

  /// Rewrites all other readers to the recorded weights, writes the report and
  /// prints the table.
  mlir::LogicalResult finish();

private:
  void take(unsigned index, PackedStorage weight, LayerReport row);
  WeightOp createWeight(unsigned index, bool isShared);
  void rewriteLinear(unsigned index, bool isShared);

  mlir::ModuleOp module;
  const QuantizeOptions &quantizeOptions;
  QuantizePlan quantizePlan;
  ModelReport modelReport;
  std::vector<LayerScaling> scaling; ///< by layer, or empty
  std::vector<PackedStorage> weights;
  std::vector<WeightOp> ops; ///< what they have become; null before
  std::vector<bool> recorded;
  Progress progress;
  std::optional<Checkpoint> checkpoint;
  Seconds wallStart, cpuStart;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZATIONRUN_H
