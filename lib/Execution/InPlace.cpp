//===- InPlace.cpp - Arguments that a function updates --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "quantopt/Execution/InPlace.h"

using namespace mlir;
using namespace quantopt;

FailureOr<SmallVector<InPlaceArgument>>
quantopt::inPlaceArguments(func::FuncOp function) {
  SmallVector<InPlaceArgument> found;
  for (auto [argument, type] : llvm::enumerate(function.getArgumentTypes())) {
    Attribute attr = function.getArgAttr(argument, kInPlaceAttr);
    if (!attr)
      continue;
    auto number = dyn_cast<IntegerAttr>(attr);
    int64_t result = number ? number.getInt() : -1;
    auto fail = [&](const Twine &why) {
      return function.emitError("attribute '")
             << kInPlaceAttr << "' of argument " << argument << " " << why;
    };
    if (result < 0 || result >= function.getNumResults())
      return fail("must be the number of a result, of which there are " +
                  Twine(function.getNumResults()));
    if (function.getResultTypes()[result] != type)
      return fail("names result " + Twine(result) + ", whose type is another");
    if (llvm::any_of(found, [&](InPlaceArgument other) {
          return other.result == result;
        }))
      return fail("names result " + Twine(result) +
                  ", as an argument before it does");
    found.push_back({unsigned(argument), unsigned(result)});
  }
  return found;
}
