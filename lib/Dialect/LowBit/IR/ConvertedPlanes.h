//===- ConvertedPlanes.h - Weights that were converted ----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_DIALECT_LOWBIT_IR_CONVERTEDPLANES_H
#define QUANTOPT_LIB_DIALECT_LOWBIT_IR_CONVERTEDPLANES_H

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/IR/DialectInterface.h"

#include <map>
#include <mutex>

namespace quantopt::lowbit {

/// What planes became in another layout, those of one weight (a dictionary) or
/// of several beside each other (an array of dictionaries). Like their
/// resources it lives as long as the context, so that planes are converted
/// once, however many ops and modules read them.
class ConvertedPlanes : public mlir::DialectInterface::Base<ConvertedPlanes> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(ConvertedPlanes)

  explicit ConvertedPlanes(mlir::Dialect *dialect) : Base(dialect) {}

  /// Null if they are not known.
  mlir::DictionaryAttr find(mlir::Attribute planes, WeightType type,
                            Layout layout) {
    std::lock_guard<std::mutex> lock(mutex);
    auto it = known.find(key(planes, type, layout));
    return it == known.end() ? mlir::DictionaryAttr() : it->second;
  }

  /// `type` is that of a weight before.
  void add(mlir::Attribute planes, WeightType type, Layout layout,
           mlir::DictionaryAttr converted) {
    std::lock_guard<std::mutex> lock(mutex);
    known.insert({key(planes, type, layout), converted});
  }

private:
  using Key = std::tuple<const void *, const void *, Layout>;
  static Key key(mlir::Attribute planes, WeightType type, Layout layout) {
    return {planes.getAsOpaquePointer(), type.getAsOpaquePointer(), layout};
  }

  std::mutex mutex;
  std::map<Key, mlir::DictionaryAttr> known;
};

} // namespace quantopt::lowbit

#endif // QUANTOPT_LIB_DIALECT_LOWBIT_IR_CONVERTEDPLANES_H
