//===- InputRows.h - Inputs of a linear in f32 ------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_INPUTROWS_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_INPUTROWS_H

#include "quantopt/Quantize/Hessian.h"
#include "quantopt/Runtime/Matrix.h"

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/STLExtras.h"

namespace quantopt::lowbit {

/// The inputs of all samples in f32: in place where they are, else a copy.
class InputRows {
public:
  explicit InputRows(llvm::ArrayRef<MatrixRef> inputs) {
    for (const MatrixRef &input : inputs) {
      const float *data = static_cast<const float *>(input.data);
      if (input.kind != FloatKind::F32) {
        std::vector<float> &values =
            widened.emplace_back(input.rows * input.cols);
        widen(input.kind, input.data, values.size(), values.data());
        data = values.data();
      }
      blocks.push_back({data, input.rows});
    }
  }
  llvm::ArrayRef<RowBlock> get() const { return blocks; }

private:
  std::vector<RowBlock> blocks;
  std::vector<std::vector<float>> widened;
};

/// Calls `use` with the rows of `inputs` in their order, all at once where they
/// are f32, else sample by sample, so that only one of them is widened.
template <typename Use>
void forEachBatch(llvm::ArrayRef<MatrixRef> inputs, Use use) {
  bool inPlace = llvm::all_of(inputs, [](const MatrixRef &input) {
    return input.kind == FloatKind::F32;
  });
  size_t step = inPlace ? std::max<size_t>(inputs.size(), 1) : 1;
  for (; !inputs.empty(); inputs = inputs.drop_front(step))
    use(InputRows(inputs.take_front(step)).get());
}

/// `rows` of `k` values with weights that level their sizes (levelingWeights),
/// which live in `weights`; as they are if `levelTokens` is 0.
std::vector<RowBlock> levelRows(llvm::ArrayRef<RowBlock> rows, int64_t k,
                                double levelTokens,
                                std::vector<std::vector<float>> &weights);

/// H [k, k] of `inputs`, their rows leveled (HessianAccumulator).
std::vector<float> secondMoments(llvm::ArrayRef<MatrixRef> inputs, int64_t k,
                                 double levelTokens = 0);

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_TRANSFORMS_INPUTROWS_H
