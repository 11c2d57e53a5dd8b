//===- ContractionTiles.h - How a contraction is cut ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_CONTRACTIONTILES_H
#define QUANTOPT_LIB_EXECUTION_CONTRACTIONTILES_H

#include "quantopt/Codegen/CPU/LinearKernels.h"
#include "quantopt/Runtime/Contract.h"

namespace quantopt::execution {

/// The vector registers of a processor.
struct VectorRegisters {
  int64_t vectors; ///< of 16 f32 lanes that they hold together
  bool hasFma;
};

VectorRegisters registersOf(cpu::Isa isa);

/// How a product is computed in registers. Both give the same bits for any
/// number of threads and for any vector width, as long as there is an fma.
enum class ContractionForm {
  /// Sums of a tile side by side: a number of a times a vector of b, step by
  /// step along k.
  Outer,
  /// Products of vectors along k, whose lanes are added up at the end: for few
  /// rows, where k is contiguous in both operands.
  Dot,
};

/// A static choice, made from the shape and the registers alone. `a` is what
/// is read a number at a time; columns are what lies in the lanes of Outer.
struct ContractionTiles {
  ContractionPlan plan;
  bool swapped; ///< a and b of the plan are b and a of the op
  ContractionForm form;
  int64_t tileRows, tileColumns; ///< in registers
  int64_t taskRows, taskColumns; ///< of one task: what a thread takes
  int64_t depth;                 ///< steps of the innermost sum in one pass
  bool packA;   ///< rows of a are copied, because they lie badly or are not f32
  bool packB;   ///< columns of b are copied side by side
  bool inPlace; ///< sums stand in c between passes, not in a buffer

  /// The innermost sum, of size 1 if there is none.
  ContractionLoop innerSum() const;
};

/// Chooses tiles for c[i] (+)= sum of a * b. All sizes must be at least 1.
ContractionTiles chooseTiles(std::span<const ContractionLoop> loops,
                             FloatKind a, FloatKind b, FloatKind c,
                             const VectorRegisters &registers);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_CONTRACTIONTILES_H
