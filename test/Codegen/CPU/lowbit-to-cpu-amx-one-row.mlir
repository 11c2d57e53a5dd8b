// RUN: quant-opt %s --rtn-quantize="group-size=64 zero=none progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=amx compute=bf16" | FileCheck %s
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=avx512 compute=bf16" | FileCheck %s --check-prefix=PAIRS

// One row is multiplied in f32 where there is AMX, which takes less time than
// pairs of bf16.
// CHECK: call @lowbit_linear_amx_f32_
// PAIRS: call @lowbit_linear_avx512_bf16_
func.func @main(%x: tensor<1x128xf32>) -> tensor<1x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x128xf32>
  %y = lowbit.linear %x, %w {name = "linear"} : (tensor<1x128xf32>, tensor<32x128xf32>) -> tensor<1x32xf32>
  return %y : tensor<1x32xf32>
}
