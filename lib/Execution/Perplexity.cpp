//===- Perplexity.cpp - How well a language model predicts a text ---------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/Perplexity.h"

#include "ArrayIO.h"

#include "quantopt/Runtime/LogSoftmax.h"

#include "mlir/IR/Diagnostics.h"

#include <cmath>

using namespace mlir;
using namespace quantopt;

double Perplexity::perplexity() const { return std::exp(meanLoss()); }
double Perplexity::otherPerplexity() const {
  return std::exp(otherNegativeLogLikelihood / predictions);
}

namespace {

/// Gives the rows of logits as floats, one at a time.
class LogitRows {
public:
  explicit LogitRows(const HostArray &logits) : logits(logits) {
    if (logits.dtype != DType::F32)
      widened.resize(logits.shape.back());
  }

  std::span<const float> row(int64_t index) {
    int64_t length = logits.shape.back();
    if (logits.dtype == DType::F32)
      return {logits.as<float>() + index * length, size_t(length)};
    FloatKind kind =
        logits.dtype == DType::F16 ? FloatKind::F16 : FloatKind::BF16;
    widen(kind, logits.data + index * length * 2, length, widened.data());
    return widened;
  }

private:
  const HostArray &logits;
  std::vector<float> widened;
};

/// The shape that a language model has.
struct ModelShape {
  int64_t length, vocabulary;
  DType tokenType;
};

} // namespace

static FailureOr<ModelShape> modelShape(CompiledModule &model,
                                        Location location) {
  ArrayRef<RankedTensorType> inputs = model.inputTypes();
  ArrayRef<RankedTensorType> results = model.resultTypes();
  auto refuse = [&]() {
    return emitError(location,
                     "perplexity needs a model that takes tokens "
                     "(tensor<1xTxi64> or i32) and gives logits (tensor<1xTxV> "
                     "of f32, f16 or bf16)");
  };
  if (inputs.size() != 1 || results.size() != 1 || inputs[0].getRank() != 2 ||
      !inputs[0].hasStaticShape() || inputs[0].getDimSize(0) != 1 ||
      !results[0].hasStaticShape() || results[0].getRank() < 2)
    return refuse();
  Type token = inputs[0].getElementType(), logit = results[0].getElementType();
  int64_t length = inputs[0].getDimSize(1);
  int64_t rank = results[0].getRank();
  if (!(token.isInteger(64) || token.isInteger(32)) ||
      !(logit.isF32() || logit.isF16() || logit.isBF16()) ||
      results[0].getDimSize(rank - 2) != length ||
      results[0].getNumElements() != length * results[0].getDimSize(rank - 1))
    return refuse();
  return ModelShape{length, results[0].getDimSize(rank - 1),
                    token.isInteger(64) ? DType::I64 : DType::I32};
}

static FailureOr<HostArray> runWindow(CompiledModule &model,
                                      const ModelShape &shape,
                                      ArrayRef<int64_t> tokens) {
  std::byte *bytes;
  HostArray input =
      HostArray::allocate(shape.tokenType, {1, shape.length}, bytes);
  if (shape.tokenType == DType::I64)
    std::copy(tokens.begin(), tokens.end(), reinterpret_cast<int64_t *>(bytes));
  else
    std::copy(tokens.begin(), tokens.end(), reinterpret_cast<int32_t *>(bytes));
  SmallVector<HostArray> results;
  if (failed(model.run(input, results)))
    return failure();
  return results[0];
}

FailureOr<Perplexity> quantopt::measurePerplexity(
    CompiledModule &model, CompiledModule *other, const HostArray &tokens,
    std::optional<int64_t> maxWindows, Location location,
    llvm::function_ref<void(const Perplexity &)> progress) {
  FailureOr<ModelShape> shape = modelShape(model, location);
  if (failed(shape))
    return failure();
  int64_t length = shape->length, vocabulary = shape->vocabulary;
  if (other) {
    FailureOr<ModelShape> otherShape = modelShape(*other, location);
    if (failed(otherShape))
      return failure();
    if (otherShape->length != length || otherShape->vocabulary != vocabulary)
      return emitError(location, "the two models have different shapes: ")
             << length << " tokens of " << vocabulary << " and "
             << otherShape->length << " of " << otherShape->vocabulary;
  }
  if (length < 2)
    return emitError(location, "a window of one token predicts nothing");
  std::vector<int64_t> values = execution::readIntegers(tokens);
  bool flat = tokens.shape.size() == 1;
  if (values.empty() || tokens.shape.size() > 2 ||
      (!flat && tokens.shape[1] != length) || int64_t(values.size()) < length)
    return emitError(location,
                     "the tokens must be integers of shape [windows, ")
           << length << "] or a flat text of at least " << length;
  for (int64_t token : values)
    if (token < 0 || token >= vocabulary)
      return emitError(location, "token ")
             << token << " is outside the model's vocabulary of " << vocabulary;

  int64_t windows = values.size() / length;
  if (maxWindows)
    windows = std::min(windows, *maxWindows);
  Perplexity sums;
  for (int64_t window = 0; window < windows; ++window) {
    ArrayRef<int64_t> ids(values.data() + window * length, length);
    FailureOr<HostArray> logits = runWindow(model, *shape, ids);
    if (failed(logits))
      return failure();
    HostArray reference;
    if (other) {
      ModelShape otherShape = *modelShape(*other, location);
      FailureOr<HostArray> run = runWindow(*other, otherShape, ids);
      if (failed(run))
        return failure();
      reference = *run;
    }
    // One sum a position, added in order: the same for any number of threads.
    struct Score {
      double loss = 0, divergence = 0, otherLoss = 0;
      bool same = false;
    };
    std::vector<Score> scores(length - 1);
#pragma omp parallel
    {
      LogitRows rows(*logits), otherRows(other ? reference : *logits);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < length - 1; ++t) {
        Score &score = scores[t];
        LogSoftmax mine(rows.row(t));
        score.loss = -double(mine.logProbability(ids[t + 1]));
        if (!other)
          continue;
        LogSoftmax theirs(otherRows.row(t));
        score.divergence = divergence(theirs, mine);
        score.otherLoss = -double(theirs.logProbability(ids[t + 1]));
        score.same = theirs.top == mine.top;
      }
    }
    for (const Score &score : scores) {
      sums.negativeLogLikelihood += score.loss;
      sums.divergence += score.divergence;
      sums.otherNegativeLogLikelihood += score.otherLoss;
      sums.sameTop += score.same;
    }
    sums.predictions += length - 1;
    ++sums.windows;
    if (progress)
      progress(sums);
  }
  return sums;
}
