//===- Sampling.h - The next token from logits ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_SAMPLING_H
#define QUANTOPT_RUNTIME_SAMPLING_H

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace quantopt {

/// How a token is chosen; the defaults always choose the most likely one.
struct SamplingOptions {
  double temperature = 0; ///< divides logits; 0: the most likely token
  int64_t topK = 0;       ///< only the so many most likely ones; 0: all
  /// Then only the most likely ones that together have this probability, at
  /// least one (nucleus sampling, Holtzman et al. 2020).
  double topP = 1;
  uint64_t seed = 0;
};

/// A number in [0, 1), the `index`-th of a sequence of its own for each seed,
/// the same on every machine: SplitMix64 (Steele, Lea and Flood 2014), whose
/// upper 53 bits it is.
double uniformNumber(uint64_t seed, uint64_t index);

/// Chooses tokens; keeps its work space between calls.
class Sampler {
public:
  explicit Sampler(const SamplingOptions &options) : options(options) {}

  /// A token for `logits`. Those kept by top-k, then top-p, at the temperature,
  /// share [0, 1) by their probabilities, in the order of their numbers;
  /// `uniform` says where the token lies. Of equal logits the first count as
  /// larger. Nothing if there is a NaN or no finite largest logit.
  std::optional<int64_t> choose(std::span<const float> logits, double uniform);

private:
  void keepMostLikely(std::span<const float> logits, int64_t count);
  void keepNucleus(std::span<const float> logits);

  SamplingOptions options;
  std::vector<int32_t> kept;   // tokens
  std::vector<double> weights; // by token; not normalised
};

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_SAMPLING_H
