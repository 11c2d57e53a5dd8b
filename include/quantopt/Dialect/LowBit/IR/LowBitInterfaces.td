//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_LOWBITINTERFACES_TD
#define QUANTOPT_DIALECT_LOWBIT_IR_LOWBITINTERFACES_TD

include "mlir/IR/Interfaces.td"

def LowBit_SchemeInterface : AttrInterface<"SchemeInterface"> {
  let cppNamespace = "::quantopt::lowbit";
  let description = [{
    A scheme says what a quantized [n, k] weight is: the planes it stores, what
    they cost, and which float value a code stands for. Passes, the verifier and
    the kernel generators know a format through this interface alone, so a new
    format is one new attribute.
  }];
  let methods = [
    InterfaceMethod<"The planes of an [n, k] weight, in the order in which the "
                    "other methods take them.",
      "::llvm::SmallVector<::quantopt::lowbit::Plane>", "getPlanes",
      (ins "int64_t":$n, "int64_t":$k)>,
    InterfaceMethod<"Bits stored per weight, metadata counted.",
      "double", "getBitsPerWeight", (ins "int64_t":$n, "int64_t":$k)>,
    InterfaceMethod<"The scalar meaning: rows [begin, end) of the float matrix "
                    "that the planes stand for, row-major into `out`.",
      "void", "dequantizeRows",
      (ins "int64_t":$n, "int64_t":$k,
           "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$planes,
           "int64_t":$begin, "int64_t":$end, "float *":$out)>,
    InterfaceMethod<"The same meaning as upstream IR: a tensor of `type` (f32, "
                    "[n, k]) computed from the planes.",
      "::mlir::Value", "emitDequantize",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "::mlir::ValueRange":$planes, "::mlir::RankedTensorType":$type)>,
  ];
}

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOWBITINTERFACES_TD
