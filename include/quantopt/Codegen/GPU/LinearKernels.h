//===- LinearKernels.h - GPU kernels of linear layers -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// y = x * W^T with a packed quantized W [n, k] in fragment order
// (Packing/FragmentOrder.h), x [m, k] and y [m, n] row-major. From the problem
// to the kernels, and to what has to be launched.
//
// The weights are the A operand of the tensor cores (y^T = W * x^T), decoded in
// registers straight from global memory; sums are f32. Each output is summed in
// an order that only the problem decides, never the grid or the timing.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_GPU_LINEARKERNELS_H
#define QUANTOPT_CODEGEN_GPU_LINEARKERNELS_H

#include "quantopt/Quantize/FloatKinds.h"
#include "quantopt/Quantize/Scheme.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

#include <optional>

namespace quantopt::kernels {

/// A CUDA compute capability, as "sm_90a" says it.
struct Chip {
  unsigned sm = 80;          ///< 80, 89, 90, 100, 120
  bool archSpecific = false; ///< with the "a": instructions of this chip alone

  bool hasWgmma() const { return sm == 90 && archSpecific; }
  std::string name() const;
};

/// sm_80, sm_89, sm_90a, sm_100a, sm_120 and their like; nullopt for what is
/// older than sm_80 or no chip.
std::optional<Chip> parseChip(llvm::StringRef name);

/// One linear layer on `m` rows.
struct LinearProblem {
  /// In the form that packing leaves: per channel or group, scales of f16, bf16
  /// or f32, not nested.
  Scheme scheme;
  int64_t m = 1, n = 0, k = 0;
  FloatKind x = FloatKind::F16, y = FloatKind::F16; ///< types in memory
  /// Type in which the tensor cores multiply: F16 or BF16.
  FloatKind compute = FloatKind::F16;
  Chip chip;
  /// 0, or: as many matrices W, one after the other, of a mixture of experts.
  /// Operand::Routing says which expert each row of x goes to; y keeps what it
  /// holds in rows of no expert.
  int64_t experts = 0;
};

/// What a kernel is given. The workspaces are of the plan.
enum class Operand : uint8_t {
  Codes,
  Scales,
  Offsets, ///< zeros or minima
  X,
  Y,
  Arranged, ///< x in the type and order that the next kernel reads
  Dense,    ///< W in the type that is multiplied
  Partials, ///< sums over a part of k, f32
  Arrivals, ///< a counter for each tile, 0 before and after
  Routing,  ///< number of the expert of each row of x, i64
  Experts,  ///< numbers of the experts that there are, i64
  Groups,   ///< rows of x by expert
};

struct Dim3 {
  int64_t x = 1, y = 1, z = 1;
};

struct KernelLaunch {
  std::string kernel;
  Dim3 grid, block;
  int64_t sharedBytes = 0; ///< dynamic
  llvm::SmallVector<Operand> operands;
};

/// The launches of a linear layer, in order, on one stream.
using LinearPlan = llvm::SmallVector<KernelLaunch>;

/// The buffer that a kernel takes: X [m, k], Y [m, n], all others flat. Of the
/// workspaces the sizes are those that the problem's kernels need.
mlir::MemRefType operandType(mlir::MLIRContext *context,
                             const LinearProblem &problem, Operand operand);

/// Empty if there are kernels for the problem, else the rule it breaks.
std::string verify(const LinearProblem &problem);

/// Emits the kernels of a problem that verifies into `module`, one gpu.func for
/// each launch of the result. A kernel of the same name is used again.
LinearPlan emitLinear(mlir::gpu::GPUModuleOp module,
                      const LinearProblem &problem);

} // namespace quantopt::kernels

#endif // QUANTOPT_CODEGEN_GPU_LINEARKERNELS_H
