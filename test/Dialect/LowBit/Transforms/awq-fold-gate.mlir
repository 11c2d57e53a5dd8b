// RUN: quant-opt %s --lowbit-awq-scale="bits=3 group-size=4 progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json

// Of a product one side takes the inverse scales, not the one in the sigmoid.
// CHECK-NOT: down.input_factors
// JSON: "multiply": false
// JSON: "placed": "up"
// JSON: "name": "down"

#rows = affine_map<(i, j) -> (i, j)>
func.func @main(%x: tensor<4x8xf32> {lowbit.calibration = dense<[[[-0.7, -0.2, 1.7, 0.7, -1.6, -0.0, -0.6, 0.1], [-1.6, 0.2, 0.2, 1.6, 0.3, 0.5, -1.5, 2.3], [-1.9, 1.1, -0.3, -0.9, -0.7, -0.7, 0.4, -0.1], [1.5, -1.8, -0.0, -0.9, 0.8, -2.1, -0.3, 0.2]]]> : tensor<1x4x8xf32>}) -> tensor<4x3xf32> {
  %wg = arith.constant dense<[[-1.1, -0.7, -0.8, 0.3, -0.2, 0.1, 0.8, 0.9], [0.5, -0.5, -0.8, -0.8, -0.3, -0.1, -1.0, -1.1], [0.3, -1.9, -0.2, 0.4, -1.0, -1.1, -0.8, 0.6], [-0.1, -1.9, -0.4, 1.0, 1.0, 0.6, -0.2, -1.8], [0.2, -0.2, 0.1, 1.5, 0.2, 0.3, 0.6, -0.3], [-0.7, -0.7, 0.8, 0.5, -0.5, 1.2, 0.2, -1.3], [0.6, -0.1, -1.3, 0.5, -0.3, -0.4, 0.6, -2.2], [-1.3, -0.4, 0.2, -0.7, -1.0, -1.1, -0.1, 0.7]]> : tensor<8x8xf32>
  %wu = arith.constant dense<[[0.0, 0.3, -0.3, -0.9, -0.5, -1.0, 0.1, 1.3], [-3.0, -3.6, 3.0, 2.4, 0.6, -5.4, -0.0, 4.2], [-1.3, -0.5, -1.9, -1.3, -1.8, -0.2, -1.3, 0.3], [0.2, -0.2, -2.5, -0.5, -0.0, 0.1, -1.5, -0.5], [-1.0, -0.8, 1.1, -0.8, -0.0, 0.9, -0.6, -0.1], [0.1, 0.1, -1.2, 0.1, 1.4, -1.5, 0.9, 0.1], [-0.6, 2.0, 0.8, -1.2, 0.1, 0.6, -0.2, 0.7], [-0.1, 0.7, 1.4, -0.7, 0.2, -0.5, 0.1, -1.2]]> : tensor<8x8xf32>
  %wd = arith.constant dense<[[-0.8, 0.2, -1.7, 0.7, 1.1, -0.5, 0.4, 0.3], [-0.4, -0.9, -2.0, 1.4, -0.0, 2.5, 0.8, 0.3], [-0.7, 1.4, -0.5, 1.6, -0.4, 0.2, -1.5, 2.3]]> : tensor<3x8xf32>
  %g = lowbit.linear %x, %wg {name = "gate"} : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %u = lowbit.linear %x, %wu {name = "up"} : (tensor<4x8xf32>, tensor<8x8xf32>) -> tensor<4x8xf32>
  %e = tensor.empty() : tensor<4x8xf32>
  %h = linalg.generic {indexing_maps = [#rows, #rows, #rows], iterator_types = ["parallel", "parallel"]} ins(%g, %u : tensor<4x8xf32>, tensor<4x8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%a: f32, %b: f32, %out: f32):
    %one = arith.constant 1.0 : f32
    %minus = arith.negf %a : f32
    %exp = math.exp %minus : f32
    %under = arith.addf %exp, %one : f32
    %silu = arith.divf %a, %under : f32
    %y = arith.mulf %silu, %b : f32
    linalg.yield %y : f32
  } -> tensor<4x8xf32>
  %y = lowbit.linear %h, %wd {name = "down"} : (tensor<4x8xf32>, tensor<3x8xf32>) -> tensor<4x3xf32>
  return %y : tensor<4x3xf32>
}
