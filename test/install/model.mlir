// One linear layer, as an importer writes it. With one scale a row and 8 bits
// the codes of the largest weights are the ends of the range.

// CHECK: func.func @main
// CHECK: dense_resource<[[LAYER:.+]].codes> : tensor<3x4xi8>
// CHECK: arith.uitofp
// CHECK-NOT: lowbit
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  %w = arith.constant dense<[[0.5, -1.0, 0.25, 1.0], [1.0, 2.0, -2.0, 0.5],
                             [-0.5, 0.0, 0.125, 0.75]]> : tensor<3x4xf32>
  %zero = arith.constant 0.0 : f32
  %transposed = tensor.empty() : tensor<4x3xf32>
  %wt = linalg.transpose ins(%w : tensor<3x4xf32>)
                         outs(%transposed : tensor<4x3xf32>) permutation = [1, 0]
  %empty = tensor.empty() : tensor<2x3xf32>
  %init = linalg.fill ins(%zero : f32) outs(%empty : tensor<2x3xf32>) -> tensor<2x3xf32>
  %y = linalg.matmul ins(%x, %wt : tensor<2x4xf32>, tensor<4x3xf32>)
                     outs(%init : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
