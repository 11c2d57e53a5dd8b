//===- LowBitUnpack.cpp - Planes as schemes say ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITUNPACK
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct LowBitUnpackPass
    : public quantopt::lowbit::impl::LowBitUnpackBase<LowBitUnpackPass> {
  void runOnOperation() override {
    WalkResult walk = getOperation().walk([&](WeightOp op) {
      return failed(convertLayout(op, Layout::Dense)) ? WalkResult::interrupt()
                                                      : WalkResult::advance();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
