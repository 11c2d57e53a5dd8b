//===- ReportPageTable.cpp - A line for each layer ------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "ReportPageParts.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"

using namespace llvm;

namespace quantopt::lowbit {

std::vector<TableColumn> tableColumns(const ModelReport &report) {
  auto number = [](double value) { return value ? shortNumber(value) : ""; };
  std::vector<TableColumn> columns = {
      {"error", "relative_error", "error",
       [](auto &layer) { return errorHtml(layer.relativeError); }},
      {"if rounded", "rtn_relative_error", "",
       [](auto &layer) { return shortNumber(layer.rtnRelativeError); }},
      {"ratio", "ratio", "",
       [](auto &layer) { return formatv("{0:F3}", errorRatio(layer)).str(); }},
      {"drift", "output_drift", "",
       [](auto &layer) {
         return layer.outputDrift ? shortNumber(*layer.outputDrift) : "";
       },
       [](auto &layer) { return layer.outputDrift.has_value(); }},
      {"bits", "bits_per_weight", "",
       [](auto &layer) {
         return formatv("{0:F3}", layer.bitsPerWeight).str();
       }},
      {"size", "size", "",
       [](auto &layer) {
         return layer.sharesWeightOf.empty()
                    ? megabytes(layer.bitsPerWeight * layer.n * layer.k / 8)
                    : std::string("shared");
       }},
      {"shape", "shape", "",
       [](auto &layer) { return formatv("{0}×{1}", layer.n, layer.k).str(); }},
      {"damping", "damp", "", [=](auto &layer) { return number(layer.damp); },
       [](auto &layer) { return layer.damp != 0; }},
      {"dead inputs", "dead_columns", "",
       [](auto &layer) {
         return layer.deadColumns ? std::to_string(layer.deadColumns) : "";
       },
       [](auto &layer) { return layer.deadColumns != 0; }},
      {"tokens", "tokens", "",
       [](auto &layer) { return std::to_string(layer.tokens); },
       [](auto &layer) { return layer.tokens != 0; }},
      {"seconds", "seconds", "",
       [](auto &layer) { return formatv("{0:F2}", layer.seconds).str(); }},
      {"role", "role", "text",
       [](auto &layer) { return describe(layer.role).str(); },
       [](auto &layer) { return layer.role != LayerRole::Linear; }},
      {"scheme", "scheme", "text",
       [](auto &layer) {
         StringRef scheme = layer.scheme;
         scheme.consume_front("#lowbit.");
         return escaped(scheme);
       },
       [&](auto &layer) { return layer.scheme != report.layers[0].scheme; }},
      {"method", "method", "text",
       [](auto &layer) { return escaped(layer.method); },
       [&](auto &layer) { return layer.method != report.layers[0].method; }},
      {"error of", "error_measure", "text",
       [](auto &layer) { return escaped(layer.errorMeasure); },
       [&](auto &layer) {
         return layer.errorMeasure != report.layers[0].errorMeasure;
       }},
      {"note", "fallback", "text",
       [](auto &layer) { return escaped(layer.fallback); },
       [](auto &layer) { return !layer.fallback.empty(); }},
  };
  erase_if(columns, [&](const TableColumn &column) {
    return column.isUsed && none_of(report.layers, column.isUsed);
  });
  return columns;
}

void writeTableHead(ArrayRef<TableColumn> columns, raw_ostream &os) {
  os << "<th scope=\"col\" data-key=\"name\">layer</th>";
  for (const TableColumn &column : columns)
    os << formatv("<th scope=\"col\" class=\"{0}\" data-key=\"{1}\">{2}</th>",
                  column.cssClass, column.key, column.title);
}

void writeTableLabels(ArrayRef<TableColumn> columns, raw_ostream &os) {
  for (auto [i, column] : enumerate(columns))
    os << formatv("  #table td:nth-child({0})::before {{ content: \"{1}\"; }\n",
                  i + 2, column.title);
}

void writeTableRows(const ModelReport &report, ArrayRef<TableColumn> columns,
                    raw_ostream &os) {
  for (const LayerReport &layer : report.layers) {
    os << "<tr><th scope=\"row\">" << nameHtml(layer.name) << "</th>";
    for (const TableColumn &column : columns) {
      os << "<td";
      if (*column.cssClass)
        os << " class=\"" << column.cssClass << "\"";
      os << ">" << column.cell(layer) << "</td>";
    }
    os << "</tr>\n";
  }
}

} // namespace quantopt::lowbit
