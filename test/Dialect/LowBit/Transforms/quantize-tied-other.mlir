// RUN: quant-opt %s --rtn-quantize="tied=quantize group-size=4 progress=none" --split-input-file | FileCheck %s

// Where something else than look-ups reads a tied weight its float values stay,
// and look-ups read them.
// CHECK-LABEL: func @main
// CHECK-NOT: lowbit.lookup
// CHECK: tensor.extract
// CHECK-NOT: lowbit.lookup
// CHECK: lowbit.weight "head"
func.func @main(%ids: tensor<3xi64>, %y: tensor<2x4xf32>) -> (tensor<3x4xf32>, tensor<3x2xf32>, tensor<2x4xf32>) {
  %t = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]> : tensor<2x4xf32>
  %0 = tensor.empty() : tensor<3x4xf32>
  %1 = tensor.empty() : tensor<2x4xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %t[%i, %k] : tensor<2x4xf32>
    linalg.yield %v : f32
  } -> tensor<3x4xf32>
  %h = lowbit.linear %e, %t {name = "head"} : (tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<3x2xf32>
  %s = linalg.add ins(%t, %y : tensor<2x4xf32>, tensor<2x4xf32>) outs(%1 : tensor<2x4xf32>) -> tensor<2x4xf32>
  return %e, %h, %s : tensor<3x4xf32>, tensor<3x2xf32>, tensor<2x4xf32>
}

// -----

// What reads columns, or does more than read, is no look-up.
// CHECK-LABEL: func @main
// CHECK-NOT: lowbit.lookup
// CHECK: return
func.func @main(%ids: tensor<2xi64>) -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) {
  %t = arith.constant dense<[[0.0, 1.0], [4.0, 5.0]]> : tensor<2x2xf32>
  %0 = tensor.empty() : tensor<2x2xf32>
  %column = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<2xi64>) outs(%0 : tensor<2x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %t[%k, %i] : tensor<2x2xf32>
    linalg.yield %v : f32
  } -> tensor<2x2xf32>
  %doubled = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<2xi64>) outs(%0 : tensor<2x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %t[%i, %k] : tensor<2x2xf32>
    %twice = arith.addf %v, %v : f32
    linalg.yield %twice : f32
  } -> tensor<2x2xf32>
  %h = lowbit.linear %doubled, %t {name = "head"} : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
  return %column, %doubled, %h : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>
}
