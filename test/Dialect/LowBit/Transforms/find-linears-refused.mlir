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

// A depthwise convolution: each channel has a vector of its own.
// CHECK-LABEL: func @depthwise
func.func @depthwise(%x: tensor<6x5x4xf32>) -> tensor<6x5xf32> {
  %w = arith.constant dense_resource<conv.weight> : tensor<6x4xf32>
  %zero = arith.constant dense<0.0> : tensor<6x5xf32>
  // CHECK: lowbit.refused = "each row has a single vector of weights (a depthwise convolution or an embedding), no [N, K] matrix"
  %y = linalg.generic {indexing_maps = [affine_map<(c, m, k) -> (c, m, k)>, affine_map<(c, m, k) -> (c, k)>, affine_map<(c, m, k) -> (c, m)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<6x5x4xf32>, tensor<6x4xf32>) outs(%zero : tensor<6x5xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<6x5xf32>
  return %y : tensor<6x5xf32>
}

// -----

// Attention over embeddings that nothing changed: the sum runs over tokens.
// CHECK-LABEL: func @mixed_rows
func.func @mixed_rows(%p: tensor<5x7xf32>, %ids: tensor<7xindex>) -> tensor<5x4xf32> {
  %w = arith.constant dense_resource<embedding.weight> : tensor<9x4xf32>
  %zero = arith.constant dense<0.0> : tensor<5x4xf32>
  %e = tensor.empty() : tensor<7x4xf32>
  %a = math.absf %p : tensor<5x7xf32>
  %v = linalg.generic {indexing_maps = [affine_map<(t, k) -> (t)>, affine_map<(t, k) -> (t, k)>], iterator_types = ["parallel", "parallel"]}
      ins(%ids : tensor<7xindex>) outs(%e : tensor<7x4xf32>) {
  ^bb0(%i: index, %o: f32):
    %k = linalg.index 1 : index
    %r = tensor.extract %w[%i, %k] : tensor<9x4xf32>
    linalg.yield %r : f32
  } -> tensor<7x4xf32>
  // CHECK: lowbit.refused = "a sum runs over rows that an index picks"
  %y = linalg.matmul ins(%a, %v : tensor<5x7xf32>, tensor<7x4xf32>) outs(%zero : tensor<5x4xf32>) -> tensor<5x4xf32>
  return %y : tensor<5x4xf32>
}

// -----

// The index is computed from where in the matrix it is read.
// CHECK-LABEL: func @index_in_matrix
func.func @index_in_matrix(%x: tensor<5x4xf32>, %i: tensor<5x3xindex>) -> tensor<5x3xf32> {
  %w = arith.constant dense_resource<experts.weight> : tensor<2x3x4xf32>
  %zero = arith.constant dense<0.0> : tensor<5x3xf32>
  %e = tensor.empty() : tensor<5x3x4xf32>
  %a = math.absf %x : tensor<5x4xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(t, n, k) -> (t, n)>, affine_map<(t, n, k) -> (t, n, k)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%i : tensor<5x3xindex>) outs(%e : tensor<5x3x4xf32>) {
  ^bb0(%j: index, %o: f32):
    %n = linalg.index 1 : index
    %k = linalg.index 2 : index
    %v = tensor.extract %w[%j, %n, %k] : tensor<2x3x4xf32>
    linalg.yield %v : f32
  } -> tensor<5x3x4xf32>
  // CHECK: lowbit.refused = "operand 1 is picked from a constant by an index, but not as one [N, K] matrix for each row"
  %y = linalg.generic {indexing_maps = [affine_map<(t, n, k) -> (t, k)>, affine_map<(t, n, k) -> (t, n, k)>, affine_map<(t, n, k) -> (t, n)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%a, %g : tensor<5x4xf32>, tensor<5x3x4xf32>) outs(%zero : tensor<5x3xf32>) {
  ^bb0(%b: f32, %c: f32, %o: f32):
    %p = arith.mulf %b, %c : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<5x3xf32>
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
