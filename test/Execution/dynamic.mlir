// RUN: quant-run %s --entry=make --output-dir=%t
// RUN: quant-run %s --input=%t/result0.npy --input=%t/result1.npy --print | FileCheck %s

// Sizes that are known only at run time.

// CHECK: [2, 3] F32: 6 15 24 19 38 59
func.func @main(%x: tensor<?x3xf32>, %w: tensor<?x3xf32>) -> tensor<?x?xf32> {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : index
  %m = tensor.dim %x, %c0 : tensor<?x3xf32>
  %n = tensor.dim %w, %c0 : tensor<?x3xf32>
  %et = tensor.empty(%n) : tensor<3x?xf32>
  %t = linalg.transpose ins(%w : tensor<?x3xf32>) outs(%et : tensor<3x?xf32>) permutation = [1, 0]
  %e = tensor.empty(%m, %n) : tensor<?x?xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<?x?xf32>) -> tensor<?x?xf32>
  %y = linalg.matmul ins(%x, %t : tensor<?x3xf32>, tensor<3x?xf32>) outs(%f : tensor<?x?xf32>) -> tensor<?x?xf32>
  %z = linalg.add ins(%y, %y : tensor<?x?xf32>, tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) -> tensor<?x?xf32>
  %h = arith.constant 0.5 : f32
  %r = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>],
      iterator_types = ["parallel", "parallel"]} ins(%z : tensor<?x?xf32>) outs(%e : tensor<?x?xf32>) {
  ^bb0(%in: f32, %out: f32):
    %v = arith.mulf %in, %h : f32
    linalg.yield %v : f32
  } -> tensor<?x?xf32>
  return %r : tensor<?x?xf32>
}

func.func @make() -> (tensor<2x3xf32>, tensor<3x3xf32>) {
  %x = arith.constant dense<[[1.0, 1.0, 1.0], [0.0, 3.0, 4.0]]> : tensor<2x3xf32>
  %w = arith.constant dense<[[1.0, 1.0, 4.0], [4.0, 6.0, 5.0], [7.0, 9.0, 8.0]]> : tensor<3x3xf32>
  return %x, %w : tensor<2x3xf32>, tensor<3x3xf32>
}
