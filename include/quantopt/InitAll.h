//===- InitAll.h - Everything quant-opt registers ---------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_INITALL_H
#define QUANTOPT_INITALL_H

namespace mlir {
class DialectRegistry;
}

namespace quantopt {

/// Registers the lowbit dialect and all upstream dialects and extensions.
void registerAllDialects(mlir::DialectRegistry &registry);

/// Registers the passes of quant-opt (not the upstream ones).
void registerAllPasses();

} // namespace quantopt

#endif // QUANTOPT_INITALL_H
