func.func @main(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  %w = arith.constant dense<[[0.5, -1.0, 0.25, 1.0], [1.0, 2.0, -2.0, 0.5],
                             [-0.5, 0.0, 0.125, 0.75]]> : tensor<3x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"}
      : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
