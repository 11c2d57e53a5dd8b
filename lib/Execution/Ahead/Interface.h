//===- Interface.h - What C sees of an object file --------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_EXECUTION_AHEAD_INTERFACE_H
#define QUANTOPT_LIB_EXECUTION_AHEAD_INTERFACE_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/IR/Module.h"

#include <string>
#include <vector>

namespace quantopt::execution {

/// A function of the object file.
struct ObjectEntry {
  std::string name;
  /// As C has them: what is updated in place is no result.
  llvm::SmallVector<mlir::RankedTensorType> inputs, results;
  llvm::SmallVector<bool> updated; ///< by input
  /// Where the constants of the compiled function are in the file of weights.
  std::vector<int64_t> constants;
  std::vector<std::string> checks; ///< messages of those that can fail
};

struct ObjectInterface {
  std::string name; ///< of the model; what all symbols begin with
  std::vector<ObjectEntry> entries;
  uint64_t weightsSize, weightsDigest, arenaBytes;
  bool usesMatrices; ///< the registers of AMX
};

/// The header, whole.
std::string headerText(const ObjectInterface &interface);

/// Adds to `module`, which holds the code of Wrapper.c and, for each entry, a
/// function compiledName() of its inputs, constants, results and arena, the
/// functions that the header declares. Nothing else stays visible.
void addInterface(llvm::Module &module, const ObjectInterface &interface);

/// The name of the function that was compiled for an entry.
std::string compiledName(const ObjectEntry &entry);

} // namespace quantopt::execution

#endif // QUANTOPT_LIB_EXECUTION_AHEAD_INTERFACE_H
