//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_LOWBITOPS_TD
#define QUANTOPT_DIALECT_LOWBIT_IR_LOWBITOPS_TD

include "quantopt/Dialect/LowBit/IR/LowBitDialect.td"
include "mlir/IR/OpAsmInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class LowBit_Op<string mnemonic, list<Trait> traits = []>
    : Op<LowBit_Dialect, mnemonic, traits>;

def LowBit_AnyFloat : AnyTypeOf<[F32, F16, BF16], "f32, f16 or bf16">;
def LowBit_Tensor : RankedTensorOf<[LowBit_AnyFloat]>;
def LowBit_Routing : RankedTensorOf<[I64]>;

def LowBit_LinearOp : LowBit_Op<"linear", [Pure, AttrSizedOperandSegments]> {
  let summary = "y = x * W^T over the last dimension of x";
  let description = [{
    `x` is [..., K] with any leading dimensions, the weight is [N, K] = [out, in]
    and float or quantized, the result is [..., N]. Products and sums are f32,
    rounded once to the element type of the result. `name` is the layer's name:
    skip lists, reports and checkpoints speak it.

    A linear of a mixture of experts is `routed`: `routing`, of the leading
    dimensions of `x`, says which expert each row goes to. The rows of `expert`
    are multiplied, all others are those of `others`. So the experts of a layer
    are a chain of linears over one input, each `others` of the next.

    Example:
    ```mlir
    %y = lowbit.linear %x, %w {name = "model.layers.0.self_attn.q_proj"}
        : (tensor<1x128x576xf32>, tensor<192x576xf32>) -> tensor<1x128x192xf32>
    %1 = lowbit.linear %x, %w0 routed(%expert, %zeros) {expert = 0 : i64, name = "up.0"}
        : (tensor<9x64xf32>, tensor<96x64xf32>, tensor<9xi64>, tensor<9x96xf32>) -> tensor<9x96xf32>
    %2 = lowbit.linear %x, %w1 routed(%expert, %1) {expert = 1 : i64, name = "up.1"} : ...
    ```
  }];
  let arguments = (ins LowBit_Tensor:$input,
                       AnyTypeOf<[LowBit_Tensor, LowBit_WeightType]>:$weight,
                       Optional<LowBit_Routing>:$routing,
                       Optional<LowBit_Tensor>:$others,
                       StrAttr:$name, OptionalAttr<I64Attr>:$expert);
  let results = (outs LowBit_Tensor:$result);
  let assemblyFormat = [{
    $input `,` $weight (`routed` `(` $routing^ `,` $others `)`)? attr-dict
    `:` functional-type(operands, results)
  }];
  let builders = [
    OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$input,
                   "::mlir::Value":$weight, "::llvm::StringRef":$name), [{
      build($_builder, $_state, result, input, weight, ::mlir::Value(),
            ::mlir::Value(), name, ::mlir::IntegerAttr());
    }]>,
  ];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// Output channels.
    int64_t getN();
    /// Input channels.
    int64_t getK();
    /// True if the weight is quantized.
    bool isQuantized();
    /// True if only the rows of one expert are multiplied.
    bool isRouted() { return static_cast<bool>(getRouting()); }
  }];
}

def LowBit_WeightOp : LowBit_Op<"weight", [Pure]> {
  let summary = "A quantized weight";
  let description = [{
    Holds the planes of a quantized weight. Which planes there are, and their
    types, is said by scheme and layout of the result type; the blobs stay in the file
    that they were read from until code is generated.

    Example:
    ```mlir
    %q = lowbit.weight "fc" {codes = dense_resource<fc.codes> : tensor<8x32xi8>,
                             scales = dense_resource<fc.scales> : tensor<8x1xf16>}
        : !lowbit.weight<8x64xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>
    ```
  }];
  let arguments = (ins StrAttr:$layer, DictionaryAttr:$planes);
  let results = (outs LowBit_WeightType:$result);
  let assemblyFormat = "$layer $planes attr-dict `:` qualified(type($result))";
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    /// The plane attributes in the scheme's order.
    ::llvm::SmallVector<::mlir::ElementsAttr> getPlaneAttrs();
    /// The bytes of the planes in the scheme's order; on a missing or elided
    /// blob emits an error that names the layer and the key, and fails.
    ::mlir::FailureOr<::llvm::SmallVector<::llvm::ArrayRef<char>>> getPlaneData();
  }];
}

