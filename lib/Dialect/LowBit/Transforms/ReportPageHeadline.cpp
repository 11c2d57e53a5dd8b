//===- ReportPageHeadline.cpp - The model in figures ----------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPageParts.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace quantopt::lowbit {

static std::string duration(double seconds) {
  if (seconds < 100)
    return formatv("{0:F1} s", seconds);
  if (seconds < 600)
    return formatv("{0:F1} min", seconds / 60);
  int64_t minutes = static_cast<int64_t>(seconds / 60 + .5);
  if (minutes < 100)
    return formatv("{0} min", minutes);
  return formatv("{0} h {1} min", minutes / 60, minutes % 60);
}

static double median(std::vector<double> values) {
  auto middle = values.begin() + (values.size() - 1) / 2;
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

static void writeTile(StringRef title, StringRef figure, StringRef note,
                      raw_ostream &os) {
  os << "<div class=\"tile\"><span>" << title << "</span><b>" << figure
     << "</b><span>" << note << "</span></div>\n";
}

static void writeTiles(const ModelReport &report, raw_ostream &os) {
  double factor =
      report.bytesAfter ? double(report.bytesBefore) / report.bytesAfter : 0;
  os << "<div class=\"tiles\">\n";
  writeTile("Bits per weight", formatv("{0:F2}", report.bitsPerWeight).str(),
            "scales and zero points counted", os);
  writeTile("Size of these weights", megabytes(report.bytesAfter),
            formatv("from {0}, {1:F1} times smaller",
                    megabytes(report.bytesBefore), factor)
                .str(),
            os);
  writeTile("Layers quantized", std::to_string(report.layers.size()),
            plural(report.skipped.size(), "other") + " left alone", os);
  std::vector<double> errors;
  for (const LayerReport &layer : report.layers)
    errors.push_back(layer.relativeError);
  writeTile("Typical error", shortNumber(median(errors)),
            "half of the layers have less", os);
  writeTile("Time", duration(report.wallSeconds),
            formatv("{0} of CPU", duration(report.cpuSeconds)).str(), os);
  writeTile("Peak memory", megabytes(report.peakBytes), "of the process", os);
  os << "</div>\n";
}

static void writeWarnings(const ModelReport &report, raw_ostream &os) {
  NamesByText groups;
  for (const LayerReport &layer : report.layers) {
    if (!layer.fallback.empty() && layer.sharesWeightOf.empty())
      groups[layer.fallback].push_back(layer.name);
    if (layer.deadColumns)
      groups[plural(layer.deadColumns, "input") +
             " that no calibration sample touched"]
          .push_back(layer.name);
    if (layer.rtnRelativeError > 0 && errorRatio(layer) > 1.001)
      groups["the error is above that of rounding to nearest"].push_back(
          layer.name);
  }
  if (groups.empty()) {
    os << "<div class=\"notes fine\"><h3>No warnings</h3>\n<p>Every layer is "
          "the method's own work, and no input was dead.</p></div>\n";
    return;
  }
  os << "<div class=\"notes warn\"><h3>To know</h3>\n";
  writeGroups(groups, "layer", os);
  os << "</div>\n";
}

static void writeWorst(const ModelReport &report, raw_ostream &os) {
  std::vector<const LayerReport *> order;
  for (const LayerReport &layer : report.layers)
    order.push_back(&layer);
  // Equal ones in the order of the model, in which they lie.
  sort(order, [](const LayerReport *a, const LayerReport *b) {
    return a->relativeError != b->relativeError
               ? a->relativeError > b->relativeError
               : a < b;
  });
  os << "<div class=\"notes\"><h3>Largest errors</h3>\n<ol>\n";
  for (const LayerReport *layer : ArrayRef(order).take_front(5))
    os << "<li>" << nameHtml(layer->name) << " "
       << errorHtml(layer->relativeError) << "</li>\n";
  os << "</ol></div>\n";
}

/// What all layers became, or how many kinds of scheme there are.
static std::string schemes(const ModelReport &report) {
  StringSet<> different;
  for (const LayerReport &layer : report.layers)
    different.insert(layer.scheme);
  if (different.size() > 1)
    return formatv("{0} schemes", different.size());
  return formatv("<code>{0}</code>", escaped(report.layers[0].scheme));
}

void writeHeadline(const ModelReport &report, raw_ostream &os) {
  os << "<p><code>" << escaped(report.method) << "</code>, "
     << (report.samples ? plural(report.samples, "calibration sample")
                        : std::string("no calibration data"))
     << ", " << schemes(report) << "</p>\n";
  writeTiles(report, os);
  os << "<div class=\"columns\">\n";
  writeWorst(report, os);
  writeWarnings(report, os);
  os << "</div>\n";
}

} // namespace quantopt::lowbit
