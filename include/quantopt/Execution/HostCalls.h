//===- HostCalls.h - Linears that the host multiplies -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_HOSTCALLS_H
#define QUANTOPT_EXECUTION_HOSTCALLS_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

namespace quantopt {

/// Replaces `linear` by a host_linear that calls the handler's run(id, x, y),
/// or a routed one by a host_experts that calls it on the rows of its expert,
/// and returns that op. The experts of one layer become one op: a routed linear
/// whose other rows come from a host_experts of the same input and routing
/// joins it. So what is compiled does not grow with their number.
mlir::Operation *callHost(lowbit::LinearOp linear, int64_t id, bool observed);

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_HOSTCALLS_H
