//===- Nf4Quantize.cpp - Quantize as bitsandbytes does --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "QuantizerPass.h"

namespace quantopt::lowbit {
#define GEN_PASS_DEF_NF4QUANTIZE
#include "quantopt/Dialect/LowBit/Transforms/Passes.h.inc"
} // namespace quantopt::lowbit

using namespace mlir;
using namespace quantopt;
using namespace quantopt::lowbit;

namespace {
struct Nf4QuantizePass
    : QuantizerPass<quantopt::lowbit::impl::Nf4QuantizeBase<Nf4QuantizePass>> {
  using QuantizerPass::QuantizerPass;

  void runOnOperation() override {
    QuantizeOptionText text = optionText();
    text.give(flat, importance);
    QuantizeOptions start;
    start.layer.scheme = {4,
                          Granularity::Flat,
                          64,
                          ZeroKind::Symmetric,
                          ScaleKind::F32,
                          CodeTable::NF4};
    start.layer.search.kind = SearchKind::None;
    quantize(text, std::move(start), getArgument());
  }
};
} // namespace
