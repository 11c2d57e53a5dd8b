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
#include "quantopt/Quantize/AsymmetricTarget.h"

namespace quantopt::lowbit {

/// Quantizes each group of linears when all samples stand at it, each member as
/// its spec says. What the members need of the inputs is computed once for all:
/// H only if one of them needs it, a factorisation for each set of options, the
/// drift from the float model if one makes up for it.
class QuantizeClient : public CalibrationClient {
public:
  explicit QuantizeClient(QuantizationRun &run) : run(run) {}

  bool wantsFloatStream() const override;
  mlir::LogicalResult observe(llvm::ArrayRef<unsigned> linears,
                              const GroupInputs &group) override;
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
  /// Stand-ins for the weights of some layers.
  struct Targets {
    std::vector<unsigned> layers;
    std::vector<WeightValues> weights;
    AsymmetricTargets solver;
  };

  /// What the linears of a group share that GPTQ is going to solve.
  struct Shared {
    InputStatistics inputs;
    Factors factors;
    std::vector<Targets> targets;
  };

  mlir::LogicalResult quantizeGroup(llvm::ArrayRef<unsigned> linears,
                                    const GroupInputs &group);
  /// Whether the layer is quantized by GPTQ on these inputs.
  bool usesHessian(unsigned index, const InputStatistics &inputs) const;
  /// The layers that GPTQ is going to solve for `linears`, each once.
  std::vector<unsigned> layersToSolve(llvm::ArrayRef<unsigned> linears,
                                      const InputStatistics &inputs) const;
  /// Whether rounding one of `linears` takes the second moments of its input.
  bool needsMoments(llvm::ArrayRef<unsigned> linears) const;
  /// Computes all of it.
  mlir::LogicalResult prepare(llvm::ArrayRef<unsigned> solved,
                              const GroupInputs &group, Shared &shared) const;
  mlir::FailureOr<std::optional<Targets>>
  makeTargets(llvm::ArrayRef<unsigned> layers, const GroupInputs &group,
              double levelTokens) const;
  mlir::LogicalResult quantize(unsigned index, const Shared &shared,
                               Seconds start);

  mlir::LogicalResult noteDrift(unsigned index, const GroupInputs &group);

  QuantizationRun &run;
  /// Layers whose float weights have been read since the last group.
  std::vector<unsigned> readSince;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_QUANTIZECLIENT_H
