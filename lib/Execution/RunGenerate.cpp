//===- RunGenerate.cpp - quant-run --generate -----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "RunGenerate.h"

#include "ArrayIO.h"

#include "quantopt/Formats/Npy.h"

#include "llvm/Support/Format.h"

using namespace mlir;
using namespace quantopt;

static llvm::Expected<std::vector<std::vector<int64_t>>>
readPromptFile(StringRef path) {
  llvm::Expected<HostArray> array = readNpy(path);
  if (!array)
    return array.takeError();
  std::vector<int64_t> values = execution::readIntegers(*array);
  size_t rank = array->shape.size();
  if (values.empty() || rank < 1 || rank > 2)
    return llvm::createStringError(
        path + ": prompts are integers of shape [tokens] or [prompts, tokens]");
  size_t length = array->shape.back();
  std::vector<std::vector<int64_t>> prompts;
  for (auto at = values.begin(); at != values.end(); at += length)
    prompts.emplace_back(at, at + length);
  return prompts;
}

llvm::Expected<std::vector<std::vector<int64_t>>>
execution::readPrompts(StringRef text) {
  if (text.ends_with(".npy"))
    return readPromptFile(text);
  std::vector<std::vector<int64_t>> prompts;
  SmallVector<StringRef> parts;
  text.split(parts, ';');
  for (StringRef part : parts) {
    SmallVector<StringRef> words;
    part.split(words, ',');
    std::vector<int64_t> &prompt = prompts.emplace_back();
    for (StringRef word : words)
      if (word.trim().getAsInteger(10, prompt.emplace_back()))
        return llvm::createStringError(
            "'" + word +
            "' is not a token: a prompt is numbers separated by commas, or an "
            ".npy file; python -m quantopt generate takes text");
  }
  return prompts;
}

static StringRef reasonName(StopReason reason) {
  switch (reason) {
  case StopReason::Token:
    return "stop";
  case StopReason::Length:
    return "length";
  case StopReason::CacheFull:
    return "cache full";
  }
  llvm_unreachable("all reasons handled");
}

FailureOr<llvm::json::Object>
execution::runGenerate(CompiledModule &prefill, CompiledModule &decode,
                       ArrayRef<std::vector<int64_t>> prompts,
                       const GenerateOptions &options, unsigned repeat,
                       Location location) {
  bool several = prompts.size() > 1;
  std::vector<llvm::json::Array> written(prompts.size());
  FailureOr<GenerateFigures> figures =
      generate(prefill, decode, prompts, options, location,
               [&](int64_t prompt, int64_t token) {
                 if (several)
                   llvm::outs() << prompt << " ";
                 llvm::outs() << token << "\n";
                 llvm::outs().flush();
                 written[prompt].push_back(token);
               });
  for (unsigned i = 1; i < repeat && succeeded(figures); ++i) {
    FailureOr<GenerateFigures> again = generate(
        prefill, decode, prompts, options, location, [](int64_t, int64_t) {});
    if (failed(again))
      return failure();
    for (auto seconds :
         {&GenerateFigures::prefillSeconds, &GenerateFigures::decodeSeconds})
      (*figures).*seconds = std::min((*figures).*seconds, (*again).*seconds);
  }
  if (failed(figures))
    return failure();
  auto rate = [](int64_t tokens, double seconds) {
    return seconds > 0 ? tokens / seconds : 0.0;
  };
  double read = rate(figures->promptTokens, figures->prefillSeconds);
  double wrote = rate(figures->decodedTokens, figures->decodeSeconds);
  llvm::errs() << llvm::format(
      "prompt: %lld tokens in %.3f s (%.1f tokens/s); decode: %lld tokens in "
      "%.3f s (%.1f tokens/s)\n",
      (long long)figures->promptTokens, figures->prefillSeconds, read,
      (long long)figures->decodedTokens, figures->decodeSeconds, wrote);
  if (llvm::is_contained(figures->reasons, StopReason::CacheFull))
    llvm::errs() << "the caches are full: a model imported with a larger "
                    "--cache-length could go on\n";
  llvm::json::Array sequences;
  for (auto [tokens, reason] : llvm::zip_equal(written, figures->reasons))
    sequences.push_back(llvm::json::Object{{"tokens", std::move(tokens)},
                                           {"ended_by", reasonName(reason)}});
  return llvm::json::Object{{"prompt_tokens", figures->promptTokens},
                            {"prefill_calls", figures->prefillCalls},
                            {"prefill_seconds", figures->prefillSeconds},
                            {"prompt_tokens_per_second", read},
                            {"new_tokens", figures->newTokens},
                            {"decoded_tokens", figures->decodedTokens},
                            {"decode_calls", figures->decodeCalls},
                            {"decode_seconds", figures->decodeSeconds},
                            {"decode_tokens_per_second", wrote},
                            {"sequences", std::move(sequences)}};
}
