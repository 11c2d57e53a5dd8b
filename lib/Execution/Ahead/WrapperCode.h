//===- WrapperCode.h - Wrapper.c as LLVM IR ---------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_AHEAD_WRAPPERCODE_H
#define QUANTOPT_LIB_EXECUTION_AHEAD_WRAPPERCODE_H

namespace quantopt::execution {

/// What the build makes of Wrapper.c.
extern const char *const wrapperCode;

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_AHEAD_WRAPPERCODE_H
