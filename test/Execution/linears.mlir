// RUN: quant-run %s --random-input=1 --print | FileCheck %s
// RUN: quant-run %s --random-input=1 --print --target=emulator | FileCheck %s
// RUN: not quant-run %s --entry=foreign --random-input=1 2>&1 | FileCheck %s --check-prefix=FOREIGN

// A float weight, a splat, a computed weight and the same quantized.

// CHECK: [1, 2] F32: 10 20
// CHECK: [1, 2] F32: 8 8
// CHECK: [1, 2] F32: 20 40
// CHECK: [1, 2] F32: 2 4
func.func @main() -> (tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>) {
  %x = arith.constant dense<[[1.0, 1.0, 1.0, 1.0]]> : tensor<1x4xf32>
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 6.0, 8.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "a"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  %two = arith.constant dense<2.0> : tensor<2x4xf32>
  %z = lowbit.linear %x, %two {name = "b"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  %e = tensor.empty() : tensor<2x4xf32>
  %ww = linalg.mul ins(%w, %two : tensor<2x4xf32>, tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>
  %v = lowbit.linear %x, %ww {name = "c"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  // Codes 9, 9, 8, 8 of scale 1 and 2: 1, 1, 0, 0 and 2, 2, 0, 0.
  %q = lowbit.weight "d" {codes = dense<[[-103, -120], [-103, -120]]> : tensor<2x2xi8>,
                          scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>
  %u = lowbit.linear %x, %q {name = "d"} : (tensor<1x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>) -> tensor<1x2xf32>
  return %y, %z, %v, %u : tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>, tensor<1x2xf32>
}

// FOREIGN: run of 'foreign' failed: host_linear 7 has no weight in this module
func.func @foreign(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  %y = lowbit.host_linear %x {id = 7 : i64, observed} : tensor<2x4xf32> -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
