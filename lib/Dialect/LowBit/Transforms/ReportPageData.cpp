//===- ReportPageData.cpp - What the page's scripts read ------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPageParts.h"

#include "llvm/Support/Format.h"

#include <cmath>

using namespace llvm;

namespace quantopt::lowbit {

/// Shares of a total in hundred-thousandths; what is there at all is at least
/// 1.
static json::Array shares(ArrayRef<int64_t> counts) {
  double total = 0;
  for (int64_t count : counts)
    total += count;
  json::Array out;
  for (int64_t count : counts)
    out.push_back(count ? static_cast<int64_t>(std::ceil(1e5 * count / total))
                        : 0);
  return out;
}

/// A member of the object that `json` is in, with the digits that a chart
/// needs.
static void number(json::OStream &json, StringRef key, double value) {
  json.attributeBegin(key);
  json.rawValue([&](raw_ostream &os) { os << format("%.5g", value); });
  json.attributeEnd();
}

static void numbers(json::OStream &json, StringRef key,
                    ArrayRef<float> values) {
  json.attributeArray(key, [&] {
    for (float value : values)
      json.rawValue([&](raw_ostream &os) { os << format("%.5g", value); });
  });
}

static void writeAxis(json::OStream &json, const Histogram &histogram,
                      ArrayRef<float> grid) {
  number(json, "from", histogram.from);
  number(json, "to", histogram.to);
  json.attribute("bins", shares(histogram.counts));
  numbers(json, "grid", grid);
}

static void writeHistogram(json::OStream &json,
                           const GridHistogram &histogram) {
  double counted = 0;
  for (int64_t count : histogram.codeCounts)
    counted += count;
  json.object([&] {
    json.attributeObject("units", [&] {
      writeAxis(json, histogram.units, histogram.unitGrid);
      json.attribute("stored", shares(histogram.codeCounts));
    });
    json.attributeObject("absolute", [&] {
      writeAxis(json, histogram.absolute, histogram.typicalGrid);
    });
    number(json, "beyond", counted ? histogram.beyond / counted : 0);
    number(json, "min", histogram.minimum);
    number(json, "max", histogram.maximum);
    number(json, "deviation", histogram.deviation);
  });
}

void writePageData(const ModelReport &report, raw_ostream &os) {
  json::OStream json(os);
  json.object([&] {
    json.attributeArray("levels", [&] {
      for (const ErrorLevel &level : errorLevels())
        json.value(json::Object{{"name", level.name},
                                {"up_to", level.upTo < HUGE_VAL
                                              ? json::Value(level.upTo)
                                              : nullptr}});
    });
    json.attributeArray("histograms", [&] {
      for (const LayerReport &layer : report.layers)
        if (layer.histogram)
          writeHistogram(json, *layer.histogram);
        else
          json.value(nullptr);
    });
  });
}

} // namespace quantopt::lowbit
