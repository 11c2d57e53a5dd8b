//===- Report.h - What a quantizer did, layer by layer ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_REPORT_H
#define QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_REPORT_H

#include "quantopt/Quantize/GridHistogram.h"

#include "mlir/Support/LLVM.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

namespace quantopt::lowbit {

/// How the input of a layer was scaled (AWQ). Layers that read one input share
/// it.
struct AwqReport {
  int64_t group = 0;        ///< which input, from 0
  double alpha = 0;         ///< exponent of the inputs' magnitude
  bool usesWeights = false; ///< whether the weights' magnitude counted too
  /// Squared output error of all that share it, rounded to nearest, with the
  /// scales over without them.
  double errorRatio = 1;
  /// What took the inverse scales, or why there are none.
  std::string placed;
  bool isMultiply = false; ///< whether that is an op that was inserted
};

/// What reads the weight of a layer.
enum class LayerRole : uint8_t {
  Linear,    ///< linears alone
  Embedding, ///< look-ups of rows alone
  Both,      ///< a linear that is tied to an embedding
};

/// One quantized layer.
struct LayerReport {
  std::string name;
  LayerRole role = LayerRole::Linear;
  int64_t n = 0, k = 0;
  std::string scheme;
  std::string method;       ///< that the codes come from
  int64_t tokens = 0;       ///< rows of calibration inputs, less those all zero
  double bitsPerWeight = 0; ///< metadata counted
  /// "outputs": ||(Q - W) X||^2 / ||W X||^2 on the calibration inputs, where W
  /// is what was quantized: the asymmetric target if there is one;
  /// "importance": the same as if the inputs did not hang together;
  /// "weights": ||Q - W||^2 / ||W||^2.
  std::string errorMeasure;
  double relativeError = 0;
  double rtnRelativeError = 0; ///< of plain round-to-nearest on the same data
  double damp = 0;
  /// How much of the step to the asymmetric target was taken.
  std::optional<double> asymmetricStrength;
  /// ||yq - yf||^2 / ||yf||^2 of this layer's results in the quantized and in
  /// the float model, where both ran.
  std::optional<double> outputDrift;
  int64_t deadColumns = 0;
  std::optional<AwqReport> awq;
  std::string fallback; ///< empty, or why the codes are not the method's own
  std::string sharesWeightOf; ///< the layer that stores it, or empty
  double seconds = 0;
  std::optional<GridHistogram> histogram; ///< for the page; not in the JSON
};

/// "linear", "embedding" or "linear and embedding".
llvm::StringRef describe(LayerRole role);

llvm::json::Value toJSON(const LayerReport &layer);
bool fromJSON(const llvm::json::Value &value, LayerReport &layer,
              llvm::json::Path path);

/// A contraction, or a table, that was seen and left alone.
struct SkippedReport {
  std::string name, reason;
};

/// A line for each reason: a model has dozens of attention products.
void printSkipped(llvm::ArrayRef<SkippedReport> skipped, llvm::raw_ostream &os);

/// The whole run.
struct ModelReport {
  std::string method;
  std::string errorMeasure; ///< "outputs" or "weights"
  int64_t samples = 0;
  int64_t bytesBefore = 0, bytesAfter = 0; ///< of the quantized layers' weights
  double bitsPerWeight = 0;                ///< their mean
  double wallSeconds = 0, cpuSeconds = 0;
  int64_t peakBytes = 0; ///< largest resident set of the process
  std::vector<LayerReport> layers;
  std::vector<SkippedReport> skipped;

  llvm::json::Value toJSON() const;
  /// A table for people.
  void print(llvm::raw_ostream &os) const;
};

/// Whether a report at `path` is a page (.html), else it is JSON.
bool isReportPage(llvm::StringRef path);

/// Writes `report` as isReportPage says, whole or not at all.
llvm::Error writeReport(llvm::StringRef path, const ModelReport &report);

/// Empty if a file can be made at `path`, else why not. Asked before the work,
/// so that nothing is lost after it.
std::string whyNotWritable(llvm::StringRef path);

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_REPORT_H
