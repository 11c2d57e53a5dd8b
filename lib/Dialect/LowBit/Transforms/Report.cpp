//===- Report.cpp - What a quantizer did, layer by layer ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPage.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Path.h"

using namespace llvm;

namespace quantopt::lowbit {

/// `text`, or null where there is none.
static json::Value textOrNull(StringRef text) {
  return text.empty() ? json::Value(nullptr) : json::fixUTF8(text);
}

static json::Value toJSON(const std::optional<AwqReport> &awq) {
  if (!awq)
    return nullptr;
  return json::Object{{"group", awq->group},
                      {"alpha", awq->alpha},
                      {"uses_weights", awq->usesWeights},
                      {"error_ratio", awq->errorRatio},
                      {"placed", awq->placed},
                      {"multiply", awq->isMultiply}};
}

StringRef describe(LayerRole role) {
  switch (role) {
  case LayerRole::Linear:
    return "linear";
  case LayerRole::Embedding:
    return "embedding";
  case LayerRole::Both:
    return "linear and embedding";
  }
  llvm_unreachable("a role that has no word");
}

json::Value toJSON(const LayerReport &layer) {
  return json::Object{{"name", json::fixUTF8(layer.name)},
                      {"role", describe(layer.role)},
                      {"n", layer.n},
                      {"k", layer.k},
                      {"scheme", layer.scheme},
                      {"method", layer.method},
                      {"tokens", layer.tokens},
                      {"bits_per_weight", layer.bitsPerWeight},
                      {"error_measure", layer.errorMeasure},
                      {"relative_error", layer.relativeError},
                      {"rtn_relative_error", layer.rtnRelativeError},
                      {"awq", lowbit::toJSON(layer.awq)},
                      {"damp", layer.damp},
                      {"asymmetric_strength", layer.asymmetricStrength},
                      {"output_drift", layer.outputDrift},
                      {"dead_columns", layer.deadColumns},
                      {"fallback", textOrNull(layer.fallback)},
                      {"shares_weight_of", textOrNull(layer.sharesWeightOf)},
                      {"seconds", layer.seconds}};
}

bool fromJSON(const json::Value &value, LayerReport &layer, json::Path path) {
  json::ObjectMapper map(value, path);
  std::optional<std::string> fallback, sharesWeightOf;
  if (!map || !map.map("name", layer.name) || !map.map("n", layer.n) ||
      !map.map("k", layer.k) || !map.map("scheme", layer.scheme) ||
      !map.map("method", layer.method) || !map.map("tokens", layer.tokens) ||
      !map.map("bits_per_weight", layer.bitsPerWeight) ||
      !map.map("error_measure", layer.errorMeasure) ||
      !map.map("relative_error", layer.relativeError) ||
      !map.map("rtn_relative_error", layer.rtnRelativeError) ||
      !map.map("damp", layer.damp) ||
      !map.map("asymmetric_strength", layer.asymmetricStrength) ||
      !map.map("output_drift", layer.outputDrift) ||
      !map.map("dead_columns", layer.deadColumns) ||
      !map.map("fallback", fallback) ||
      !map.map("shares_weight_of", sharesWeightOf) ||
      !map.map("seconds", layer.seconds))
    return false;
  layer.fallback = fallback.value_or("");
  layer.sharesWeightOf = sharesWeightOf.value_or("");
  return true;
}

json::Value ModelReport::toJSON() const {
  json::Array layerArray, skippedArray;
  for (const LayerReport &layer : layers)
    layerArray.push_back(lowbit::toJSON(layer));
  for (const SkippedReport &skip : skipped)
    skippedArray.push_back(json::Object{{"name", json::fixUTF8(skip.name)},
                                        {"reason", skip.reason}});
  return json::Object{
      {"model", json::Object{{"method", method},
                             {"error_measure", errorMeasure},
                             {"samples", samples},
                             {"weight_bytes_before", bytesBefore},
                             {"weight_bytes_after", bytesAfter},
                             {"bits_per_weight", bitsPerWeight},
                             {"wall_seconds", wallSeconds},
                             {"cpu_seconds", cpuSeconds},
                             {"peak_bytes", peakBytes}}},
      {"layers", std::move(layerArray)},
      {"skipped", std::move(skippedArray)}};
}

void printSkipped(ArrayRef<SkippedReport> skipped, raw_ostream &os) {
  std::vector<std::pair<StringRef, std::vector<StringRef>>> byReason;
  for (const SkippedReport &skip : skipped) {
    auto it = find_if(byReason,
                      [&](auto &entry) { return entry.first == skip.reason; });
    if (it == byReason.end())
      it = byReason.insert(it, {skip.reason, {}});
    it->second.push_back(skip.name);
  }
  for (auto &[reason, names] : byReason) {
    os << "left alone: " << names.front();
    if (names.size() > 1)
      os << " and " << names.size() - 1 << " more";
    os << ": " << reason << "\n";
  }
}

/// What became of the scales of all inputs, in one line.
static void printScaling(ArrayRef<LayerReport> layers, raw_ostream &os) {
  SmallSet<int64_t, 16> groups;
  unsigned folded = 0, multiplies = 0;
  for (const LayerReport &layer : layers) {
    if (!layer.awq || !groups.insert(layer.awq->group).second)
      continue;
    if (layer.awq->isMultiply)
      ++multiplies;
    else if (layer.awq->alpha > 0 || layer.awq->usesWeights)
      ++folded;
  }
  if (!groups.empty())
    os << formatv(
        "awq: {0} inputs, {1} scaled where they are computed, {2} by a "
        "multiplication that was inserted\n",
        groups.size(), folded, multiplies);
}

void ModelReport::print(raw_ostream &os) const {
  size_t width = 5;
  for (const LayerReport &layer : layers)
    width = std::max(width, layer.name.size());
  os << left_justify("layer", width)
     << "        N x K  bits/w  rel.error  rtn error  ratio   damp      s\n";
  for (const LayerReport &layer : layers) {
    double ratio = layer.rtnRelativeError > 0
                       ? layer.relativeError / layer.rtnRelativeError
                       : 0;
    os << left_justify(layer.name, width)
       << right_justify(formatv("{0}x{1}", layer.n, layer.k).str(), 13)
       << format("  %6.3f  %9.2e  %9.2e  %5.3f  %5.3f  %5.2f",
                 layer.bitsPerWeight, layer.relativeError,
                 layer.rtnRelativeError, ratio, layer.damp, layer.seconds);
    if (layer.role != LayerRole::Linear)
      os << "  " << describe(layer.role);
    if (layer.deadColumns)
      os << "  " << layer.deadColumns << " dead inputs";
    if (layer.awq)
      os << format("  awq %.2f", layer.awq->alpha)
         << (layer.awq->usesWeights ? "w" : "");
    if (!layer.fallback.empty())
      os << "  " << layer.fallback;
    os << "\n";
  }
  printSkipped(skipped, os);
  printScaling(layers, os);
  os << formatv(
      "{0}: {1} layers, {2:F2} -> {3:F2} MB, {4:F3} bits per weight, {5:F1} s "
      "wall, {6:F1} s CPU, peak {7:F0} MB\n",
      method, layers.size(), bytesBefore / 1e6, bytesAfter / 1e6, bitsPerWeight,
      wallSeconds, cpuSeconds, peakBytes / 1e6);
}

bool isReportPage(StringRef path) {
  return path.ends_with_insensitive(".html");
}

Error writeReport(StringRef path, const ModelReport &report) {
  return writeToOutput(path, [&](raw_ostream &os) {
    if (isReportPage(path))
      writeReportPage(report, os);
    else
      os << formatv("{0:2}", report.toJSON()) << "\n";
    return Error::success();
  });
}

std::string whyNotWritable(StringRef path) {
  if (path == "-")
    return "";
  if (sys::fs::is_directory(path))
    return "it is a directory";
  SmallString<128> directory(path);
  if (std::error_code error = sys::fs::make_absolute(directory))
    return error.message();
  sys::path::remove_filename(directory);
  if (!sys::fs::is_directory(directory))
    return formatv("there is no directory '{0}'", directory);
  if (sys::fs::exists(path) && !sys::fs::can_write(path))
    return "the file is read-only";
  if (!sys::fs::can_write(directory))
    return formatv("directory '{0}' is read-only", directory);
  return "";
}

} // namespace quantopt::lowbit
