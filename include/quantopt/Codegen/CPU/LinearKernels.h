//===- LinearKernels.h - CPU kernels of linear layers -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// y = x * W^T with packed quantized weights W [n, k] in lines of 16 rows
// (Packing/LineOrder.h), x [m, k] and y [m, n] row-major: one function for all
// linears that read one x (q, k and v of an attention, gate and up of an MLP).
// Codes go from memory to products; no float weight is written back. The
// experts of a mixture are one function too, which sorts the rows of x by
// expert.
//
// A register holds neighbouring rows of W, one a lane; a word of x is broadcast
// against it: four i8, two bf16 or one f32. So one packed buffer serves every
// m, and nothing is shuffled across lanes. Sixteen of these registers, in
// memory, are what AMX takes as a matrix of 16 rows of W.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_CPU_LINEARKERNELS_H
#define QUANTOPT_CODEGEN_CPU_LINEARKERNELS_H

#include "quantopt/Quantize/FloatKinds.h"
#include "quantopt/Quantize/Scheme.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <memory>
#include <optional>

namespace quantopt::cpu {

/// The vector instructions that kernels are made of.
enum class Isa : uint8_t {
  Generic, ///< 16-byte vectors that any LLVM back end compiles
  Neon,    ///< AArch64 with dot products of bytes (+dotprod)
  Avx2,    ///< AVX2, FMA and F16C
  AvxVnni, ///< Avx2 and AVX-VNNI
  Avx512,  ///< AVX-512 F, BW, VL, VBMI and VNNI
  Amx,     ///< Avx512, and matrix registers: AMX-INT8 and AMX-BF16
};
/// Whether it has 512-bit vectors.
inline bool isAvx512(Isa isa) { return isa >= Isa::Avx512; }
/// As options spell it, and back.
llvm::StringRef isaName(Isa isa);
std::optional<Isa> parseIsa(llvm::StringRef name);

struct Target {
  Isa isa = Isa::Generic;
  bool bf16 = false; ///< dot products of bf16 (AVX512-BF16)
};
/// The best that a processor of these LLVM features ("+avx2,...") has.
Target targetOf(llvm::StringRef features);

/// What products are made of. Sums are i32 or f32.
enum class Compute : uint8_t {
  F32,  ///< x and the values of codes exactly
  BF16, ///< x rounded to bf16; the values of tables too, integers are exact
  I8,   ///< x as i8 with a scale for each row and segment of k (llama.cpp's and
        ///< ONNX Runtime's accuracy_level=4 contract); tables in 8 bits too
};
llvm::StringRef computeName(Compute compute);
std::optional<Compute> parseCompute(llvm::StringRef name);

struct Products {
  Compute compute = Compute::F32;
  /// As I8: columns that share a scale of x, a multiple of 32; fewer if groups
  /// of W are shorter. 32 is llama.cpp's.
  int64_t inputGroup = 32;
};
/// Empty if they are possible, else the rule they break.
std::string verify(const Products &products);
/// These, or more exact ones that take less time for `m` rows of x: one row is
/// multiplied in f32 instead of bf16 where there is AMX, whose processors take
/// longer for pairs of bf16 in vectors.
Products bestProducts(const Products &products, const Target &target,
                      int64_t m);

/// One weight among those that read the same x.
struct LinearWeight {
  /// In the form that packing leaves: per channel or group, scales of f16, bf16
  /// or f32, not nested.
  Scheme scheme;
  int64_t n = 0;
};

/// What becomes of the results of linears before they are written: a function
/// of one element of each, and of other arrays (a bias, a residual).
struct Epilogue {
  /// A further array [m, n], [n], [m] or [].
  struct Operand {
    bool hasRows, hasColumns;
    FloatKind type;
  };
  /// Which weights, all with one n, ascending. Their own y is not written.
  llvm::SmallVector<unsigned, 2> weights;
  llvm::SmallVector<Operand, 2> operands;
  FloatKind y = FloatKind::F32;
  /// (y of each weight, each operand) -> y, of scalars; elementwise ops alone.
  /// Its context must outlive it.
  std::shared_ptr<mlir::OwningOpRef<mlir::func::FuncOp>> body;
};

/// Numbers of experts whose weights, all of one kind, lie one after the other.
struct ExpertRange {
  int64_t first = 0, count = 0;
};

struct LinearProblem {
  llvm::SmallVector<LinearWeight, 2> weights;
  /// Each weight is in one at most.
  llvm::SmallVector<Epilogue, 1> epilogues;
  /// If there are any, the one weight is each expert's, and a row of x is
  /// multiplied with that of the expert it is sent to.
  ExpertRange experts;
  int64_t k = 0;
  /// Rows of x; mlir::ShapedType::kDynamic if they are known when called.
  int64_t m = 1;
  FloatKind x = FloatKind::F32, y = FloatKind::F32; ///< types in memory
  Products products;
  Target target;
};

/// Empty if there are kernels for the problem, else the rule it breaks.
std::string verify(const LinearProblem &problem);

/// Bytes of the workspace in which a call keeps x as it is multiplied, for each
/// row.
int64_t workspaceRowBytes(const LinearProblem &problem);

/// The type of the function: (x [m, k], workspace [m * workspaceRowBytes] of
/// i8, for experts the number of each row's [m] of i64, then for each weight
/// codes, scales, offsets unless it is symmetric, and y [m, n] unless it has an
/// epilogue; then for each of these its operands and y). Planes are flat, those
/// of experts one after the other. Rows of y that no expert gets stay as they
/// are.
mlir::FunctionType linearType(mlir::MLIRContext *context,
                              const LinearProblem &problem);

/// The function for a problem that verifies, without its body, unless `module`
/// has it.
mlir::func::FuncOp declareLinear(mlir::ModuleOp module,
                                 const LinearProblem &problem);

/// The same with its body and what that calls: it multiplies x with all
/// weights, on all threads. The result does not depend on the number of
/// threads.
mlir::func::FuncOp emitLinear(mlir::ModuleOp module,
                              const LinearProblem &problem);

} // namespace quantopt::cpu

#endif // QUANTOPT_CODEGEN_CPU_LINEARKERNELS_H
