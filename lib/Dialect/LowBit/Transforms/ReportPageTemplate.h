//===- ReportPageTemplate.h - What all report pages share -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The files of the folder ReportPage, embedded by CMake. %%name%% stands for
// what ReportPage.cpp puts there.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGETEMPLATE_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGETEMPLATE_H

namespace quantopt::lowbit {

extern const char *const reportPageHtml;
extern const char *const reportPageStyle;
extern const char *const reportPageScripts;

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_REPORTPAGETEMPLATE_H
