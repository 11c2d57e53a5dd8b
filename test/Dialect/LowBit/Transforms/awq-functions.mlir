// RUN: quant-opt %s --lowbit-awq-scale="bits=3 group-size=4 progress=none" | FileCheck %s

// Functions that share weights are scaled together: all read the same new data.
// CHECK-LABEL: func.func @main
// CHECK-DAG: arith.constant dense<[[GAIN:\[([02-9]|1\.[^3]).+]]> : tensor<8xf32>
// CHECK-DAG: arith.constant dense<[[Q:\[\[.+]]> : tensor<2x8xf32>
// CHECK: return
// CHECK-LABEL: func.func @decode
// CHECK-DAG: arith.constant dense<[[GAIN]]> : tensor<8xf32>
// CHECK-DAG: arith.constant dense<[[Q]]> : tensor<2x8xf32>
// CHECK: return

#rows = affine_map<(i, j) -> (i, j)>
#row = affine_map<(i, j) -> (i, 0)>
#columns = affine_map<(i, j) -> (j)>
func.func @main(%x: tensor<4x8xf32> {lowbit.calibration = dense<[[[2.0, -15.3, 0.4, -0.6, -0.5, -0.2, -2.0, -0.2], [-0.9, 19.9, 0.2, -0.4, -0.3, -0.7, -1.1, -0.4], [0.5, -1.4, 1.0, -0.2, 0.0, 1.5, 0.5, -0.5], [-0.2, 3.2, 1.9, -0.3, -0.2, 1.0, -0.9, -0.3]]]> : tensor<1x4x8xf32>}) -> (tensor<4x2xf32>, tensor<4x2xf32>) {
  %g = arith.constant dense<[1.3, 1.8, 0.7, 0.9, 1.6, 0.6, 1.1, 1.3]> : tensor<8xf32>
  %wq = arith.constant dense<[[0.3, 0.8, 0.3, -1.3, 0.9, 0.4, -0.5, 0.6], [0.4, 0.3, 0.0, 0.5, -0.7, -0.2, -0.5, 0.6]]> : tensor<2x8xf32>
  %wk = arith.constant dense<[[0.2, -0.5, -0.4, -2.4, 1.8, 1.1, -0.3, 0.8], [0.3, -0.6, 1.0, -0.3, -0.3, -0.8, 0.5, -0.1]]> : tensor<2x8xf32>
  %zero = arith.constant 0.0 : f32
  %s = tensor.empty() : tensor<4x1xf32>
  %e = tensor.empty() : tensor<4x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%s : tensor<4x1xf32>) -> tensor<4x1xf32>
  %m = linalg.generic {indexing_maps = [#rows, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<4x8xf32>) outs(%z : tensor<4x1xf32>) {
  ^bb0(%v: f32, %sum: f32):
    %square = arith.mulf %v, %v : f32
    %next = arith.addf %sum, %square : f32
    linalg.yield %next : f32
  } -> tensor<4x1xf32>
  %n = linalg.generic {indexing_maps = [#rows, #row, #columns, #rows], iterator_types = ["parallel", "parallel"]} ins(%x, %m, %g : tensor<4x8xf32>, tensor<4x1xf32>, tensor<8xf32>) outs(%e : tensor<4x8xf32>) {
  ^bb0(%v: f32, %sum: f32, %g_: f32, %out: f32):
    %r = math.rsqrt %sum : f32
    %u = arith.mulf %v, %r : f32
    %y = arith.mulf %u, %g_ : f32
    linalg.yield %y : f32
  } -> tensor<4x8xf32>
  %q = lowbit.linear %n, %wq {name = "q"} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<4x2xf32>
  %k = lowbit.linear %n, %wk {name = "k"} : (tensor<4x8xf32>, tensor<2x8xf32>) -> tensor<4x2xf32>
  return %q, %k : tensor<4x2xf32>, tensor<4x2xf32>
}
func.func @decode(%x: tensor<1x8xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %g = arith.constant dense<[1.3, 1.8, 0.7, 0.9, 1.6, 0.6, 1.1, 1.3]> : tensor<8xf32>
  %wq = arith.constant dense<[[0.3, 0.8, 0.3, -1.3, 0.9, 0.4, -0.5, 0.6], [0.4, 0.3, 0.0, 0.5, -0.7, -0.2, -0.5, 0.6]]> : tensor<2x8xf32>
  %wk = arith.constant dense<[[0.2, -0.5, -0.4, -2.4, 1.8, 1.1, -0.3, 0.8], [0.3, -0.6, 1.0, -0.3, -0.3, -0.8, 0.5, -0.1]]> : tensor<2x8xf32>
  %zero = arith.constant 0.0 : f32
  %s = tensor.empty() : tensor<1x1xf32>
  %e = tensor.empty() : tensor<1x8xf32>
  %z = linalg.fill ins(%zero : f32) outs(%s : tensor<1x1xf32>) -> tensor<1x1xf32>
  %m = linalg.generic {indexing_maps = [#rows, #row], iterator_types = ["parallel", "reduction"]} ins(%x : tensor<1x8xf32>) outs(%z : tensor<1x1xf32>) {
  ^bb0(%v: f32, %sum: f32):
    %square = arith.mulf %v, %v : f32
    %next = arith.addf %sum, %square : f32
    linalg.yield %next : f32
  } -> tensor<1x1xf32>
  %n = linalg.generic {indexing_maps = [#rows, #row, #columns, #rows], iterator_types = ["parallel", "parallel"]} ins(%x, %m, %g : tensor<1x8xf32>, tensor<1x1xf32>, tensor<8xf32>) outs(%e : tensor<1x8xf32>) {
  ^bb0(%v: f32, %sum: f32, %g_: f32, %out: f32):
    %r = math.rsqrt %sum : f32
    %u = arith.mulf %v, %r : f32
    %y = arith.mulf %u, %g_ : f32
    linalg.yield %y : f32
  } -> tensor<1x8xf32>
  %q = lowbit.linear %n, %wq {name = "q"} : (tensor<1x8xf32>, tensor<2x8xf32>) -> tensor<1x2xf32>
  %k = lowbit.linear %n, %wk {name = "k"} : (tensor<1x8xf32>, tensor<2x8xf32>) -> tensor<1x2xf32>
  return %q, %k : tensor<1x2xf32>, tensor<1x2xf32>
}
