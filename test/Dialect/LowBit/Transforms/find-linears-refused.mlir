// RUN: quant-opt %s --lowbit-find-linears --split-input-file | FileCheck %s

// Contractions that are no linear with a constant weight stay and say why.

// CHECK-LABEL: func @attention
func.func @attention(%q: tensor<2x5x4xf32>) -> tensor<2x5x5xf32> {
  %zero = arith.constant dense<0.0> : tensor<2x5x5xf32>
  %e = tensor.empty() : tensor<2x4x5xf32>
  %a = math.absf %q : tensor<2x5x4xf32>
  %k = linalg.transpose ins(%a : tensor<2x5x4xf32>) outs(%e : tensor<2x4x5xf32>) permutation = [0, 2, 1]
  // CHECK: linalg.batch_matmul {lowbit.refused = "both operands are computed from the input
  %y = linalg.batch_matmul ins(%a, %k : tensor<2x5x4xf32>, tensor<2x4x5xf32>) outs(%zero : tensor<2x5x5xf32>) -> tensor<2x5x5xf32>
  return %y : tensor<2x5x5xf32>
}

// -----

// CHECK-LABEL: func @argument
func.func @argument(%x: tensor<2x4xf32>, %w: tensor<4x3xf32>) -> tensor<2x3xf32> {
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  %a = math.absf %x : tensor<2x4xf32>
  // CHECK: linalg.matmul {lowbit.refused = "operand 1 is function argument 1 - if that is a weight, name it with lowbit.parameter and attach its data (--lowbit-attach-data)"}
  %y = linalg.matmul ins(%a, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// Int4 dequantisation written out: the weight is computed from packed constants.
// CHECK-LABEL: func @computed_weight
func.func @computed_weight(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  %packed = arith.constant dense<17> : tensor<4x3xi8>
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  %a = math.absf %x : tensor<2x4xf32>
  %w = arith.sitofp %packed : tensor<4x3xi8> to tensor<4x3xf32>
  // CHECK: lowbit.refused = "operand 1 is computed from constants by 'arith.sitofp' - already quantized, or to be folded first"
  %y = linalg.matmul ins(%a, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// One [E, N, K] constant: every entry of the batch has its own weight.
// CHECK-LABEL: func @experts
func.func @experts(%x: tensor<2x5x4xf32>) -> tensor<2x5x3xf32> {
  %w = arith.constant dense_resource<experts.weight> : tensor<2x4x3xf32>
  %zero = arith.constant dense<0.0> : tensor<2x5x3xf32>
  // CHECK: lowbit.refused = "each of 2 entries has a weight of its own
  %y = linalg.batch_matmul ins(%x, %w : tensor<2x5x4xf32>, tensor<2x4x3xf32>) outs(%zero : tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  return %y : tensor<2x5x3xf32>
}

// -----

// An expert picked by an index that is computed at run time.
// CHECK-LABEL: func @gathered_expert
func.func @gathered_expert(%x: tensor<5x4xf32>, %i: index) -> tensor<5x3xf32> {
  %w = arith.constant dense_resource<experts.weight> : tensor<2x3x4xf32>
  %zero = arith.constant dense<0.0> : tensor<5x3xf32>
  %a = math.absf %x : tensor<5x4xf32>
  %e = tensor.empty() : tensor<3x4xf32>
  %one = linalg.generic {indexing_maps = [affine_map<(n, k) -> (n, k)>], iterator_types = ["parallel", "parallel"]}
      outs(%e : tensor<3x4xf32>) {
  ^bb0(%o: f32):
    %n = linalg.index 0 : index
    %k = linalg.index 1 : index
    %v = tensor.extract %w[%i, %n, %k] : tensor<2x3x4xf32>
    linalg.yield %v : f32
  } -> tensor<3x4xf32>
  // CHECK: lowbit.refused = "operand 1 is picked from a constant by an index
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a, %one : tensor<5x4xf32>, tensor<3x4xf32>) outs(%zero : tensor<5x3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// CHECK-LABEL: func @integer
func.func @integer(%x: tensor<2x4xi32>) -> tensor<2x3xi32> {
  %w = arith.constant dense<1> : tensor<4x3xi32>
  %zero = arith.constant dense<0> : tensor<2x3xi32>
  // CHECK: lowbit.refused = "element type i32 - linears are f32, f16 or bf16"
  %y = linalg.matmul ins(%x, %w : tensor<2x4xi32>, tensor<4x3xi32>) outs(%zero : tensor<2x3xi32>) -> tensor<2x3xi32>
  return %y : tensor<2x3xi32>
}

// -----

// CHECK-LABEL: func @strided_conv
func.func @strided_conv(%x: tensor<1x8x5x7xf32>) -> tensor<1x3x3x4xf32> {
  %w = arith.constant dense_resource<w> : tensor<3x8x1x1xf32>
  %zero = arith.constant dense<0.0> : tensor<1x3x3x4xf32>
  // CHECK: lowbit.refused = "an operand is read with a stride or a sliding window"
  %y = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<2> : tensor<2xi64>}
      ins(%x, %w : tensor<1x8x5x7xf32>, tensor<3x8x1x1xf32>) outs(%zero : tensor<1x3x3x4xf32>) -> tensor<1x3x3x4xf32>
  return %y : tensor<1x3x3x4xf32>
}

// -----

// CHECK-LABEL: func @outer_product
func.func @outer_product(%x: tensor<2x1xf32>) -> tensor<2x3xf32> {
  %w = arith.constant dense_resource<w> : tensor<1x3xf32>
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  // CHECK: lowbit.refused = "an outer product: nothing is summed (K = 1)"
  %y = linalg.matmul ins(%x, %w : tensor<2x1xf32>, tensor<1x3xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// CHECK-LABEL: func @both_constant
func.func @both_constant() -> tensor<2x3xf32> {
  %x = arith.constant dense<1.0> : tensor<2x4xf32>
  %w = arith.constant dense_resource<w> : tensor<4x3xf32>
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  // CHECK: lowbit.refused = "both operands are constant - fold the contraction first"
  %y = linalg.matmul ins(%x, %w : tensor<2x4xf32>, tensor<4x3xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

// -----

// Every second column of a constant.
// CHECK-LABEL: func @strided_slice
func.func @strided_slice(%x: tensor<2x2xf32>) -> tensor<2x3xf32> {
  %w = arith.constant dense_resource<w> : tensor<4x3xf32>
  %s = tensor.extract_slice %w[0, 0] [2, 3] [2, 1] : tensor<4x3xf32> to tensor<2x3xf32>
  %zero = arith.constant dense<0.0> : tensor<2x3xf32>
  // CHECK: lowbit.refused = "operand 1 is a constant that is read with a stride
  %y = linalg.matmul ins(%x, %s : tensor<2x2xf32>, tensor<2x3xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
