//===- OwnWeights.cpp - The weights of a module's linears -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "OwnWeights.h"

using namespace quantopt;
using namespace quantopt::execution;

LinearHandler::~LinearHandler() = default;

std::string OwnWeights::run(const LinearCall &call) {
  auto it = weights.find(call.id);
  if (it == weights.end())
    return "host_linear " + std::to_string(call.id) +
           " has no weight in this module; run it with a handler that knows it";
  const OwnWeight &weight = it->second;
  if (weight.n != call.y.cols || weight.k != call.x.cols)
    return "host_linear " + std::to_string(call.id) +
           " has a weight of another shape";
  if (auto *matrix = std::get_if<MatrixRef>(&weight.source))
    multiplyTransposed(call.x, *matrix, call.y);
  else
    multiplyTransposed(call.x, std::get<WeightRows>(weight.source), call.y);
  return {};
}
