//===- ReportPage.cpp - The report as a web page --------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPage.h"

#include "ReportPageParts.h"
#include "ReportPageTemplate.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/Support/FormatVariadic.h"

#include <cmath>

using namespace llvm;

namespace quantopt::lowbit {

/// What a relative error is, for the measure of the first layer; the table has
/// a column for the measure where there are several.
static void writeMeaning(const ModelReport &report, raw_ostream &os) {
  StringRef measure = report.layers[0].errorMeasure;
  os << "<p>Relative error is the part of ";
  if (measure == "weights")
    os << "a layer's weights that is wrong: ‖ΔW‖² / ‖W‖². "
          "<b>0.01 means that 1 % of their energy is off</b>, 10 % in size. No "
          "data was looked at: an error that matters counts no more than one "
          "that does not.";
  else
    os << "a layer's output, on the calibration data, that is wrong: "
          "‖ΔW·X‖² / ‖W·X‖²"
       << (measure == "importance"
               ? ", as if the inputs had nothing to do with each other"
               : "")
       << ". <b>0.01 means that 1 % of the output's energy is off</b>, 10 % in "
          "size, however large the output is.";
  os << "</p>\n";
}

static void writeLevels(raw_ostream &os) {
  for (const ErrorLevel &level : errorLevels()) {
    os << formatv("<li><span class=\"level {0}\">{1}</span>", level.cssClass,
                  level.name);
    if (level.upTo < HUGE_VAL)
      os << " up to " << shortNumber(level.upTo);
    os << ": " << level.meaning << "</li>\n";
  }
}

static void writeDrift(const ModelReport &report, raw_ostream &os) {
  const LayerReport *last = nullptr;
  for (const LayerReport &layer : report.layers)
    if (layer.outputDrift)
      last = &layer;
  if (!last) {
    os << "<p>How far the output of each layer is from the float model's was "
          "not measured. The option <code>drift=true</code> does it, for the "
          "time of a second forward pass.</p>\n";
    return;
  }
  os << "<p>How far the output of each layer is from the float model's on the "
        "calibration data, with everything before it quantized too: "
        "‖y′ − y‖² / ‖y‖². Errors of single layers add up here, or "
        "cancel. At the last layer, "
     << nameHtml(last->name) << ", it is <b>" << shortNumber(*last->outputDrift)
     << "</b>.</p>\n";
}

static void writeSkipped(const ModelReport &report, raw_ostream &os) {
  if (report.skipped.empty()) {
    os << "<p>Nothing: every product and every table in the model is a "
          "quantized layer.</p>\n";
    return;
  }
  NamesByText groups;
  for (const SkippedReport &skip : report.skipped)
    groups[skip.reason].push_back(skip.name);
  os << "<p>Products and tables that were seen and are as they were, each with "
        "the "
        "reason.</p>\n";
  writeGroups(groups, "other", os);
}

/// JSON inside a script element: without "<" no text in it can end the element.
static void writeData(const json::Value &value, raw_ostream &os) {
  std::string text = formatv("{0}", value);
  for (char c : text)
    if (c == '<')
      os << "\\u003c";
    else
      os << c;
}

void writeReportPage(const ModelReport &report, raw_ostream &os) {
  std::vector<TableColumn> columns = tableColumns(report);
  StringMap<std::function<void()>> parts;
  auto fill = [&](StringRef text) {
    while (!text.empty()) {
      auto [before, rest] = text.split("%%");
      auto [part, after] = rest.split("%%");
      os << before;
      if (!part.empty())
        parts.at(part)();
      text = after;
    }
  };
  parts["title"] = [&] {
    os << "Quantization report: " << escaped(report.method);
  };
  parts["style"] = [&] { fill(reportPageStyle); };
  parts["labels"] = [&] { writeTableLabels(columns, os); };
  parts["headline"] = [&] { writeHeadline(report, os); };
  parts["meaning"] = [&] { writeMeaning(report, os); };
  parts["levels"] = [&] { writeLevels(os); };
  parts["drift"] = [&] { writeDrift(report, os); };
  parts["columns"] = [&] { writeTableHead(columns, os); };
  parts["rows"] = [&] { writeTableRows(report, columns, os); };
  parts["skipped"] = [&] { writeSkipped(report, os); };
  parts["report"] = [&] { writeData(report.toJSON(), os); };
  parts["page"] = [&] { writePageData(report, os); };
  parts["scripts"] = [&] { os << reportPageScripts; };
  fill(reportPageHtml);
}

} // namespace quantopt::lowbit
