//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_CPU_PASSES_TD
#define QUANTOPT_CODEGEN_CPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowBitToCpu : Pass<"lowbit-to-cpu", "::mlir::ModuleOp"> {
  let summary = "Run linears with quantized weights by generated CPU kernels";
  let description = [{
    Every lowbit.linear with a quantized weight becomes a call of a function that
    is generated for its scheme, its shape, the instructions of the target and
    the type of the products; linears that read the same value share one call,
    in which x is converted once and the rows of all weights are shared between
    threads. Weights that are not packed (lowbit-pack=target=cpu) are packed
    first; one packed buffer serves all targets and numbers of rows. A
    linalg.generic that goes over the elements of linears [m, n], and is all that
    reads them, is applied in the kernel: a bias, a residual, silu(gate) * up.

    The functions are loops over vectors in the dialects scf, arith and llvm,
    with names of the target's instructions; `scf.parallel` is for
    --convert-scf-to-openmp or what else there is.

    * `compute=f32`: exact products, f32 sums;
    * `compute=bf16`: x and the values of tables rounded to bf16 (AVX512-BF16);
    * `compute=i8`: x quantized for each row and group while it is read, products
      of bytes, the scales of both applied to sums of a group.

    `isa=amx` is avx512 with matrix registers for x of more than a few rows. Linux
    lets a process use them once it has asked (arch_prctl, ARCH_REQ_XCOMP_PERM of
    18, as quant-run and the object files of quant-translate do).

    The experts of a layer, with weights of one type and numbers that follow each
    other, are one call too: rows are sorted by expert when it is made. Groups that
    do not begin at multiples of 4 have no kernels.

    Example (test/Codegen/lowbit-to-cpu.mlir):
    ```mlir
    %y = lowbit.linear %x, %q {name = "fc"} : (tensor<4x576xf32>, !lowbit.weight<1536x576xf32, ...>) -> tensor<4x1536xf32>
    // ==>
    %y = memref.alloc() : memref<4x1536xf32>
    call @lowbit_linear_avx512_i8_...(%x, %workspace, %codes, %scales, %y)
    ```
  }];
  let options = [
    Option<"isa", "isa", "std::string", /*default=*/"\"avx512\"",
           "amx, avx512 (VNNI, VBMI), avxvnni, avx2, neon (with dot products) or "
           "generic">,
    Option<"bf16", "bf16", "bool", /*default=*/"true",
           "Whether avx512 has AVX512-BF16">,
    Option<"compute", "compute", "std::string", /*default=*/"\"f32\"",
           "f32, bf16 or i8">,
    Option<"inputGroup", "input-group", "int64_t", /*default=*/"32",
           "With compute=i8: columns that share a scale of x, a multiple of 32; "
           "fewer if groups of the weight are shorter">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::func::FuncDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

#endif // QUANTOPT_CODEGEN_CPU_PASSES_TD
