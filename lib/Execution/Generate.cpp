//===- Generate.cpp - Text from a language model --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/Generate.h"

#include "ArrayIO.h"

#include "quantopt/Runtime/Matrix.h"
#include "quantopt/Runtime/Pages.h"

#include "mlir/IR/Diagnostics.h"

#include <chrono>

using namespace mlir;
using namespace quantopt;

static double wallSeconds() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

namespace {
/// The sizes of a model.
struct Shape {
  int64_t batch, chunk, capacity, vocabulary;
};

/// An array of integers that are written before each call.
struct Numbers {
  HostArray array;
  std::byte *data = nullptr;
  bool wide = false;

  explicit Numbers(RankedTensorType type)
      : wide(type.getElementTypeBitWidth() == 64) {
    array = HostArray::allocate(wide ? DType::I64 : DType::I32,
                                type.getShape().vec(), data);
  }
  void set(int64_t index, int64_t value) {
    if (wide)
      reinterpret_cast<int64_t *>(data)[index] = value;
    else
      reinterpret_cast<int32_t *>(data)[index] = value;
  }
};

/// One of the two functions, and what its caller fills in.
struct Step {
  CompiledModule &compiled;
  std::vector<Numbers> numbers; // tokens, positions, last
  SmallVector<HostArray> results;

  Step(CompiledModule &compiled, unsigned count) : compiled(compiled) {
    for (RankedTensorType type : compiled.inputTypes().take_front(count))
      numbers.emplace_back(type);
  }

  /// Updates `caches`; the logits are the first of `results`.
  LogicalResult run(SmallVectorImpl<HostArray> &caches) {
    SmallVector<HostArray> inputs;
    for (const Numbers &array : numbers)
      inputs.push_back(array.array);
    llvm::append_range(inputs, caches);
    if (failed(compiled.runInPlace(inputs, results)))
      return failure();
    for (auto [cache, updated] :
         llvm::zip_equal(caches, compiled.inPlaceArguments()))
      cache = results[updated.result];
    return success();
  }
};

/// Generates for as many prompts as the model takes at once.
class Generation {
public:
  Generation(CompiledModule &prefill, CompiledModule &decode,
             const Shape &shape, const GenerateOptions &options,
             Location location, function_ref<void(int64_t, int64_t)> emit)
      : shape(shape), options(options), location(location), emit(emit),
        prefill(prefill, 3), decode(decode, 2), sampler(options.sampling) {}

  /// Memory for the caches; anything finite may be in them.
  LogicalResult allocateCaches();
  /// Goes on with `prompts`, of which the first has number `first`.
  LogicalResult run(ArrayRef<std::vector<int64_t>> prompts, int64_t first);

  GenerateFigures figures;

private:
  struct Sequence {
    int64_t number = 0;    // of the prompt
    int64_t length = 0;    // tokens in the caches
    int64_t prefilled = 0; // of the prompt's
    int64_t written = 0;   // new tokens
    int64_t next = 0;      // the token that follows
    bool ended = false;
  };

  LogicalResult readPrompts(ArrayRef<std::vector<int64_t>> prompts);
  LogicalResult prefillPrompts(ArrayRef<std::vector<int64_t>> prompts);
  LogicalResult decodePrompts(ArrayRef<std::vector<int64_t>> prompts);
  /// Chooses the next token of sequence `b` from row b of `logits`.
  LogicalResult take(const HostArray &logits, unsigned b);

  const Shape &shape;
  const GenerateOptions &options;
  Location location;
  function_ref<void(int64_t, int64_t)> emit;
  Step prefill, decode;
  Sampler sampler;
  SmallVector<HostArray> caches;
  std::vector<Sequence> sequences;
  std::vector<float> row;
};
} // namespace

