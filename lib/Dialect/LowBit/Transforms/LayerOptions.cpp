//===- LayerOptions.cpp - The table of what can be said of a layer --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerOptions.h"

#include "llvm/ADT/STLExtras.h"

#include <initializer_list>

using namespace llvm;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Kinds of value
//===----------------------------------------------------------------------===//

/// Sets `field` to the value of the word that `text` is.
template <typename T>
static bool setWord(StringRef text, T &field,
                    std::initializer_list<std::pair<StringRef, T>> words) {
  for (const auto &[word, value] : words)
    if (text == word) {
      field = value;
      return true;
    }
  return false;
}

static bool setFlag(StringRef text, bool &field) {
  return setWord(text, field, {{"true", true}, {"false", false}});
}

/// A whole number from `least` to `most`.
template <typename T>
static bool setInteger(StringRef text, T &field, int64_t least, int64_t most) {
  int64_t value;
  if (text.getAsInteger(10, value) || value < least || value > most)
    return false;
  field = static_cast<T>(value);
  return true;
}

/// A number from `least` to `most`.
static bool setNumber(StringRef text, double &field, double least,
                      double most) {
  double value;
  if (text.getAsDouble(value) || !(value >= least && value <= most))
    return false;
  field = value;
  return true;
}

static constexpr int64_t kNoLimit = INT64_MAX;

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static bool setGroupSize(StringRef text, LayerSpec &spec) {
  Scheme &scheme = spec.scheme;
  if (setWord(text, scheme.granularity,
              {{"channel", Granularity::Channel},
               {"tensor", Granularity::Tensor}})) {
    scheme.groupSize = 0;
    return true;
  }
  if (!setInteger(text, scheme.groupSize, 1, kNoLimit))
    return false;
  scheme.granularity = Granularity::Group;
  return true;
}

/// Another name for zero=none; false takes back only that.
static bool setSymmetric(StringRef text, LayerSpec &spec) {
  bool symmetric;
  if (!setFlag(text, symmetric))
    return false;
  ZeroKind &zero = spec.scheme.zero;
  if (symmetric)
    zero = ZeroKind::Symmetric;
  else if (zero == ZeroKind::Symmetric)
    zero = ZeroKind::Integer;
  return true;
}

static constexpr LayerOption kOptions[] = {
    {"method", "'rtn' or 'gptq'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(
           text, spec.method,
           {{"rtn", Method::RoundToNearest}, {"gptq", Method::Gptq}});
     }},
    {"bits", "a number from 2 to 8",
     [](StringRef text, LayerSpec &spec) {
       return setInteger(text, spec.scheme.bits, 2, 8);
     }},
    {"group-size", "a number of at least 1, 'channel' or 'tensor'",
     setGroupSize},
    {"zero", "'integer', 'float' or 'none'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(text, spec.scheme.zero,
                      {{"integer", ZeroKind::Integer},
                       {"float", ZeroKind::Minimum},
                       {"none", ZeroKind::Symmetric}});
     }},
    {"symmetric", "'true' or 'false'", setSymmetric},
    {"scale-type", "'f16', 'bf16' or 'f32'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(text, spec.scheme.scaleType,
                      {{"f16", FloatKind::F16},
                       {"bf16", FloatKind::BF16},
                       {"f32", FloatKind::F32}});
     }},
    {"full-range", "'true' or 'false'",
     [](StringRef text, LayerSpec &spec) {
       return setFlag(text, spec.search.fullRange);
     }},
    {"search", "'none', 'lsq' or 'grid'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(text, spec.search.kind,
                      {{"none", SearchKind::None},
                       {"lsq", SearchKind::LeastSquares},
                       {"grid", SearchKind::Grid}});
     }},
    {"importance", "'none' or 'inputs'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(
           text, spec.importance,
           {{"none", Importance::None}, {"inputs", Importance::Inputs}});
     }},
    {"act-order", "'none', 'static' or 'gar'",
     [](StringRef text, LayerSpec &spec) {
       return setWord(text, spec.actOrder,
                      {{"none", ActOrder::None},
                       {"static", ActOrder::Static},
                       {"gar", ActOrder::Gar}});
     }},
    {"damp", "a number from 0 to 1",
     [](StringRef text, LayerSpec &spec) {
       return setNumber(text, spec.damp, 0, 1);
     }},
    {"block-size", "a number of at least 1",
     [](StringRef text, LayerSpec &spec) {
       return setInteger(text, spec.blockSize, 1, kNoLimit);
     }},
    {"refine", "a number from 0 to 100",
     [](StringRef text, LayerSpec &spec) {
       return setInteger(text, spec.refinements, 0, 100);
     }},
    {"min-tokens", "a number of at least 1",
     [](StringRef text, LayerSpec &spec) {
       return setInteger(text, spec.minTokens, 1, kNoLimit);
     }},
};

ArrayRef<LayerOption> layerOptions() { return kOptions; }

const LayerOption *findLayerOption(StringRef name) {
  const LayerOption *it = find_if(
      kOptions, [&](const LayerOption &option) { return option.name == name; });
  return it == std::end(kOptions) ? nullptr : it;
}

} // namespace quantopt::lowbit
