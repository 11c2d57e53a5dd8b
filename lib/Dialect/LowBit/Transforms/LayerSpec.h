//===- LayerSpec.h - What is done with one layer ----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYERSPEC_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYERSPEC_H

#include "quantopt/Quantize/Gptq.h"

#include <optional>

namespace quantopt::lowbit {

/// How the codes of a layer are found.
enum class Method : uint8_t {
  RoundToNearest, ///< each weight on its own
  Gptq,           ///< against the Hessian of the inputs
};

/// What the error of a weight counts when round-to-nearest chooses scales. (For
/// GPTQ that is always the diagonal of the Hessian.)
enum class Importance : uint8_t {
  None,    ///< the same for all
  Inputs,  ///< the mean square of the input that it multiplies
  Outputs, ///< what it does to its group's part of the output
};

/// How the inputs and weights of a layer are scaled against each other before
/// its codes are found.
enum class Scaling : uint8_t {
  None,
  Awq, ///< by the magnitude of the inputs (Quantize/Awq.h)
};

/// Whether a layer makes up for the drift of the quantized model from the float
/// one (Quantize/AsymmetricTarget.h).
enum class Asymmetric : uint8_t {
  Off,
  Auto, ///< as far as held-out samples gain from it
  On,   ///< fully
};

/// What is done with one layer. The initial values are those of a pass whose
/// options say nothing.
struct LayerSpec {
  Method method = Method::RoundToNearest;
  Scheme scheme;
  SearchOptions search = {SearchKind::LeastSquares, /*fullRange=*/true};
  /// RoundToNearest only.
  Importance importance = Importance::None;
  Scaling scaling = Scaling::None;
  /// Whether it is quantized if it is a table that only look-ups read.
  bool quantizeEmbedding = false;

  // Gptq only.
  ActOrder actOrder = ActOrder::Static;
  /// GptqFactorOptions::damp; without a value that of dampForTokens.
  std::optional<double> damp = 0.01;
  /// levelingWeights of the calibration tokens.
  double levelTokens = 0;
  int64_t blockSize = 128;
  int refinements = 0;
  Asymmetric asymmetric = Asymmetric::Off;
  /// With fewer calibration tokens the layer is rounded to nearest.
  int64_t minTokens = 1;

  /// Whether the layer is quantized on calibration data.
  bool needsData() const {
    return method == Method::Gptq || importance != Importance::None;
  }
  /// Whether the float model has to run beside the quantized one.
  bool needsFloatStream() const {
    return method == Method::Gptq && asymmetric != Asymmetric::Off;
  }
  /// For a layer with `k` inputs that `tokens` rows reached. Layers that read
  /// the same input and have equal factor options share the factorisation.
  GptqFactorOptions factorOptions(int64_t k, int64_t tokens) const {
    return {damp ? *damp : dampForTokens(k, tokens), actOrder,
            actOrder == ActOrder::Gar ? scheme.groupLength(k) : 0};
  }
  GptqOptions gptqOptions() const {
    GptqOptions options;
    options.search = search;
    options.blockSize = blockSize;
    options.refinements = refinements;
    return options;
  }
  /// Empty if the parts fit together, else the rule that they break.
  std::string verify() const { return scheme.verify(); }

  bool operator==(const LayerSpec &) const = default;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_LAYERSPEC_H
