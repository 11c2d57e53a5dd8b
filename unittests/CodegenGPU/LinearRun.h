//===- LinearRun.h - A linear layer on the emulator -------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_UNITTESTS_CODEGENGPU_LINEARRUN_H
#define QUANTOPT_UNITTESTS_CODEGENGPU_LINEARRUN_H

#include "quantopt/Codegen/GPU/LinearKernels.h"
#include "quantopt/PtxEmulator/PtxEmulator.h"

namespace quantopt::kernels {

/// Random data for a problem, and what y should be.
struct LinearCase {
  LinearProblem problem;
  std::vector<QuantizedMatrix> weights; ///< one, or those of the experts
  std::vector<int64_t> routing;         ///< [m], with experts
  std::vector<float> x;        ///< [m, k], values that problem.x can hold
  std::vector<double> y;       ///< [m, n] in double, of exact weights
  std::vector<double> absSums; ///< sum over k of |w| |x|
};
LinearCase makeCase(const LinearProblem &problem, unsigned seed);

/// The largest error of an output that rounding explains.
double errorBound(const LinearCase &linear, size_t output);

/// The kernels of a problem, as PTX that the emulator has parsed.
struct CompiledLinear {
  LinearPlan plan;
  llvm::SmallVector<int64_t> operandBytes; ///< by Operand
  std::string ptx;
  std::unique_ptr<ptx::Module> module;
};
/// Fails the running test on any error.
CompiledLinear compileLinear(const LinearProblem &problem);
/// The same kernels with another text.
CompiledLinear withPtx(const CompiledLinear &compiled, std::string ptx);

struct LinearResult {
  std::vector<float> y; ///< [m, n]
  std::string error;    ///< of the emulator; then there is no y
};
LinearResult runLinear(const CompiledLinear &compiled, const LinearCase &linear,
                       const ptx::RunOptions &options = {});

/// Empty if each output is right within its bound, else the first that is not.
std::string firstWrong(const LinearCase &linear, const std::vector<float> &y);

/// Runs a problem under all schedules: right within the bound, and the same
/// each time. With QUANTOPT_PTX_DIR set, writes its PTX there.
void check(const LinearProblem &problem);

/// 4 bits, symmetric, groups of 64, all f16, on sm_80.
LinearProblem problemOf(int64_t m, int64_t n, int64_t k);

/// `base` in the schemes that every kernel for many rows has to handle.
void checkSchemes(LinearProblem base);

} // namespace quantopt::kernels

#endif // QUANTOPT_UNITTESTS_CODEGENGPU_LINEARRUN_H
