//===- LayerOptions.cpp - The table of what can be said of a layer --------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "LayerOptions.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Kinds of value
//===----------------------------------------------------------------------===//

// `field` takes a LayerSpec, const or not, to the field that an option is.

template <typename T> using Word = std::pair<StringLiteral, T>;

/// One of a few words.
template <auto field, const auto &words>
static bool setWord(StringRef text, LayerSpec &spec) {
  for (const auto &[word, value] : words)
    if (text == word) {
      field(spec) = value;
      return true;
    }
  return false;
}

template <auto field, const auto &words>
static std::string getWord(const LayerSpec &spec) {
  for (const auto &[word, value] : words)
    if (field(spec) == value)
      return word.str();
  return "";
}

template <auto field, const auto &words>
static constexpr LayerOption wordOption(StringLiteral name,
                                        StringLiteral expected) {
  return {name, expected, setWord<field, words>, getWord<field, words>};
}

static constexpr Word<bool> kFlags[] = {{"true", true}, {"false", false}};

template <auto field>
static constexpr LayerOption flagOption(StringLiteral name) {
  return wordOption<field, kFlags>(name, "'true' or 'false'");
}

static constexpr int64_t kNoLimit = INT64_MAX;

/// A whole number from `least` to `most`.
template <auto field, int64_t least, int64_t most>
static bool setInteger(StringRef text, LayerSpec &spec) {
  int64_t value;
  if (text.getAsInteger(10, value) || value < least || value > most)
    return false;
  field(spec) = value;
  return true;
}

template <auto field> static std::string getInteger(const LayerSpec &spec) {
  return std::to_string(field(spec));
}

template <auto field, int64_t least, int64_t most = kNoLimit>
static constexpr LayerOption integerOption(StringLiteral name,
                                           StringLiteral expected) {
  return {name, expected, setInteger<field, least, most>, getInteger<field>};
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static constexpr auto groupSizeOf = [](auto &spec) -> auto & {
  return spec.scheme.groupSize;
};
static constexpr auto granularityOf = [](auto &spec) -> auto & {
  return spec.scheme.granularity;
};
static constexpr Word<Granularity> kGranularities[] = {
    {"channel", Granularity::Channel}, {"tensor", Granularity::Tensor}};

static bool setGroupSize(StringRef text, LayerSpec &spec) {
  if (setWord<granularityOf, kGranularities>(text, spec)) {
    spec.scheme.groupSize = 0;
    return true;
  }
  if (!setInteger<groupSizeOf, 1, kNoLimit>(text, spec))
    return false;
  spec.scheme.granularity = Granularity::Group;
  return true;
}

static std::string getGroupSize(const LayerSpec &spec) {
  return spec.scheme.granularity == Granularity::Group
             ? getInteger<groupSizeOf>(spec)
             : getWord<granularityOf, kGranularities>(spec);
}

/// Another name for zero=none; false takes back only that.
static bool setSymmetric(StringRef text, LayerSpec &spec) {
  ZeroKind &zero = spec.scheme.zero;
  if (text == "true")
    zero = ZeroKind::Symmetric;
  else if (text != "false")
    return false;
  else if (zero == ZeroKind::Symmetric)
    zero = ZeroKind::Integer;
  return true;
}

static std::string getSymmetric(const LayerSpec &spec) {
  return spec.scheme.zero == ZeroKind::Symmetric ? "true" : "false";
}

static bool setLevelTokens(StringRef text, LayerSpec &spec) {
  double value;
  if (text.getAsDouble(value) || !(value >= 0 && value <= 1))
    return false;
  spec.levelTokens = value;
  return true;
}

static std::string getLevelTokens(const LayerSpec &spec) {
  return formatv("{0:R}", spec.levelTokens);
}

static bool setDamp(StringRef text, LayerSpec &spec) {
  double value;
  if (text == "auto") {
    spec.damp.reset();
    return true;
  }
  if (text.getAsDouble(value) || !(value >= 0 && value <= 1))
    return false;
  spec.damp = value;
  return true;
}

static std::string getDamp(const LayerSpec &spec) {
  return spec.damp ? formatv("{0:R}", *spec.damp).str() : "auto";
}

static constexpr Word<Method> kMethods[] = {{"rtn", Method::RoundToNearest},
                                            {"gptq", Method::Gptq}};
static constexpr Word<ZeroKind> kZeros[] = {{"integer", ZeroKind::Integer},
                                            {"float", ZeroKind::Minimum},
                                            {"none", ZeroKind::Symmetric}};
static constexpr Word<FloatKind> kScaleTypes[] = {{"f16", FloatKind::F16},
                                                  {"bf16", FloatKind::BF16},
                                                  {"f32", FloatKind::F32}};
static constexpr Word<SearchKind> kSearches[] = {
    {"none", SearchKind::None},
    {"lsq", SearchKind::LeastSquares},
    {"grid", SearchKind::Grid}};
static constexpr Word<Importance> kImportances[] = {
    {"none", Importance::None}, {"inputs", Importance::Inputs}};
static constexpr Word<ActOrder> kActOrders[] = {{"none", ActOrder::None},
                                                {"static", ActOrder::Static},
                                                {"gar", ActOrder::Gar}};

#define FIELD(name) [](auto &spec) -> auto & { return spec.name; }

static constexpr LayerOption kOptions[] = {
    wordOption<FIELD(method), kMethods>("method", "'rtn' or 'gptq'"),
    integerOption<FIELD(scheme.bits), 2, 8>("bits", "a number from 2 to 8"),
    {"group-size", "a number of at least 1, 'channel' or 'tensor'",
     setGroupSize, getGroupSize},
    wordOption<FIELD(scheme.zero), kZeros>("zero",
                                           "'integer', 'float' or 'none'"),
    {"symmetric", "'true' or 'false'", setSymmetric, getSymmetric},
    wordOption<FIELD(scheme.scaleType), kScaleTypes>("scale-type",
                                                     "'f16', 'bf16' or 'f32'"),
    flagOption<FIELD(search.fullRange)>("full-range"),
    wordOption<FIELD(search.kind), kSearches>("search",
                                              "'none', 'lsq' or 'grid'"),
    wordOption<FIELD(importance), kImportances>("importance",
                                                "'none' or 'inputs'"),
    wordOption<FIELD(actOrder), kActOrders>("act-order",
                                            "'none', 'static' or 'gar'"),
    {"level-tokens", "a number from 0 to 1", setLevelTokens, getLevelTokens},
    {"damp", "a number from 0 to 1, or 'auto'", setDamp, getDamp},
    integerOption<FIELD(blockSize), 1>("block-size", "a number of at least 1"),
    integerOption<FIELD(refinements), 0, 100>("refine",
                                              "a number from 0 to 100"),
    integerOption<FIELD(minTokens), 1>("min-tokens", "a number of at least 1"),
};

#undef FIELD

ArrayRef<LayerOption> layerOptions() { return kOptions; }

const LayerOption *findLayerOption(StringRef name) {
  const LayerOption *it = find_if(
      kOptions, [&](const LayerOption &option) { return option.name == name; });
  return it == std::end(kOptions) ? nullptr : it;
}

std::string optionText(const LayerSpec &spec, StringRef name) {
  return findLayerOption(name)->get(spec);
}

std::string describe(const LayerSpec &spec) {
  std::string text;
  StringRef separator;
  for (const LayerOption &option : kOptions) {
    text += formatv("{0}{1}={2}", separator, option.name, option.get(spec));
    separator = " ";
  }
  return text;
}

} // namespace quantopt::lowbit