def LowBit_LookupOp : LowBit_Op<"lookup", [Pure]> {
  let summary = "Rows of a quantized weight, as an embedding reads them";
  let description = [{
    `rows` is a tensor [...] of numbers of rows, the result is [..., K]: those
    rows of the weight [N, K] as floats, computed in f32 and rounded once to the
    element type of the result. So an embedding and a linear read one weight, in
    whatever layout it lies. A number below 0 or not below N is an error: what the
    op is lowered to asserts that there is none.

    Example:
    ```mlir
    %e = lowbit.lookup %ids, %q
        : (tensor<1x128xi64>, !lowbit.weight<49152x576xf32, ...>) -> tensor<1x128x576xf32>
    ```
  }];
  let arguments = (ins RankedTensorOf<[I32, I64, Index]>:$rows,
                       LowBit_WeightType:$weight);
  let results = (outs LowBit_Tensor:$result);
  let assemblyFormat = [{
    $rows `,` $weight attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def LowBit_HostLinearOp : LowBit_Op<"host_linear", [
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "A linear layer whose weight lives outside the compiled code";
  let description = [{
    The form in which compiled code calls a linear layer: `id` tells the host
    which one, [..., K] goes in and [..., n] comes out. With `observed` the host
    sees the input as a side effect (calibration), so that the op stays even
    where nobody uses its result. It can be shown a `residual` as well: the
    value that the result is going to be added to, in any shape of the same
    rows of n.

    Example:
    ```mlir
    %y = lowbit.host_linear %x {id = 3 : i64, observed}
        : tensor<1x128x576xf32> -> tensor<1x128x192xf32>
    ```
  }];
  let arguments = (ins LowBit_Tensor:$input, Optional<LowBit_Tensor>:$residual,
                   I64Attr:$id, UnitAttr:$observed);
  let results = (outs LowBit_Tensor:$result);
  let assemblyFormat = [{
    $input (`residual` $residual^)? attr-dict `:` type($input)
    (`,` type($residual)^)? `->` type($result)
  }];
  let hasVerifier = 1;
}

def LowBit_HostExpertsOp : LowBit_Op<"host_experts", [
    AllTypesMatch<["others", "result"]>,
    DeclareOpInterfaceMethods<MemoryEffectsOpInterface>]> {
  let summary = "The experts of a layer, with weights outside the compiled code";
  let description = [{
    What a chain of routed linears becomes, as `host_linear` does from one that
    is not: for each of `experts` in turn the host multiplies the rows that
    `routing` sends there, under the number in `ids` at the same place. Rows of
    no expert in the list are those of `others`.

    Example:
    ```mlir
    %y = lowbit.host_experts %x routed(%expert, %zeros)
        {experts = array<i64: 0, 1>, ids = array<i64: 7, 8>, observed}
        : tensor<9x64xf32>, tensor<9xi64>, tensor<9x96xf32>
    ```
  }];
  let arguments = (ins LowBit_Tensor:$input, LowBit_Routing:$routing,
                       LowBit_Tensor:$others, DenseI64ArrayAttr:$experts,
                       DenseI64ArrayAttr:$ids, UnitAttr:$observed);
  let results = (outs LowBit_Tensor:$result);
  let assemblyFormat = [{
    $input `routed` `(` $routing `,` $others `)` attr-dict
    `:` type($input) `,` type($routing) `,` type($result)
  }];
  let hasVerifier = 1;
}

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOWBITOPS_TD
