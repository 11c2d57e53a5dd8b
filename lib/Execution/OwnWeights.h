//===- OwnWeights.h - The weights of a module's linears ---------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_OWNWEIGHTS_H
#define QUANTOPT_LIB_EXECUTION_OWNWEIGHTS_H

#include "quantopt/Execution/CompiledModule.h"
#include "quantopt/Runtime/Multiply.h"

#include "llvm/ADT/DenseMap.h"

#include <variant>

namespace quantopt::execution {

/// One weight: floats that lie somewhere, or something that can produce rows.
struct OwnWeight {
  int64_t n, k;
  std::variant<MatrixRef, WeightRows> source;
};

class OwnWeights : public LinearHandler {
public:
  std::string run(const LinearCall &call) override;

  void add(int64_t id, OwnWeight weight) {
    weights.insert({id, std::move(weight)});
  }
  bool contains(int64_t id) const { return weights.contains(id); }

private:
  llvm::DenseMap<int64_t, OwnWeight> weights;
};

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_OWNWEIGHTS_H