LogicalResult Generation::allocateCaches() {
  constexpr size_t alignment = 64;
  size_t bytes = 0;
  for (InPlaceArgument cache : decode.compiled.inPlaceArguments()) {
    RankedTensorType type = decode.compiled.inputTypes()[cache.argument];
    HostArray &array = caches.emplace_back();
    array.dtype = *execution::dtypeOf(type.getElementType());
    array.shape = type.getShape().vec();
    bytes += llvm::alignTo(array.sizeInBytes(), alignment);
  }
  std::shared_ptr<std::byte> memory = allocateHugePages(bytes);
  if (!memory)
    return emitError(location, "no memory for the key/value caches");
  // The system finds the pages now, not while a prompt waits.
  std::fill_n(memory.get(), bytes, std::byte(0));
  std::byte *next = memory.get();
  for (HostArray &array : caches) {
    array.data = next;
    array.owner = memory;
    next += llvm::alignTo(array.sizeInBytes(), alignment);
  }
  return success();
}

LogicalResult Generation::take(const HostArray &logits, unsigned b) {
  Sequence &sequence = sequences[b];
  const std::byte *from =
      logits.data + b * shape.vocabulary * itemSize(logits.dtype);
  std::span<const float> values;
  if (logits.dtype == DType::F32) {
    values = {reinterpret_cast<const float *>(from), size_t(shape.vocabulary)};
  } else {
    row.resize(shape.vocabulary);
    widen(logits.dtype == DType::F16 ? FloatKind::F16 : FloatKind::BF16, from,
          shape.vocabulary, row.data());
    values = row;
  }
  double uniform =
      uniformNumber(options.sampling.seed + sequence.number, sequence.written);
  std::optional<int64_t> token = sampler.choose(values, uniform);
  if (!token)
    return emitError(location, "the model gives NaN or infinity for prompt ")
           << sequence.number << " after " << sequence.length << " tokens";
  sequence.next = *token;
  ++sequence.written;
  ++figures.newTokens;
  emit(sequence.number, *token);
  StopReason &reason = figures.reasons[sequence.number];
  sequence.ended = true;
  if (llvm::is_contained(options.stop, *token))
    reason = StopReason::Token;
  else if (sequence.written == options.maxTokens)
    reason = StopReason::Length;
  else if (sequence.length == shape.capacity)
    reason = StopReason::CacheFull;
  else
    sequence.ended = false;
  return success();
}

/// How many tokens of a prompt are read by prefill; the rest is read by decode,
/// a token at a time. That depends on the prompt alone, so that a prompt gives
/// the same text in any batch.
static int64_t countPrefilled(int64_t length, int64_t chunk) {
  // A prefill does the products of a whole chunk, decode reads all weights for
  // each token: a call of prefill takes as long as chunk / 4 of decode for
  // small models on two cores, chunk / 8 for large ones.
  constexpr int64_t chunkPerDecoded = 8;
  int64_t rest = length % chunk;
  return rest * chunkPerDecoded <= chunk ? length - rest : length;
}

LogicalResult
Generation::prefillPrompts(ArrayRef<std::vector<int64_t>> prompts) {
  int64_t longest = 0;
  for (const Sequence &sequence : sequences)
    longest = std::max(longest, sequence.prefilled);
  for (int64_t begin = 0; begin < longest; begin += shape.chunk) {
    for (int64_t b = 0; b < shape.batch; ++b) {
      ArrayRef<int64_t> prompt;
      if (b < int64_t(prompts.size()))
        prompt = prompts[b];
      for (int64_t t = 0; t < shape.chunk; ++t)
        prefill.numbers[0].set(
            b * shape.chunk + t,
            begin + t < int64_t(prompt.size()) ? prompt[begin + t] : 0);
      prefill.numbers[1].set(b, begin);
      prefill.numbers[2].set(
          b, std::clamp<int64_t>(int64_t(prompt.size()) - 1 - begin, 0,
                                 shape.chunk - 1));
    }
    if (failed(prefill.run(caches)))
      return failure();
    ++figures.prefillCalls;
    for (auto [b, sequence] : llvm::enumerate(sequences)) {
      int64_t last = sequence.length - 1;
      if (sequence.prefilled == sequence.length && last >= begin &&
          last < begin + shape.chunk && failed(take(prefill.results[0], b)))
        return failure();
    }
  }
  return success();
}

