//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_CODEGEN_GPU_PASSES_TD
#define QUANTOPT_CODEGEN_GPU_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowBitToGpu : Pass<"lowbit-to-gpu", "::mlir::ModuleOp"> {
  let summary = "Run linears with quantized weights by generated CUDA kernels";
  let description = [{
    Every lowbit.linear with a quantized weight becomes one or more
    gpu.launch_func of kernels in `gpu.module @lowbit_kernels`, which are
    generated for its scheme, its shape and the chip. Weights that are not packed
    (lowbit-pack) are packed first. All buffers, constants too, have to be in
    memory that the device can read.

    * up to 16 rows of x: weights are streamed through registers into mma.sync,
      the warps of a block split K;
    * up to 64, and more where there is no wgmma: x through a ring in shared
      memory, the loop over K of all blocks of rows cut into equal stripes;
    * more on sm_90a: wgmma with weights decoded into registers.

    Sums are f32, in an order that does not depend on timing. x and the weights
    are multiplied in f16 or bf16 (`compute`); the scales of groups of a multiple
    of 64 are applied to sums in f32 where registers allow it.

    Leading dimensions must be known. A linear with a float weight stays.
    `--lowbit-gpu-to-nvvm --gpu-module-to-binary` make machine code of the
    kernels.

    Example (test/Codegen/GPU/lowbit-to-gpu.mlir):
    ```mlir
    %y = lowbit.linear %x, %q {name = "fc"} : (tensor<4x576xf16>, !lowbit.weight<1536x576xf16, ...>) -> tensor<4x1536xf16>
    // ==>
    gpu.launch_func @lowbit_kernels::@skinny_w4g64s_f16_4_1536_576_... blocks in (%c96, ...) threads in (%c256, ...)
        args(%codes : memref<442368xi8>, %scales : memref<13824xf16>, %x : memref<4x576xf16>, %y : memref<4x1536xf16>)
    ```
  }];
  let options = [
    Option<"chip", "chip", "std::string", /*default=*/"\"sm_80\"",
           "sm_80, sm_89, sm_90a, sm_100a, sm_120 or another from sm_80 on">,
    Option<"compute", "compute", "std::string", /*default=*/"\"auto\"",
           "f16 or bf16; auto: the type of x, bf16 if that is f32">,
  ];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::gpu::GPUDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::memref::MemRefDialect", "::mlir::NVVM::NVVMDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"
  ];
}

def LowBitGpuToNvvm : Pass<"lowbit-gpu-to-nvvm", "::mlir::gpu::GPUModuleOp"> {
  let summary = "Lower kernels to NVVM, buffers as bare pointers";
  let description = [{
    What gpu-module-to-binary wants: gpu, scf, arith, math, vector and memref in a
    gpu.module become llvm and nvvm; a buffer argument of a kernel becomes one
    pointer.
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect",
                           "::mlir::NVVM::NVVMDialect"];
}

#endif // QUANTOPT_CODEGEN_GPU_PASSES_TD
