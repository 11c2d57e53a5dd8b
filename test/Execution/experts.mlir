// RUN: quant-run %s --print | FileCheck %s
// RUN: quant-run %s --print --target=emulator | FileCheck %s
// RUN: quant-run %s --print-after=linears | FileCheck %s --check-prefix=LINEARS
// RUN: quant-opt %s --lowbit-to-linalg -o %t.mlir && quant-run %t.mlir --print | FileCheck %s

// Each row goes to one expert: a float weight, a splat, a computed and a
// quantized one. Row 4 goes to none, and no row to expert 4.

// CHECK: [6, 2] F32: 10 20 8 8 20 40 2 4 70 71 100 200
// LINEARS-COUNT-2: lowbit.host_experts
// LINEARS-NOT: lowbit.host_experts
func.func @main() -> tensor<6x2xf32> {
  %x = arith.constant dense<[[1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0],
                             [1.0, 1.0, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [10.0, 10.0, 10.0, 10.0]]> : tensor<6x4xf32>
  %expert = arith.constant dense<[0, 1, 2, 3, 9, 0]> : tensor<6xi64>
  %others = arith.constant dense<[[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [70.0, 71.0], [0.0, 0.0]]> : tensor<6x2xf32>
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]]> : tensor<2x4xf32>
  %two = arith.constant dense<2.0> : tensor<2x4xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %ww = linalg.mul ins(%w, %two : tensor<2x4xf32>, tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %q = lowbit.weight "d" {codes = dense<[[-103, -120], [-103, -120]]> : tensor<2x2xi8>,
                          scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>
  %0 = lowbit.linear %x, %w routed(%expert, %others) {expert = 0 : i64, name = "a"} : (tensor<6x4xf32>, tensor<2x4xf32>, tensor<6xi64>, tensor<6x2xf32>) -> tensor<6x2xf32>
  %1 = lowbit.linear %x, %two routed(%expert, %0) {expert = 1 : i64, name = "b"} : (tensor<6x4xf32>, tensor<2x4xf32>, tensor<6xi64>, tensor<6x2xf32>) -> tensor<6x2xf32>
  %2 = lowbit.linear %x, %ww routed(%expert, %1) {expert = 2 : i64, name = "c"} : (tensor<6x4xf32>, tensor<2x4xf32>, tensor<6xi64>, tensor<6x2xf32>) -> tensor<6x2xf32>
  %3 = lowbit.linear %x, %q routed(%expert, %2) {expert = 3 : i64, name = "d"} : (tensor<6x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>, tensor<6xi64>, tensor<6x2xf32>) -> tensor<6x2xf32>
  %4 = lowbit.linear %x, %w routed(%expert, %3) {expert = 4 : i64, name = "e"} : (tensor<6x4xf32>, tensor<2x4xf32>, tensor<6xi64>, tensor<6x2xf32>) -> tensor<6x2xf32>
  return %4 : tensor<6x2xf32>
}