LogicalResult
Generation::decodePrompts(ArrayRef<std::vector<int64_t>> prompts) {
  int64_t longest = 0;
  for (const Sequence &sequence : sequences)
    longest = std::max(longest, sequence.length - sequence.prefilled);
  for (int64_t step = 0; step < longest; ++step) {
    for (int64_t b = 0; b < shape.batch; ++b) {
      int64_t token = 0, position = 0;
      if (b < int64_t(prompts.size())) {
        // Who waits writes where its next token will be.
        position = std::min(sequences[b].prefilled + step, sequences[b].length);
        if (position < sequences[b].length)
          token = prompts[b][position];
        position = std::min(position, shape.capacity - 1);
      }
      decode.numbers[0].set(b, token);
      decode.numbers[1].set(b, position);
    }
    if (failed(decode.run(caches)))
      return failure();
    for (auto [b, sequence] : llvm::enumerate(sequences))
      if (sequence.prefilled + step == sequence.length - 1 &&
          failed(take(decode.results[0], b)))
        return failure();
  }
  return success();
}

LogicalResult Generation::readPrompts(ArrayRef<std::vector<int64_t>> prompts) {
  for (auto [sequence, prompt] : llvm::zip(sequences, prompts)) {
    sequence.length = prompt.size();
    sequence.prefilled = countPrefilled(sequence.length, shape.chunk);
    figures.promptTokens += sequence.length;
  }
  return failed(prefillPrompts(prompts)) ? failure() : decodePrompts(prompts);
}

