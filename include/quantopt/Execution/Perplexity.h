//===- Perplexity.h - How well a language model predicts a text -*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_PERPLEXITY_H
#define QUANTOPT_EXECUTION_PERPLEXITY_H

#include "quantopt/Execution/CompiledModule.h"

#include <optional>

namespace quantopt {

/// Sums over the positions that are scored. Position t of a window predicts
/// token t + 1; the last one predicts nothing and is not scored.
struct Perplexity {
  int64_t windows = 0, predictions = 0;
  double negativeLogLikelihood = 0;
  // Against a second model:
  double divergence = 0; ///< of the model from the other, KL(other || model)
  int64_t sameTop = 0;   ///< both find the same token most likely
  double otherNegativeLogLikelihood = 0;

  double meanLoss() const { return negativeLogLikelihood / predictions; }
  double perplexity() const;
  double otherPerplexity() const;
};

/// Runs `model` (and `other`, window by window) over `tokens`, [windows, T] or
/// a flat text that is cut into windows of the model's length. The models take
/// tensor<1xTxi64> or i32 and give logits [1, T, V] or [T, V]. Log-softmax in
/// f32, sums in f64. `progress` is called after each window. Failures are
/// diagnostics.
mlir::FailureOr<Perplexity>
measurePerplexity(CompiledModule &model, CompiledModule *other,
                  const HostArray &tokens, std::optional<int64_t> maxWindows,
                  mlir::Location location,
                  llvm::function_ref<void(const Perplexity &)> progress = {});

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_PERPLEXITY_H
