//===- VectorTarget.h - What a processor's vectors can do -------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The only part of the CPU kernels that knows instructions by name.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_CPU_VECTORTARGET_H
#define QUANTOPT_LIB_CODEGEN_CPU_VECTORTARGET_H

#include "KernelBuilder.h"

#include "quantopt/Codegen/CPU/LinearKernels.h"

namespace quantopt::cpu {

class VectorTarget {
public:
  explicit VectorTarget(const Target &target) : target(target) {}

  /// 32-bit lanes of a register, 4 to 16, and how many registers there are.
  int64_t lanes() const;
  int64_t registers() const { return hasManyRegisters() ? 32 : 16; }

  /// Whether dotBytes multiplies unsigned bytes up to `largest`; if not, it
  /// takes signed ones (isSigned).
  bool multipliesUnsigned(int64_t largest) const;

  /// acc + the sum of 4 products in each lane: `w` holds bytes, `x` signed
  /// bytes, both as i32 lanes.
  Value dotBytes(KernelBuilder &b, Value acc, Value w, Value x,
                 bool isSigned) const;
  /// acc + the sum of 2 products of bf16 in each lane; all as i32 lanes but
  /// acc.
  bool hasDotPairs() const { return target.bf16; }
  Value dotPairs(KernelBuilder &b, Value acc, Value w, Value x) const;

  /// For each byte, which is below 16, the entry of a table of bytes.
  Value lookupBytes(KernelBuilder &b, llvm::ArrayRef<int64_t> table,
                    Value bytes) const;
  /// For each i32 lane, by its low 4 bits, the entry of a table of f32.
  Value lookupFloats(KernelBuilder &b, llvm::ArrayRef<float> table,
                     Value lanes) const;
  /// For each 16-bit half of a lane, by its low 5 bits, an entry of a table of
  /// 32 halves; only where hasLookupHalves().
  bool hasLookupHalves() const { return isAvx512(target.isa); }
  Value lookupHalves(KernelBuilder &b, llvm::ArrayRef<int64_t> table,
                     Value lanes) const;

private:
  bool hasManyRegisters() const {
    return isAvx512(target.isa) || target.isa == Isa::Neon;
  }

  Target target;
};

} // namespace quantopt::cpu

#endif // QUANTOPT_LIB_CODEGEN_CPU_VECTORTARGET_H
