//===- HostCalls.cpp - Linears that the host multiplies -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/HostCalls.h"

using namespace mlir;
using namespace quantopt;

/// The call of the experts before `linear`, if it can do the work of both.
static lowbit::HostExpertsOp findChain(lowbit::LinearOp linear) {
  auto call = linear.getOthers().getDefiningOp<lowbit::HostExpertsOp>();
  bool joins = call && call->hasOneUse() &&
               call->getBlock() == linear->getBlock() &&
               call.getInput() == linear.getInput() &&
               call.getRouting() == linear.getRouting();
  return joins ? call : lowbit::HostExpertsOp();
}

static lowbit::HostExpertsOp callExperts(lowbit::LinearOp linear, int64_t id,
                                         bool observed) {
  int64_t expert = *linear.getExpert();
  lowbit::HostExpertsOp call = findChain(linear);
  if (!call) {
    OpBuilder builder(linear);
    return lowbit::HostExpertsOp::create(
        builder, linear.getLoc(), linear.getResult().getType(),
        linear.getInput(), linear.getRouting(), linear.getOthers(),
        ArrayRef(expert), ArrayRef(id), observed);
  }
  SmallVector<int64_t> experts(call.getExperts()), ids(call.getIds());
  experts.push_back(expert);
  ids.push_back(id);
  call.setExperts(experts);
  call.setIds(ids);
  call.setObserved(call.getObserved() || observed);
  return call;
}

Operation *quantopt::callHost(lowbit::LinearOp linear, int64_t id,
                              bool observed) {
  Operation *call;
  if (linear.isRouted()) {
    call = callExperts(linear, id, observed);
  } else {
    OpBuilder builder(linear);
    call = lowbit::HostLinearOp::create(
        builder, linear.getLoc(), linear.getResult().getType(),
        linear.getInput(), /*residual=*/Value(), id, observed);
  }
  linear.getResult().replaceAllUsesWith(call->getResult(0));
  linear.erase();
  return call;
}
