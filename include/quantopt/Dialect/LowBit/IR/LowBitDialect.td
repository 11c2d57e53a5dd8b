//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_IR_LOWBITDIALECT_TD
#define QUANTOPT_DIALECT_LOWBIT_IR_LOWBITDIALECT_TD

include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/OpBase.td"
include "quantopt/Dialect/LowBit/IR/LowBitInterfaces.td"

def LowBit_Dialect : Dialect {
  let name = "lowbit";
  let cppNamespace = "::quantopt::lowbit";
  let summary = "Linear layers with few bits per weight";
  let description = [{
    The dialect names the linear layers of a model (`lowbit.linear`), holds their
    quantized weights (`lowbit.weight`, `!lowbit.weight`) and says what the codes
    mean (schemes such as `#lowbit.affine`).

    Discardable attributes:

    | attribute | on | meaning |
    | --- | --- | --- |
    | `lowbit.calibration` | argument of the entry function | [samples, ...] inputs to calibrate with |
    | `lowbit.parameter` | argument of the entry function | name under which a side file holds its value |
    | `lowbit.in_place` | argument of a function | number of the result that is its next value, written where it lies |
    | `lowbit.aliases` | module | other names of shared parameters |
    | `lowbit.refused` | a contraction | why it is not a linear that can be quantized |
  }];
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let extraClassDeclaration = [{
    /// Where weights lie that kernels of this process read.
    PlaneMemory &getPlaneMemory() { return *planeMemory; }

  private:
    std::shared_ptr<PlaneMemory> planeMemory;

  public:
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::cf::ControlFlowDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"
  ];
}

def LowBit_AffineAttr : AttrDef<LowBit_Dialect, "Affine", [
    DeclareAttrInterfaceMethods<LowBit_SchemeInterface>]> {
  let mnemonic = "affine";
  let summary = "Integer codes with a scale, and a zero point or minimum, per group";
  let description = [{
    The value of code q is `(q - 2^(bits-1)) * s` (`symmetric`), `(q - z) * s`
    with an integer z (`integer_zero`), or `q * s + m` (`float_minimum`), each
    operation rounded to f32. Weights that share a scale: `group = G` neighbours
    in a row (the last group of a row may be short), a whole row (`per_channel`),
    the whole matrix (`per_tensor`), or `flat = G` neighbours of the flattened
    matrix, whatever rows they are in.

    Planes: `codes` tensor<N x ceil(K*bits/8) x i8>, least significant bits first
    along K, each row padded to a whole byte; `scales` tensor<R x G> of the scale
    type (one row, if rows share scales); `zeros` tensor<R x ceil(G*bits/8) x i8>,
    packed as the codes are, or `minima` tensor<R x G> of the scale type.

    Example:
    ```mlir
    #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>
    ```
  }];
  let parameters = (ins "::quantopt::Scheme":$scheme);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def LowBit_CodebookAttr : AttrDef<LowBit_Dialect, "Codebook", [
    DeclareAttrInterfaceMethods<LowBit_SchemeInterface>]> {
  let mnemonic = "codebook";
  let summary = "4-bit codes for the values of a table, with a scale per group";
  let description = [{
    The value of code q is `table[q] * s`, rounded to f32. Tables: `nf4` and `fp4`
    in the order of bitsandbytes, `iq4_nl` of llama.cpp, `e2m1` of OCP MX and NVFP4.
    Which weights share a scale is said as in `#lowbit.affine`. Scales are f16,
    bf16, f32, f8E8M0FNU or f8E4M3FN, or they are `nested`:

    * `dynamic`: s = map[i] * a + b, each operation rounded to f32, with a byte i
      for each scale, the 8-bit dynamic map, one f32 a for 256 bytes (in the order
      of the plane) and one f32 b: the double quantization of bitsandbytes;
    * `per_tensor`: s = e * a with an f8E4M3FN e for each scale and one f32 a.

    | format | scheme |
    | --- | --- |
    | bitsandbytes NF4 | `<nf4, group = 64, scale = f32>`; `flat = 64` where K is no multiple |
    | … with double quantization | `<nf4, group = 64, scale = f32, nested = dynamic>` |
    | IQ4_NL | `<iq4_nl, group = 32, scale = f16>` |
    | MXFP4 | `<e2m1, group = 32, scale = f8E8M0FNU>` |
    | NVFP4 | `<e2m1, group = 16, scale = f8E4M3FN, nested = per_tensor>` |

    Planes: `codes` and `scales` as in `#lowbit.affine`, the scales i8 if nested
    `dynamic`; `nested_scales` tensor<A x f32>; `nested_offset` tensor<1xf32>.

    Example:
    ```mlir
    #lowbit.codebook<nf4, group = 64, scale = f32, nested = dynamic>
    ```
  }];
  let parameters = (ins "::quantopt::Scheme":$scheme);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
}

def LowBit_LayoutAttr : AttrDef<LowBit_Dialect, "Layout"> {
  let mnemonic = "layout";
  let summary = "How the planes of a weight lie in memory";
  let description = [{
    `nvptx`: codes in the order in which a warp holds the A operand of mma and
    wgmma, 16 rows x 64 k a block, scales beside each other as a lane needs them;
    N and K are padded with zeros to whole blocks
    (`quantopt/Packing/FragmentOrder.h`). It takes scales of f16, bf16 or f32 per
    group or per channel. Planes: `codes` tensor<N/16 x K/64 x 128*bits x i8>,
    `scales` and `minima` tensor<N/16 x G x 16> of the scale type, `zeros`
    tensor<N/16 x G x 8 x i8>, of 16 bytes for more than 4 bits.

    `cpu`: codes in lines of 64 bytes, 4 neighbours in k of 16 rows, so that a
    shift and a mask make operands of a dot product of bytes
    (`quantopt/Packing/LineOrder.h`); the same schemes. Planes: `codes`
    tensor<N/16 x K/32 x 64*bits x i8>, `scales`, `minima` and `zeros` (a byte
    each) tensor<N/16 x G x 16>.

    Example:
    ```mlir
    #lowbit.layout<nvptx>
    ```
  }];
  let parameters = (ins "::quantopt::Layout":$layout);
  let hasCustomAssemblyFormat = 1;
}

def LowBit_WeightType : TypeDef<LowBit_Dialect, "Weight"> {
  let mnemonic = "weight";
  let summary = "A quantized [N, K] = [out, in] weight";
  let description = [{
    Shape, element type of the float weight it replaces, scheme, and the layout
    of the planes (none: the dense layout that the scheme describes).

    Example:
    ```mlir
    !lowbit.weight<576x1536xf32, #lowbit.affine<bits = 4, group = 64, integer_zero, scale = f16>>
    !lowbit.weight<576x1536xf32, #lowbit.codebook<nf4, group = 64, scale = f32>, #lowbit.layout<nvptx>>
    ```
  }];
  let parameters = (ins "int64_t":$n, "int64_t":$k, "::mlir::Type":$elementType,
                        "::quantopt::lowbit::SchemeInterface":$scheme,
                        OptionalParameter<"::quantopt::lowbit::LayoutAttr">:$layout);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// The layout, Dense if none is written.
    ::quantopt::Layout getPlaneLayout() const {
      return getLayout() ? getLayout().getLayout() : ::quantopt::Layout::Dense;
    }
    /// The planes of the scheme in the layout.
    ::llvm::SmallVector<::quantopt::lowbit::Plane> getPlanes() const {
      return getScheme().getPlanes(getN(), getK(), getPlaneLayout());
    }
  }];
}

#endif // QUANTOPT_DIALECT_LOWBIT_IR_LOWBITDIALECT_TD
