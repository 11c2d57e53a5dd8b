//===- QuantizerPass.h - What all quantizer passes are ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZERPASS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZERPASS_H

#include "QuantizeModule.h"

#include "quantopt/Dialect/LowBit/Transforms/Passes.h"
#include "quantopt/Execution/CompiledModule.h"

// What the generated bases name as dependent dialects.
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace quantopt::lowbit {

/// On top of the base that tablegen makes of a QuantizePass: what calibration
/// needs, and the way from options to the run.
template <typename Base> class QuantizerPass : public Base {
public:
  using Base::Base;

  void getDependentDialects(mlir::DialectRegistry &registry) const override {
    Base::getDependentDialects(registry);
    registerExecutionDialects(registry);
  }

protected:
  friend QuantizeOptionText;

  /// The options that every quantizer has, as they were given.
  QuantizeOptionText optionText() { return QuantizeOptionText::of(*this); }

  /// Quantizes as `text` says, and where it says nothing as `start` does;
  /// `name` is what the report calls it.
  void quantize(const QuantizeOptionText &text, QuantizeOptions start,
                llvm::StringRef name) {
    mlir::ModuleOp module = this->getOperation();
    mlir::FailureOr<QuantizeOptions> options =
        parseQuantizeOptions(text, std::move(start), module);
    if (failed(options) || failed(quantizeModule(module, name, *options)))
      this->signalPassFailure();
  }
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZERPASS_H