LogicalResult Generation::run(ArrayRef<std::vector<int64_t>> prompts,
                              int64_t first) {
  sequences.assign(prompts.size(), {});
  for (auto [b, sequence] : llvm::enumerate(sequences))
    sequence.number = first + b;
  double begin = wallSeconds();
  if (failed(readPrompts(prompts)))
    return failure();
  double middle = wallSeconds();
  figures.prefillSeconds += middle - begin;
  auto ended = [](const Sequence &sequence) { return sequence.ended; };
  while (!llvm::all_of(sequences, ended)) {
    for (int64_t b = 0; b < shape.batch; ++b) {
      // A sequence that has ended, or never was, writes where nobody looks.
      bool goesOn = b < int64_t(sequences.size()) && !sequences[b].ended;
      decode.numbers[0].set(b, goesOn ? sequences[b].next : 0);
      decode.numbers[1].set(b, goesOn ? sequences[b].length : 0);
    }
    if (failed(decode.run(caches)))
      return failure();
    ++figures.decodeCalls;
    for (auto [b, sequence] : llvm::enumerate(sequences)) {
      if (sequence.ended)
        continue;
      ++sequence.length;
      ++figures.decodedTokens;
      if (failed(take(decode.results[0], b)))
        return failure();
    }
  }
  figures.decodeSeconds += wallSeconds() - middle;
  return success();
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

/// Whether `compiled` takes `count` arrays of integers, then caches alone, and
/// gives logits and the caches.
static bool hasSignature(CompiledModule &compiled, unsigned count) {
  ArrayRef<RankedTensorType> inputs = compiled.inputTypes();
  ArrayRef<RankedTensorType> results = compiled.resultTypes();
  ArrayRef<InPlaceArgument> caches = compiled.inPlaceArguments();
  auto isStatic = [](RankedTensorType type) { return type.hasStaticShape(); };
  if (caches.empty() || inputs.size() != count + caches.size() ||
      results.size() != 1 + caches.size() || !llvm::all_of(inputs, isStatic) ||
      !llvm::all_of(results, isStatic))
    return false;
  for (auto [i, cache] : llvm::enumerate(caches))
    if (cache.argument != count + i || cache.result == 0)
      return false;
  for (auto [i, type] : llvm::enumerate(inputs.take_front(count))) {
    Type element = type.getElementType();
    if (!(element.isInteger(64) || element.isInteger(32)) ||
        type.getRank() != (i == 0 ? 2 : 1) ||
        type.getDimSize(0) != inputs[0].getDimSize(0))
      return false;
  }
  Type logit = results[0].getElementType();
  return results[0].getRank() == 2 &&
         results[0].getDimSize(0) == inputs[0].getDimSize(0) &&
         (logit.isF32() || logit.isF16() || logit.isBF16());
}

/// The sizes of a model whose functions fit each other.
static FailureOr<Shape> findShape(CompiledModule &prefill,
                                  CompiledModule &decode, Location location) {
  auto refuse = [&](StringRef why) {
    return emitError(location, "generation needs functions prefill(tokens, "
                               "positions, last, caches...) and decode(tokens, "
                               "positions, caches...) that give logits and "
                               "caches (lowbit.in_place): ")
           << why << " - import the model with --generate";
  };
  if (!hasSignature(prefill, 3))
    return refuse("'prefill' is another");
  if (!hasSignature(decode, 2))
    return refuse("'decode' is another");
  ArrayRef<RankedTensorType> caches = decode.inputTypes().drop_front(2);
  if (caches != prefill.inputTypes().drop_front(3) ||
      prefill.resultTypes() != decode.resultTypes())
    return refuse("their caches or logits differ");
  Shape shape = {};
  shape.batch = decode.inputTypes()[0].getDimSize(0);
  shape.chunk = prefill.inputTypes()[0].getDimSize(1);
  shape.vocabulary = decode.resultTypes()[0].getDimSize(1);
  for (RankedTensorType cache : caches)
    if (cache.getRank() < 3 || cache.getDimSize(0) != shape.batch ||
        cache.getDimSize(2) != caches[0].getDimSize(2))
      return refuse("a cache is not [sequences, heads, tokens, ...]");
  shape.capacity = caches[0].getDimSize(2);
  if (decode.inputTypes()[0].getDimSize(1) != 1 ||
      shape.capacity % shape.chunk != 0)
    return refuse("the caches are not filled by whole chunks of tokens");
  return shape;
}

static LogicalResult checkPrompts(ArrayRef<std::vector<int64_t>> prompts,
                                  const Shape &shape, Location location) {
  for (auto [number, prompt] : llvm::enumerate(prompts)) {
    if (prompt.empty())
      return emitError(location, "prompt ") << number << " has no tokens";
    if (int64_t(prompt.size()) > shape.capacity)
      return emitError(location, "prompt ")
             << number << " has " << prompt.size()
             << " tokens, and the model's caches hold " << shape.capacity
             << " - import it with a larger --cache-length";
    for (int64_t token : prompt)
      if (token < 0 || token >= shape.vocabulary)
        return emitError(location, "token ")
               << token << " of prompt " << number
               << " is outside the model's vocabulary of " << shape.vocabulary;
  }
  return success();
}

FailureOr<GenerateFigures>
quantopt::generate(CompiledModule &prefill, CompiledModule &decode,
                   ArrayRef<std::vector<int64_t>> prompts,
                   const GenerateOptions &options, Location location,
                   function_ref<void(int64_t, int64_t)> emit) {
  FailureOr<Shape> shape = findShape(prefill, decode, location);
  if (failed(shape) || failed(checkPrompts(prompts, *shape, location)))
    return failure();
  Generation generation(prefill, decode, *shape, options, location, emit);
  generation.figures.reasons.resize(prompts.size());
  if (failed(generation.allocateCaches()))
    return failure();
  for (size_t first = 0; first < prompts.size(); first += shape->batch)
    if (failed(generation.run(
            prompts.slice(
                first, std::min<size_t>(shape->batch, prompts.size() - first)),
            first)))
      return failure();
  return generation.figures;
}
