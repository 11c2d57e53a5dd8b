//===- Sampling.cpp - The next token from logits --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Runtime/Sampling.h"

#include <algorithm>
#include <cmath>
#include <numeric>

using namespace quantopt;

double quantopt::uniformNumber(uint64_t seed, uint64_t index) {
  auto mix = [](uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  };
  // The seed is mixed once by itself: sequences of near seeds do not overlap.
  uint64_t state = mix(seed + 0x9e3779b97f4a7c15);
  uint64_t bits = mix(state + (index + 1) * 0x9e3779b97f4a7c15);
  return double(bits >> 11) * 0x1p-53;
}

namespace {
/// Larger logits first; of equal ones the first.
struct ByLogit {
  std::span<const float> logits;
  bool operator()(int32_t a, int32_t b) const {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  }
};
} // namespace

void Sampler::keepMostLikely(std::span<const float> logits, int64_t count) {
  if (count >= int64_t(kept.size()))
    return;
  std::nth_element(kept.begin(), kept.begin() + count, kept.end(),
                   ByLogit{logits});
  kept.resize(count);
}

/// Most vocabularies have a small nucleus, so that little is sorted.
void Sampler::keepNucleus(std::span<const float> logits) {
  double total = 0;
  for (int32_t token : kept)
    total += weights[token];
  double sum = 0;
  size_t done = 0;
  for (size_t size = 64; done < kept.size(); size *= 2) {
    auto begin = kept.begin() + done;
    auto end = kept.begin() + std::min(kept.size(), done + size);
    if (end != kept.end())
      std::nth_element(begin, end, kept.end(), ByLogit{logits});
    std::sort(begin, end, ByLogit{logits});
    for (auto at = begin; at != end; ++at) {
      sum += weights[*at];
      if (sum >= options.topP * total) {
        kept.erase(at + 1, kept.end());
        return;
      }
    }
    done = end - kept.begin();
  }
}

std::optional<int64_t> Sampler::choose(std::span<const float> logits,
                                       double uniform) {
  int64_t top = 0;
  for (int64_t i = 0; i < int64_t(logits.size()); ++i) {
    if (std::isnan(logits[i]))
      return std::nullopt;
    if (logits[i] > logits[top])
      top = i;
  }
  if (logits.empty() || !std::isfinite(logits[top]))
    return std::nullopt;
  if (options.temperature == 0)
    return top;

  kept.resize(logits.size());
  std::iota(kept.begin(), kept.end(), 0);
  if (options.topK > 0)
    keepMostLikely(logits, options.topK);
  weights.resize(logits.size());
  for (int32_t token : kept)
    weights[token] =
        std::exp((double(logits[token]) - logits[top]) / options.temperature);
  if (options.topP < 1)
    keepNucleus(logits);
  std::sort(kept.begin(), kept.end());
  double total = 0;
  for (int32_t token : kept)
    total += weights[token];
  double place = uniform * total, sum = 0;
  for (int32_t token : kept) {
    sum += weights[token];
    if (place < sum)
      return token;
  }
  return top; // rounded past the last
}
