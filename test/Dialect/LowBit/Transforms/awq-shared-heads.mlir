// RUN: quant-opt %s --lowbit-awq-scale="bits=3 group-size=4 progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json

// Two heads read each value: no factor per column of the output is one per value.
// CHECK: dense_resource<o.input_factors>
// JSON: "multiply": true
// JSON: "placed": "an inserted multiplication (it is the same for several channels)"
// JSON: "name": "o"

#from = affine_map<(i, h, j) -> (i, j)>
#all = affine_map<(i, h, j) -> (i, h, j)>
func.func @main(%x: tensor<4x8xf32> {lowbit.calibration = dense<[[[-0.7, -0.2, 1.7, 0.7, -1.6, -0.0, -0.6, 0.1], [-1.6, 0.2, 0.2, 1.6, 0.3, 0.5, -1.5, 2.3], [-1.9, 1.1, -0.3, -0.9, -0.7, -0.7, 0.4, -0.1], [1.5, -1.8, -0.0, -0.9, 0.8, -2.1, -0.3, 0.2]]]> : tensor<1x4x8xf32>}) -> tensor<4x3xf32> {
  %wv = arith.constant dense<[[0.0, 1.4, 1.2, -0.5, -0.3, -0.5, 0.6, -0.1], [0.7, -1.8, 1.6, -0.1, 0.7, -0.1, -0.4, 0.5], [0.8, -0.2, -0.2, 0.7, -0.9, -1.5, 0.4, -0.7], [-1.9, -0.8, -0.5, -1.2, -1.5, 0.0, 0.9, -0.2]]> : tensor<4x8xf32>
  %wo = arith.constant dense<[[-0.0, 1.0, 0.7, 0.7, 1.6, -1.2, -0.6, -1.3], [-0.1, 1.0, -0.0, 0.5, -1.9, 0.1, -0.9, 1.8], [0.9, 0.9, -0.1, 0.6, 0.7, -0.3, -0.5, -0.1]]> : tensor<3x8xf32>
  %v = lowbit.linear %x, %wv {name = "v"} : (tensor<4x8xf32>, tensor<4x8xf32>) -> tensor<4x4xf32>
  %e = tensor.empty() : tensor<4x2x4xf32>
  %h = linalg.generic {indexing_maps = [#from, #all], iterator_types = ["parallel", "parallel", "parallel"]} ins(%v : tensor<4x4xf32>) outs(%e : tensor<4x2x4xf32>) {
  ^bb0(%a: f32, %out: f32):
    linalg.yield %a : f32
  } -> tensor<4x2x4xf32>
  %f = tensor.collapse_shape %h [[0], [1, 2]] : tensor<4x2x4xf32> into tensor<4x8xf32>
  %o = lowbit.linear %f, %wo {name = "o"} : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
  return %o : tensor<4x3xf32>
}
