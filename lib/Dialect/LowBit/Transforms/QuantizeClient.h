//===- QuantizeClient.h - Quantize where the samples stand ------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZECLIENT_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZECLIENT_H

#include "QuantizeLayer.h"

#include "quantopt/Calibration/Calibrate.h"
#include "quantopt/Quantize/Hessian.h"

namespace quantopt::lowbit {

/// Quantizes each group of linears when all samples stand at it, each member as
/// its spec says. What the members need of the inputs is computed once for all:
/// H only if one of them needs it, a factorisation for each set of options.
class QuantizeClient : public CalibrationClient {
public:
  explicit QuantizeClient(QuantizationRun &run) : run(run) {}

  mlir::LogicalResult observe(llvm::ArrayRef<unsigned> linears,
                              llvm::ArrayRef<MatrixRef> inputs) override;
  void multiply(unsigned index, MatrixRef x, MutableMatrixRef y) override;

private:
  /// What a factorisation depends on beside the inputs.
  struct FactorKey {
    double levelTokens;
    GptqFactorOptions options;

    bool operator==(const FactorKey &) const = default;
  };
  using Factors = std::vector<std::pair<FactorKey, GptqFactor>>;

  FactorKey factorKey(unsigned index, const InputStatistics &inputs) const;
  /// Whether the layer is quantized by GPTQ on these inputs.
  bool usesHessian(unsigned index, const InputStatistics &inputs) const;
  Factors makeFactors(llvm::ArrayRef<unsigned> linears,
                      llvm::ArrayRef<RowBlock> rows,
                      const InputStatistics &inputs) const;
  mlir::LogicalResult quantize(unsigned index, const Factors &factors,
                               const InputStatistics &inputs, Seconds start);

  QuantizationRun &run;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZECLIENT_H
