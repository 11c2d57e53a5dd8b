//===- PlaneMemory.h - Memory for weights that kernels stream ---*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A kernel for one token reads every weight once and waits for memory all the
// time; walking page tables then costs as much as the data. Weights for it lie
// one after the other in huge pages, where the system has them: measured, that
// is up to twice as fast as small pages.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_PLANEMEMORY_H
#define QUANTOPT_DIALECT_LOWBIT_IR_PLANEMEMORY_H

#include "mlir/IR/AsmState.h"
#include "mlir/IR/BuiltinAttributes.h"

#include <memory>
#include <mutex>

namespace quantopt::lowbit {

/// One a context; the dialect owns it. Threads may use it at once.
class PlaneMemory {
public:
  /// A resource that holds copies of `parts`, one after the other; `key` is
  /// made unique.
  mlir::ElementsAttr create(mlir::RankedTensorType type, llvm::StringRef key,
                            llvm::ArrayRef<llvm::ArrayRef<char>> parts);

  /// `attr` with its bytes here: itself if they are, or if it is not a resource
  /// with data; else a resource of its own, the same for equal handles.
  mlir::ElementsAttr place(mlir::ElementsAttr attr);

private:
  struct Chunk;
  mlir::AsmResourceBlob copy(llvm::ArrayRef<llvm::ArrayRef<char>> parts);

  std::mutex mutex;
  std::shared_ptr<Chunk> current;
  size_t used = 0;
  llvm::DenseMap<mlir::Attribute, mlir::ElementsAttr> placed;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_DIALECT_LOWBIT_IR_PLANEMEMORY_H
