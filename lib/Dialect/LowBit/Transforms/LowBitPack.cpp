//===- LowBitPack.cpp - Planes for a target -------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Dialect/LowBit/IR/WeightLayout.h"
#include "quantopt/Dialect/LowBit/Transforms/Passes.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_LOWBITPACK
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct LowBitPackPass
    : public quantopt::lowbit::impl::LowBitPackBase<LowBitPackPass> {
  using LowBitPackBase::LowBitPackBase;

  void runOnOperation() override {
    std::optional<Layout> layout = layoutNamed(target.getValue());
    if (!layout || *layout == Layout::Dense) {
      getOperation().emitError("lowbit-pack knows no target '")
          << target << "' - give target=nvptx or cpu";
      return signalPassFailure();
    }
    WalkResult walk = getOperation().walk([&](WeightOp op) {
      return failed(convertLayout(op, *layout)) ? WalkResult::interrupt()
                                                : WalkResult::advance();
    });
    if (walk.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
