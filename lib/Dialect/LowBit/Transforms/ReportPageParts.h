//===- ReportPageParts.h - What the page is made of -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGEPARTS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGEPARTS_H

#include "quantopt/Dialect/LowBit/Transforms/Report.h"

#include "llvm/ADT/MapVector.h"

#include <map>

namespace quantopt::lowbit {

//===----------------------------------------------------------------------===//
// Words and numbers
//===----------------------------------------------------------------------===//

/// How large a relative error is, for people who see one for the first time.
struct ErrorLevel {
  double upTo;
  const char *name, *cssClass, *meaning;
};

/// All levels, the last without a limit (HUGE_VAL).
llvm::ArrayRef<ErrorLevel> errorLevels();

/// `text` as HTML that shows it.
std::string escaped(llvm::StringRef text);
/// A layer's name.
std::string nameHtml(llvm::StringRef name);
/// A relative error with its level.
std::string errorHtml(double error);

/// Two digits: 0.0019, 1.6e-5, 0.31.
std::string shortNumber(double value);
std::string megabytes(double bytes);
std::string plural(int64_t count, llvm::StringRef word);

/// The layer's error over that of rounding to nearest; 0 where that has none.
double errorRatio(const LayerReport &layer);

/// Names by a text that they share, in the order in which the texts appear.
using NamesByText = llvm::MapVector<std::string, std::vector<llvm::StringRef>,
                                    std::map<std::string, unsigned>>;

/// A list of the texts, each with its names; `word` is what one of them is.
void writeGroups(const NamesByText &groups, llvm::StringRef word,
                 llvm::raw_ostream &os);

//===----------------------------------------------------------------------===//
// Parts
//===----------------------------------------------------------------------===//

/// The figures of the whole model, its worst layers, and what to know.
void writeHeadline(const ModelReport &report, llvm::raw_ostream &os);

/// One column of the table after the name.
struct TableColumn {
  const char *title;
  const char *key; ///< what scripts sort by: of the JSON, or known to them
  const char *cssClass;
  std::function<std::string(const LayerReport &)> cell; ///< as HTML
  /// If given, a column is left out where this holds for no layer.
  std::function<bool(const LayerReport &)> isUsed = nullptr;
};

/// The columns that say something about this run. `report` must stay.
std::vector<TableColumn> tableColumns(const ModelReport &report);
void writeTableHead(llvm::ArrayRef<TableColumn> columns, llvm::raw_ostream &os);
void writeTableRows(const ModelReport &report,
                    llvm::ArrayRef<TableColumn> columns, llvm::raw_ostream &os);
/// Style rules: on a narrow screen each cell carries its column's title.
void writeTableLabels(llvm::ArrayRef<TableColumn> columns,
                      llvm::raw_ostream &os);

/// What the scripts need beside the report, as JSON: levels and histograms.
void writePageData(const ModelReport &report, llvm::raw_ostream &os);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGEPARTS_H
