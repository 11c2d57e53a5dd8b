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
  if (spec.scheme.granularity != Granularity::Flat)
    spec.scheme.granularity = Granularity::Group;
  return true;
}

static std::string getGroupSize(const LayerSpec &spec) {
  std::string word = getWord<granularityOf, kGranularities>(spec);
  return word.empty() ? getInteger<groupSizeOf>(spec) : word;
}

static bool setFlat(StringRef text, LayerSpec &spec) {
  Granularity &granularity = spec.scheme.granularity;
  if (text == "true")
    granularity = Granularity::Flat;
  else if (text != "false")
    return false;
  else if (granularity == Granularity::Flat)
    granularity = Granularity::Group;
  return true;
}

static std::string getFlat(const LayerSpec &spec) {
  return spec.scheme.granularity == Granularity::Flat ? "true" : "false";
}

static constexpr auto tableOf = [](auto &spec) -> auto & {
  return spec.scheme.table;
};
static constexpr Word<CodeTable> kTables[] = {{"none", CodeTable::Linear},
                                              {"nf4", CodeTable::NF4},
                                              {"fp4", CodeTable::FP4},
                                              {"iq4_nl", CodeTable::IQ4NL},
                                              {"e2m1", CodeTable::E2M1}};

/// Formats with all that belongs to them.
static constexpr Word<Scheme> kFormats[] = {
    {"mxfp4",
     {4, Granularity::Group, 32, ZeroKind::Symmetric, ScaleKind::E8M0,
      CodeTable::E2M1}},
    {"nvfp4",
     {4, Granularity::Group, 16, ZeroKind::Symmetric, ScaleKind::E4M3,
      CodeTable::E2M1, Nesting::PerTensor}}};

/// A table, or a format of OCP or NVIDIA.
static bool setTable(StringRef text, LayerSpec &spec) {
  Scheme &scheme = spec.scheme;
  for (const auto &[name, format] : kFormats)
    if (text == name) {
      scheme = format;
      return true;
    }
  bool hadTable = scheme.table != CodeTable::Linear;
  if (!setWord<tableOf, kTables>(text, spec))
    return false;
  if (scheme.table != CodeTable::Linear) {
    scheme.bits = 4;
    scheme.zero = ZeroKind::Symmetric;
  } else if (hadTable) {
    scheme.zero = ZeroKind::Integer;
    scheme.nesting = Nesting::None;
  }
  return true;
}

/// Of the formats the one that no other options say.
static std::string getTable(const LayerSpec &spec) {
  return spec.scheme.nesting == Nesting::PerTensor
             ? "nvfp4"
             : getWord<tableOf, kTables>(spec);
}

/// The second level of scales; false takes back only that.
static bool setDoubleQuant(StringRef text, LayerSpec &spec) {
  Scheme &scheme = spec.scheme;
  if (text == "true") {
    scheme.nesting = Nesting::Dynamic;
    scheme.scaleType = ScaleKind::F32;
  } else if (text != "false") {
    return false;
  } else if (scheme.nesting == Nesting::Dynamic) {
    scheme.nesting = Nesting::None;
  }
  return true;
}

static std::string getDoubleQuant(const LayerSpec &spec) {
  return spec.scheme.nesting == Nesting::Dynamic ? "true" : "false";
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
static constexpr Word<ScaleKind> kScaleTypes[] = {{"f16", ScaleKind::F16},
                                                  {"bf16", ScaleKind::BF16},
                                                  {"f32", ScaleKind::F32},
                                                  {"e8m0", ScaleKind::E8M0},
                                                  {"e4m3", ScaleKind::E4M3}};
static constexpr Word<SearchKind> kSearches[] = {
    {"none", SearchKind::None},
    {"lsq", SearchKind::LeastSquares},
    {"grid", SearchKind::Grid},
    {"clip", SearchKind::Clip}};
static constexpr Word<Importance> kImportances[] = {
    {"none", Importance::None},
    {"inputs", Importance::Inputs},
    {"outputs", Importance::Outputs}};
static constexpr Word<Scaling> kScalings[] = {{"none", Scaling::None},
                                              {"awq", Scaling::Awq}};
static constexpr Word<bool> kEmbeddings[] = {{"keep", false},
                                             {"quantize", true}};
static constexpr Word<ActOrder> kActOrders[] = {{"none", ActOrder::None},
                                                {"static", ActOrder::Static},
                                                {"gar", ActOrder::Gar}};
static constexpr Word<Asymmetric> kAsymmetrics[] = {{"off", Asymmetric::Off},
                                                    {"auto", Asymmetric::Auto},
                                                    {"on", Asymmetric::On}};

#define FIELD(name) [](auto &spec) -> auto & { return spec.name; }

static constexpr LayerOption kOptions[] = {
    wordOption<FIELD(method), kMethods>("method", "'rtn' or 'gptq'"),
    // A table decides about several of the others, which then have their say.
    {"table", "'none', 'nf4', 'fp4', 'iq4_nl', 'e2m1', 'mxfp4' or 'nvfp4'",
     setTable, getTable},
    {"double-quant", "'true' or 'false'", setDoubleQuant, getDoubleQuant},
    integerOption<FIELD(scheme.bits), 2, 8>("bits", "a number from 2 to 8"),
    {"group-size", "a number of at least 1, 'channel' or 'tensor'",
     setGroupSize, getGroupSize},
    {"flat", "'true' or 'false'", setFlat, getFlat},
    wordOption<FIELD(scheme.zero), kZeros>("zero",
                                           "'integer', 'float' or 'none'"),
    {"symmetric", "'true' or 'false'", setSymmetric, getSymmetric},
    wordOption<FIELD(scheme.scaleType), kScaleTypes>(
        "scale-type", "'f16', 'bf16', 'f32', 'e8m0' or 'e4m3'"),
    flagOption<FIELD(search.fullRange)>("full-range"),
    wordOption<FIELD(search.kind), kSearches>(
        "search", "'none', 'lsq', 'grid' or 'clip'"),
    wordOption<FIELD(importance), kImportances>(
        "importance", "'none', 'inputs' or 'outputs'"),
    wordOption<FIELD(scaling), kScalings>("scaling", "'none' or 'awq'"),
    wordOption<FIELD(quantizeEmbedding), kEmbeddings>("embeddings",
                                                      "'keep' or 'quantize'"),
    wordOption<FIELD(actOrder), kActOrders>("act-order",
                                            "'none', 'static' or 'gar'"),
    {"level-tokens", "a number from 0 to 1", setLevelTokens, getLevelTokens},
    {"damp", "a number from 0 to 1, or 'auto'", setDamp, getDamp},
    integerOption<FIELD(blockSize), 1>("block-size", "a number of at least 1"),
    integerOption<FIELD(refinements), 0, 100>("refine",
                                              "a number from 0 to 100"),
    wordOption<FIELD(asymmetric), kAsymmetrics>("asymmetric",
                                                "'off', 'auto' or 'on'"),
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
