//===- CompiledModule.h - A module compiled to be run -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A module of linalg on tensors, compiled in this process and called with
// arrays. Contractions go to the BLAS, everything else is fused into vector
// loops, equal ops share one piece of code, and weights stay where they are. Or
// it runs on a device: then everything is kernels, and weights are copied once.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_EXECUTION_COMPILEDMODULE_H
#define QUANTOPT_EXECUTION_COMPILEDMODULE_H

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Dialect/LowBit/IR/LowBit.h"
#include "quantopt/Execution/InPlace.h"
#include "quantopt/Formats/HostArray.h"
#include "quantopt/Runtime/Device.h"
#include "quantopt/Runtime/Matrix.h"

#include "mlir/IR/BuiltinOps.h"

#include <functional>
#include <optional>
#include <span>

namespace quantopt {

/// Compiled code has reached a host_linear, or an expert of a host_experts.
struct LinearCall {
  int64_t id;
  MatrixRef x;        ///< [m, k]
  MatrixRef residual; ///< [m, n]; without data where the op has none
  MutableMatrixRef y; ///< [m, n], to be written
  /// Which rows of its operand an expert got, ascending; else empty.
  std::span<const int64_t> rows;
};

/// What runs then. Called on the thread that called CompiledModule::run().
class LinearHandler {
public:
  virtual ~LinearHandler();
  /// Writes call.y. An error message that is not empty makes run() fail, once
  /// the rest of the graph has run.
  virtual std::string run(const LinearCall &call) = 0;
};

struct CompileOptions {
  /// Where to run: null for this host. It must outlive the module. Shapes must
  /// be static then, and run() takes no handler.
  Device *device = nullptr;
  unsigned optLevel = 3; ///< of LLVM, 0 to 3
  /// Vector instructions of generated kernels; all that this host has if empty.
  std::optional<cpu::Target> target = {};
  /// What quantized linears multiply in on this host; f32 where it lacks it.
  cpu::Products products = {};
  /// Receives the IR after each stage, for whoever debugs a compilation.
  std::function<void(llvm::StringRef stage, mlir::ModuleOp)> afterStage = {};
};

/// Registers every dialect, interface and translation that compile() may need.
/// A pass that calls compile() does this in getDependentDialects; elsewhere
/// compile() does it itself.
void registerExecutionDialects(mlir::DialectRegistry &registry);

class CompiledModule {
public:
  /// Compiles function `entry`, which takes and returns tensors. Emits MLIR
  /// diagnostics on failure. `module` is not changed; its resources must
  /// outlive the result, which reads them in place.
  static mlir::FailureOr<std::unique_ptr<CompiledModule>>
  compile(mlir::ModuleOp module, llvm::StringRef entry = "main",
          const CompileOptions &options = {});
  ~CompiledModule();

  llvm::ArrayRef<mlir::RankedTensorType> inputTypes() const;
  llvm::ArrayRef<mlir::RankedTensorType> resultTypes() const;

  /// The arguments that runInPlace() updates, in their order.
  llvm::ArrayRef<InPlaceArgument> inPlaceArguments() const;

  /// Runs the entry once. Several threads may do so at once, with handlers of
  /// their own. Uses omp_get_max_threads() threads; the result does not depend
  /// on how many. Without a handler the module's own weights are used.
  /// Failures are diagnostics at the entry: an array of the wrong shape or
  /// type, an assertion of the graph, a message of the handler.
  mlir::LogicalResult run(llvm::ArrayRef<HostArray> inputs,
                          llvm::SmallVectorImpl<HostArray> &results,
                          LinearHandler *handler = nullptr);

  /// The same, except that the arrays of inPlaceArguments() may be written: on
  /// return `results` holds their next values, on this host in the very memory
  /// of the inputs. When it fails they hold anything.
  mlir::LogicalResult runInPlace(llvm::ArrayRef<HostArray> inputs,
                                 llvm::SmallVectorImpl<HostArray> &results,
                                 LinearHandler *handler = nullptr);

  /// Multiplies with the module's own weights: float ones through the BLAS,
  /// quantized ones a panel of rows at a time, so that the whole float weight
  /// is never written.
  LinearHandler &ownWeights();

  /// Gives ownWeights() the constant float weight of `linear`, of any module,
  /// for host_linear `id`, which has none yet. It is read in place.
  mlir::LogicalResult addOwnWeight(int64_t id, lowbit::LinearOp linear);

  /// Kernels that were compiled, and calls of them: equal ops share one.
  unsigned numKernels() const;
  unsigned numKernelCalls() const;

  struct State; ///< of the implementation

private:
  explicit CompiledModule(std::unique_ptr<State> state);
  std::unique_ptr<State> state;
};

} // namespace quantopt

#endif // QUANTOPT_EXECUTION_COMPILEDMODULE_H
