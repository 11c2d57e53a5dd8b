//===- ReportPage.h - The report as a web page ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGE_H

#include "quantopt/Dialect/LowBit/Transforms/Report.h"

namespace quantopt::lowbit {

/// Writes `report` as one HTML page that needs no other file. Headline and
/// table are plain HTML; scripts add the charts from the JSON in it.
void writeReportPage(const ModelReport &report, llvm::raw_ostream &os);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGE_H
