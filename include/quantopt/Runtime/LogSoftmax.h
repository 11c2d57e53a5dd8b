//===- LogSoftmax.h - Sums over a row of logits -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_RUNTIME_LOGSOFTMAX_H
#define QUANTOPT_RUNTIME_LOGSOFTMAX_H

#include <cstdint>
#include <span>

namespace quantopt {

/// A row of logits and what the softmax needs of it.
struct LogSoftmax {
  std::span<const float> row; ///< not empty
  int64_t top;                ///< the first of the largest
  float shift; ///< log of the sum of exponentials, maximum included

  explicit LogSoftmax(std::span<const float> row);
  float logProbability(int64_t token) const { return row[token] - shift; }
};

/// KL(p || q): how far q is from p. Rows of one length.
double divergence(const LogSoftmax &p, const LogSoftmax &q);

} // namespace quantopt

#endif // QUANTOPT_RUNTIME_LOGSOFTMAX_H
