//===- Refine.h - Better scales and codes after GPTQ ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Three steps that lower the error of a quantized matrix further, by turns:
// codes and parameters of each group for all others given, the best scales for
// given codes, and the best code of each weight for all others given.
//
//===----------------------------------------------------------------------===//

#include "quantopt/Quantize/Gptq.h"

namespace quantopt {

/// `matrix` after one sweep over the groups of each row: GPTQ inside the group
/// towards the values that serve best with all other groups as they are by
/// then, under its parameters and their neighbours (scales within 4 %, zero
/// points one code and minima a third of the scale away). A group changes only
/// where the error of (H + damp) falls.
///
/// `w` as below. Granularity::Tensor and groups of more than 256 columns are
/// returned as they are. The same for any number of OpenMP threads.
QuantizedMatrix sweepGroups(const QuantizedMatrix &matrix,
                            std::span<const float> w, const GptqFactor &factor);

/// `matrix` with the scales (and for Minimum the minima) of least error of
/// (H + damp) for its codes: per row one system of all its groups, held to the
/// old parameters by 1e-6 of its diagonal, then rounded to the scale type. A
/// group keeps its old pair if the new scale has not the sign of the old one.
///
/// `w` [n, k] are the original weights, dead columns 0 (clearDeadColumns).
/// Granularity::Tensor and rows of more than 512 groups are returned as they
/// are. Rounding can make a row worse: compare rowErrors and keep the better,
/// as quantizeGptq does. The same for any number of OpenMP threads.
QuantizedMatrix refitScales(const QuantizedMatrix &matrix,
                            std::span<const float> w, const GptqFactor &factor);

/// `matrix` after one sweep of coordinate descent: columns in the order of
/// `factor`, each set to the code of least error of (H + damp) with all other
/// codes of its row as they are by then. `w` as above. The same for any number
/// of OpenMP threads.
QuantizedMatrix sweepCodes(const QuantizedMatrix &matrix,
                           std::span<const float> w, const GptqFactor &factor);

} // namespace quantopt
