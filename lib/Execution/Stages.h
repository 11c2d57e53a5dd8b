//===- Stages.h - The stages of a compilation, in order ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_STAGES_H
#define QUANTOPT_LIB_EXECUTION_STAGES_H

#include "OwnWeights.h"
#include "RuntimeCalls.h"

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Codegen/GPU/LinearKernels.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"

#include <functional>
#include <map>

namespace quantopt::execution {

/// Marks a linalg.generic that becomes a call of contract(): the value says
/// whether the result is stored or added to the init.
inline constexpr llvm::StringLiteral kContractAttr = "quantopt.contract";
inline bool isContraction(mlir::Operation *op) {
  return op->hasAttr(kContractAttr);
}
/// Whether a marked contraction adds to what its result holds.
inline bool addsToInit(mlir::Operation *op) {
  return op->getAttrOfType<mlir::StringAttr>(kContractAttr) == "add";
}

/// A constant that compiled code reads where it lies.
struct ExternalConstant {
  const char *data;
  mlir::RankedTensorType type;
};

/// An error that the graph itself can raise while it runs.
struct RuntimeCheck {
  std::string message;
  mlir::Location location;
};

/// An entry as its caller sees it.
struct Signature {
  llvm::SmallVector<mlir::RankedTensorType> inputs, results;
  llvm::SmallVector<InPlaceArgument> inPlace;
};

struct Compilation {
  mlir::ModuleOp module;
  mlir::func::FuncOp entry;
  Signature signature;
  llvm::SmallVector<InPlaceArgument> inPlace; // that the host writes
  std::vector<ExternalConstant> constants;    // extra arguments of the entry
  std::vector<std::shared_ptr<void>> owned; // copies that constants point into
  std::vector<RuntimeCheck> checks;
  std::vector<ExpertCalls> expertCalls;
  OwnWeights weights;
  /// Buffers are passed as plain pointers, which LLVM handles much faster than
  /// descriptors; possible where every shape is static.
  bool barePointers = false;
  unsigned numKernels = 0, numKernelCalls = 0;
  /// What generated code for the CPU may use, and what quantized linears
  /// multiply in.
  cpu::Target cpu;
  cpu::Products products;
  /// Kernels that are declared, and get their bodies with the last stage.
  llvm::SmallVector<cpu::LinearProblem> linearKernels;

  /// A run may wait in an observed linear, beside many others: then it must
  /// hold only what is alive.
  bool mayWait = false;

  /// For an object file: nothing of this process can be called, results are the
  /// caller's memory, and buffers are in an arena of so many bytes.
  bool ahead = false;
  int64_t arenaBytes = 0;

  /// The GPU to compile for, if not for this host. The rest is of GPUs alone.
  std::optional<kernels::Chip> chip;
  bool onDevice() const { return chip.has_value(); }
  /// Every shape must be known.
  bool needsStaticShapes() const { return onDevice() || ahead; }
  /// "the host" or "the GPU".
  llvm::StringRef place() const { return onDevice() ? "the GPU" : "the host"; }
  std::map<std::string, std::string, std::less<>> ptx; // by gpu.module
  /// What a launch calls a kernel, by gpu.module and name.
  std::map<std::pair<std::string, std::string>, int64_t> kernelNumbers;
  /// What the entry asks for depends on data: a run cannot be replayed.
  bool dependsOnData = false;
};

/// Loads every dialect and interface that a compilation may need.
void loadExecutionDialects(mlir::MLIRContext *context);

/// What code may use; bf16 products become f32 where the processor lacks them.
void setTarget(Compilation &compilation, const cpu::Target &target,
               const cpu::Products &products);

/// Runs all stages on function `entry` of the compilation's module; what comes
/// out is in LLVM's dialect. `afterStage` sees the IR between them.
mlir::LogicalResult
compileToLLVM(Compilation &compilation, llvm::StringRef entry,
              const std::function<void(llvm::StringRef, mlir::ModuleOp)>
                  &afterStage = {});

/// Leaves the entry alone in the module, callees inlined; refuses what later
/// stages do not know.
mlir::LogicalResult prepareModule(Compilation &compilation,
                                  llvm::StringRef entry);

/// Linears that wait for their kernels.
using LinearSet = llvm::SmallPtrSet<mlir::Operation *, 16>;

/// Finds the linears that have generated kernels, packs their weights and makes
/// matrices of what they read and write. Experts stay as they are.
mlir::FailureOr<LinearSet> prepareKernels(Compilation &compilation);

/// These linears -> calls of kernels, which take along elementwise ops behind
/// them.
mlir::LogicalResult lowerToKernels(Compilation &compilation);

/// lowbit.linear with a quantized weight -> see prepareKernels; with another
/// constant weight, or one that has no kernel -> lowbit.host_linear, or
/// lowbit.host_experts for all experts of a layer; with a computed weight -> a
/// contraction.
mlir::LogicalResult lowerLinears(Compilation &compilation);

/// Takes the constant float weight of `linear` as that of host_linear `id`.
mlir::LogicalResult addFloatWeight(Compilation &compilation, int64_t id,
                                   lowbit::LinearOp linear);

/// Assertions and out-of-range reads become reports of a failed check.
mlir::LogicalResult lowerChecks(Compilation &compilation);

/// Large constants become arguments of the entry.
mlir::LogicalResult moveConstantsOut(Compilation &compilation);

/// One spelling for everything: linalg.generic without unit dimensions,
/// contractions marked and reading their operands through transposes and
/// broadcasts.
mlir::LogicalResult normalize(Compilation &compilation);

/// Elementwise ops on concatenations become ops on their pieces.
mlir::LogicalResult splitConcatenations(mlir::func::FuncOp entry);

/// Elementwise chains become one op; chains of reductions over the same rows
/// become one loop over the rows.
mlir::LogicalResult fuse(Compilation &compilation);

/// Tensors -> buffers.
mlir::LogicalResult bufferize(Compilation &compilation);

/// Each loop or op of the entry becomes a call of a kernel; equal ones share
/// it.
mlir::LogicalResult outlineKernels(Compilation &compilation);

/// Kernels -> plain loops and runtime calls.
mlir::LogicalResult lowerKernels(Compilation &compilation);

/// Frees buffers and lowers everything to LLVM's dialect.
mlir::LogicalResult lowerToLLVM(Compilation &compilation);

/// Gives the buffers of `entry` that it frees itself places in one block: a new
/// last argument of an object file's function, else allocated by the entry.
void planBuffers(Compilation &compilation, mlir::func::FuncOp entry);

/// Adds passes that free each buffer after its last use.
void buildFreeBuffers(mlir::OpPassManager &passes);

/// Runs the canonicalizer and CSE.
mlir::LogicalResult cleanUp(mlir::ModuleOp module);
} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_STAGES_H
