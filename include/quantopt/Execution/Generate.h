//===- Generate.h - Text from a language model ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A model that generates is two functions of one module:
//
//   prefill(tokens [B, T], positions [B], last [B], caches...)
//     -> (logits [B, V] of token `last` of each sequence, caches...)
//   decode(tokens [B, 1], positions [B], caches...) -> the same
//
// `positions` is where in its sequence the first of the tokens stands. A cache
// is [B, heads, S, ...] and marked lowbit.in_place; S tokens fit, and T divides
// S. What lies behind a sequence's last token is never looked at.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_GENERATE_H
#define QUANTOPT_EXECUTION_GENERATE_H

#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Runtime/Sampling.h"

namespace quantopt {

struct GenerateOptions {
  /// Sequence i of all prompts draws as one alone would with seed + i.
  SamplingOptions sampling;
  int64_t maxTokens = 128;   ///< of each sequence, the prompt not counted
  std::vector<int64_t> stop; ///< tokens after which a sequence ends
};

/// Why a sequence ended.
enum class StopReason { Token, Length, CacheFull };

/// What was done in which time.
struct GenerateFigures {
  int64_t promptTokens = 0, newTokens = 0;
  /// Calls of prefill; a few tokens that do not fill one are read by decode.
  int64_t prefillCalls = 0;
  /// Tokens that came from decode, and its calls: each gives a token of every
  /// sequence that is not at its end.
  int64_t decodedTokens = 0, decodeCalls = 0;
  double prefillSeconds = 0, decodeSeconds = 0; ///< choosing tokens included
  std::vector<StopReason> reasons;              ///< by prompt
};

/// Continues each of `prompts`, as many at a time as the model has room for,
/// and calls `emit` for each new token as soon as it is known. Both functions
/// are of one model. Failures are diagnostics: functions of other signatures, a
/// prompt that is empty or longer than the caches, a token that the vocabulary
/// has not.
mlir::FailureOr<GenerateFigures>
generate(CompiledModule &prefill, CompiledModule &decode,
         llvm::ArrayRef<std::vector<int64_t>> prompts,
         const GenerateOptions &options, mlir::Location location,
         llvm::function_ref<void(int64_t prompt, int64_t token)> emit);

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_GENERATE_H
