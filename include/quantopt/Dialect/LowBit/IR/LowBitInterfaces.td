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
    InterfaceMethod<"The planes of an [n, k] weight in `layout`, which holds "
                    "this scheme, in the order in which the other methods take "
                    "them.",
      "::llvm::SmallVector<::quantopt::lowbit::Plane>", "getPlanes",
      (ins "int64_t":$n, "int64_t":$k, "::quantopt::Layout":$layout)>,
    InterfaceMethod<"The scheme in which `layout` holds the values of an [n, k] "
                    "weight of this one; null if there is none.",
      "::quantopt::lowbit::SchemeInterface", "getSchemeIn",
      (ins "int64_t":$n, "int64_t":$k, "::quantopt::Layout":$layout)>,
    InterfaceMethod<"The planes of an [n, k] weight in another layout, of the "
                    "scheme that getSchemeIn gives: the same values, bit for "
                    "bit.",
      "::llvm::SmallVector<std::vector<uint8_t>>", "convertPlanes",
      (ins "int64_t":$n, "int64_t":$k,
           "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$planes,
           "::quantopt::Layout":$from, "::quantopt::Layout":$to)>,
    InterfaceMethod<"Bits stored per weight, metadata counted.",
      "double", "getBitsPerWeight", (ins "int64_t":$n, "int64_t":$k)>,
    InterfaceMethod<"The scalar meaning: rows [begin, end) of the float matrix "
                    "that the planes stand for, row-major into `out`.",
      "void", "dequantizeRows",
      (ins "int64_t":$n, "int64_t":$k,
           "::llvm::ArrayRef<::llvm::ArrayRef<char>>":$planes,
           "::quantopt::Layout":$layout,
           "int64_t":$begin, "int64_t":$end, "float *":$out)>,
    InterfaceMethod<"The same meaning as upstream IR: the rows of f32 whose "
                    "numbers are in the integer tensor `rows`, rounded to "
                    "`type`, which is [.., k]; an assertion fails if there is no "
                    "such row. All rows, [n, k], if `rows` is null.",
      "::mlir::Value", "emitDequantize",
      (ins "::mlir::OpBuilder &":$builder, "::mlir::Location":$loc,
           "int64_t":$n, "int64_t":$k, "::mlir::ValueRange":$planes,
           "::quantopt::Layout":$layout, "::mlir::Value":$rows,
           "::mlir::RankedTensorType":$type)>,
  ];
}

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOWBITINTERFACES_TD
