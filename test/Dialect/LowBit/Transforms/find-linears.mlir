// RUN: quant-opt %s --lowbit-find-linears --split-input-file | FileCheck %s

// The form of torch-mlir: a transposed [N, K] constant.
// CHECK-LABEL: func @main
// CHECK-SAME: %[[X:.+]]: tensor<2x4xf32>
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[W:.+]] = arith.constant dense_resource<fc.weight> : tensor<3x4xf32>
  %w = arith.constant dense_resource<fc.weight> : tensor<3x4xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<4x3xf32>
  %t = linalg.transpose ins(%w : tensor<3x4xf32>) outs(%e : tensor<4x3xf32>) permutation = [1, 0]
  %o = tensor.empty() : tensor<2x3xf32>
  %f = linalg.fill ins(%zero : f32) outs(%o : tensor<2x3xf32>) -> tensor<2x3xf32>
  // CHECK-NOT: linalg
  // CHECK: %[[Y:.+]] = lowbit.linear %[[X]], %[[W]] {name = "fc"}
  // CHECK-NEXT: return %[[Y]]
  %y = linalg.matmul ins(%x, %t : tensor<2x4xf32>, tensor<4x3xf32>) outs(%f : tensor<2x3xf32>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
{-# dialect_resources: { builtin: { "fc.weight": "0x040000000000803f000000400000404000008040000000000000000000000000000000000000000000000000000000000000000000000000" } } #-}

// -----

// A constant stored [K, N] is transposed once, here; without a resource key the
// name is the linear's ordinal.
// CHECK-LABEL: func @stored_kn
func.func @stored_kn(%x: tensor<2x3xf32>) -> tensor<2x2xf32> {
  // CHECK: %[[W:.+]] = arith.constant dense_resource<linear.0> : tensor<2x3xf32>
  %w = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf32>
  %zero = arith.constant dense<0.0> : tensor<2x2xf32>
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "linear.0"}
  %y = linalg.matmul ins(%x, %w : tensor<2x3xf32>, tensor<3x2xf32>) outs(%zero : tensor<2x2xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
// 1, 3, 5, 2, 4, 6
// CHECK: linear.0: "0x{{[0-9A-F]+}}0000803F000040400000A04000000040000080400000C040"

// -----

// Older torch-mlir and ONNX: the weight repeated for a batch.
// CHECK-LABEL: func @broadcast_weight
func.func @broadcast_weight(%x: tensor<2x5x4xf32>) -> tensor<2x5x3xf32> {
  %w = arith.constant dense_resource<"layer with spaces/and.dots"> : tensor<3x4xf32>
  %zero = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<4x3xf32>
  %t = linalg.transpose ins(%w : tensor<3x4xf32>) outs(%e0 : tensor<4x3xf32>) permutation = [1, 0]
  %e1 = tensor.empty() : tensor<2x4x3xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d1, d2)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%t : tensor<4x3xf32>) outs(%e1 : tensor<2x4x3xf32>) {
  ^bb0(%in: f32, %out: f32):
    linalg.yield %in : f32
  } -> tensor<2x4x3xf32>
  %e2 = tensor.empty() : tensor<2x5x3xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e2 : tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  // CHECK: lowbit.linear %{{.+}}, %{{.+}} {name = "layer with spaces/and.dots"} : (tensor<2x5x4xf32>, tensor<3x4xf32>) -> tensor<2x5x3xf32>
  %y = linalg.batch_matmul ins(%x, %b : tensor<2x5x4xf32>, tensor<2x4x3xf32>) outs(%f : tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  return %y : tensor<2x5x3xf32>
}

// -----

// A bias as the initial value becomes an addition.
// CHECK-LABEL: func @bias_init
func.func @bias_init(%x: tensor<1x4xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense_resource<w> : tensor<2x4xf32>
  // CHECK-DAG: %[[BIAS:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xf32>
  %bias = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  // CHECK: %[[Y:.+]] = lowbit.linear
  // CHECK: linalg.add ins(%[[Y]], %[[BIAS]]
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<1x4xf32>, tensor<2x4xf32>) outs(%bias : tensor<1x2xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

// The weight on the left: y^T = W x^T.
// CHECK-LABEL: func @weight_left
func.func @weight_left(%x: tensor<4x5xf32>) -> tensor<3x5xf32> {
  %w = arith.constant dense_resource<w> : tensor<3x4xf32>
  %zero = arith.constant dense<0.0> : tensor<3x5xf32>
  // CHECK: %[[XT:.+]] = linalg.transpose ins(%{{.+}} : tensor<4x5xf32>)
  // CHECK: %[[Y:.+]] = lowbit.linear %[[XT]], %{{.+}} : (tensor<5x4xf32>, tensor<3x4xf32>) -> tensor<5x3xf32>
  // CHECK: linalg.transpose ins(%[[Y]] : tensor<5x3xf32>) outs(%{{.+}} : tensor<3x5xf32>) permutation = [1, 0]
  %y = linalg.matmul ins(%w, %x : tensor<3x4xf32>, tensor<4x5xf32>) outs(%zero : tensor<3x5xf32>) -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

// -----

// JAX: a generic with a weight of rank 3; N is two dimensions.
// CHECK-LABEL: func @two_n_dimensions
func.func @two_n_dimensions(%x: tensor<1x7x8xf32>) -> tensor<1x7x2x3xf32> {
  %w = arith.constant dense<2.0> : tensor<8x2x3xf32>
  %zero = arith.constant dense<0.0> : tensor<1x7x2x3xf32>
  // CHECK: %[[Y:.+]] = lowbit.linear %{{.+}}, %{{.+}} : (tensor<1x7x8xf32>, tensor<6x8xf32>) -> tensor<1x7x6xf32>
  // CHECK: tensor.expand_shape %[[Y]]
  %y = linalg.generic {indexing_maps = [affine_map<(b, m, h, d, k) -> (b, m, k)>, affine_map<(b, m, h, d, k) -> (k, h, d)>, affine_map<(b, m, h, d, k) -> (b, m, h, d)>],
                       iterator_types = ["parallel", "parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<1x7x8xf32>, tensor<8x2x3xf32>) outs(%zero : tensor<1x7x2x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<1x7x2x3xf32>
  return %y : tensor<1x7x2x3xf32>
}

// -----

// JAX: two summed dimensions.
// CHECK-LABEL: func @two_k_dimensions
func.func @two_k_dimensions(%x: tensor<5x2x4xf32>) -> tensor<5x3xf32> {
  %w = arith.constant dense<1.0> : tensor<2x4x3xf32>
  %zero = arith.constant dense<0.0> : tensor<5x3xf32>
  // CHECK: %[[X:.+]] = tensor.collapse_shape %{{.+}} {{\[\[}}0], [1, 2]] : tensor<5x2x4xf32> into tensor<5x8xf32>
  // CHECK: lowbit.linear %[[X]], %{{.+}} : (tensor<5x8xf32>, tensor<3x8xf32>) -> tensor<5x3xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(m, n, h, d) -> (m, h, d)>, affine_map<(m, n, h, d) -> (h, d, n)>, affine_map<(m, n, h, d) -> (m, n)>],
                       iterator_types = ["parallel", "parallel", "reduction", "reduction"]}
      ins(%x, %w : tensor<5x2x4xf32>, tensor<2x4x3xf32>) outs(%zero : tensor<5x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %p = arith.mulf %c, %a : f32
    %s = arith.addf %p, %o : f32
    linalg.yield %s : f32
  } -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}

// -----

// A fused projection: each slice of the constant is a linear.
// CHECK-LABEL: func @sliced_weight
func.func @sliced_weight(%x: tensor<5x4xf32>) -> tensor<5x1xf32> {
  %w = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]> : tensor<2x4xf32>
  %v = tensor.extract_slice %w[1, 0] [1, 4] [1, 1] : tensor<2x4xf32> to tensor<1x4xf32>
  %zero = arith.constant dense<0.0> : tensor<5x1xf32>
  // CHECK: lowbit.linear %{{.+}}, %{{.+}} : (tensor<5x4xf32>, tensor<1x4xf32>) -> tensor<5x1xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %v : tensor<5x4xf32>, tensor<1x4xf32>) outs(%zero : tensor<5x1xf32>) -> tensor<5x1xf32>
  return %y : tensor<5x1xf32>
}
// 5, 6, 7, 8
// CHECK: linear.0: "0x{{[0-9A-F]+}}0000A0400000C0400000E04000000041"

// -----

// Vectors: vecmat, matvec and dot.
// CHECK-LABEL: func @vectors
func.func @vectors(%x: tensor<4xf32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<f32>) {
  %kn = arith.constant dense<1.0> : tensor<4x3xf32>
  %nk = arith.constant dense<1.0> : tensor<3x4xf32>
  %k = arith.constant dense<1.0> : tensor<4xf32>
  %zero = arith.constant dense<0.0> : tensor<3xf32>
  %zero0 = arith.constant dense<0.0> : tensor<f32>
  // CHECK: lowbit.linear %{{.+}} {name = "linear.0"} : (tensor<4xf32>, tensor<3x4xf32>) -> tensor<3xf32>
  %a = linalg.vecmat ins(%x, %kn : tensor<4xf32>, tensor<4x3xf32>) outs(%zero : tensor<3xf32>) -> tensor<3xf32>
  // CHECK: lowbit.linear %{{.+}} {name = "linear.1"} : (tensor<4xf32>, tensor<3x4xf32>) -> tensor<3xf32>
  %b = linalg.matvec ins(%nk, %x : tensor<3x4xf32>, tensor<4xf32>) outs(%zero : tensor<3xf32>) -> tensor<3xf32>
  // CHECK: %[[D:.+]] = lowbit.linear %{{.+}} {name = "linear.2"} : (tensor<4xf32>, tensor<1x4xf32>) -> tensor<1xf32>
  // CHECK: tensor.collapse_shape %[[D]] [] : tensor<1xf32> into tensor<f32>
  %c = linalg.dot ins(%x, %k : tensor<4xf32>, tensor<4xf32>) outs(%zero0 : tensor<f32>) -> tensor<f32>
  return %a, %b, %c : tensor<3xf32>, tensor<3xf32>, tensor<f32>
}

// -----

// A 1x1 convolution is a linear over the channels of each pixel.
// CHECK-LABEL: func @conv1x1
func.func @conv1x1(%x: tensor<2x8x5x7xf32>) -> tensor<2x3x5x7xf32> {
  %w = arith.constant dense_resource<w> : tensor<3x8x1x1xf32>
  %zero = arith.constant dense<0.0> : tensor<2x3x5x7xf32>
  // CHECK: %[[XT:.+]] = linalg.transpose ins(%{{.+}} : tensor<2x8x5x7xf32>) outs(%{{.+}} : tensor<2x5x7x8xf32>) permutation = [0, 2, 3, 1]
  // CHECK: %[[Y:.+]] = lowbit.linear %[[XT]], %{{.+}} : (tensor<2x5x7x8xf32>, tensor<3x8xf32>) -> tensor<2x5x7x3xf32>
  // CHECK: linalg.transpose ins(%[[Y]] : tensor<2x5x7x3xf32>) outs(%{{.+}} : tensor<2x3x5x7xf32>) permutation = [0, 3, 1, 2]
  %y = linalg.conv_2d_nchw_fchw {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}
      ins(%x, %w : tensor<2x8x5x7xf32>, tensor<3x8x1x1xf32>) outs(%zero : tensor<2x3x5x7xf32>) -> tensor<2x3x5x7xf32>
  return %y : tensor<2x3x5x7xf32>
}

// -----

// bf16 operands with f32 sums; M, N and K of 1, 1 and 257; a dynamic M.
// CHECK-LABEL: func @bf16
func.func @bf16(%x: tensor<1x257xbf16>, %d: tensor<?x257xbf16>) -> (tensor<1x1xf32>, tensor<?x1xf32>) {
  %w = arith.constant dense_resource<w> : tensor<1x257xbf16>
  %zero = arith.constant dense<0.0> : tensor<1x1xf32>
  // CHECK: lowbit.linear %{{.+}} {name = "w"} : (tensor<1x257xbf16>, tensor<1x257xbf16>) -> tensor<1x1xf32>
  %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%x, %w : tensor<1x257xbf16>, tensor<1x257xbf16>) outs(%zero : tensor<1x1xf32>) -> tensor<1x1xf32>
  %c0 = arith.constant 0 : index
  %f0 = arith.constant 0.0 : f32
  %m = tensor.dim %d, %c0 : tensor<?x257xbf16>
  %e = tensor.empty(%m) : tensor<?x1xf32>
  %f = linalg.fill ins(%f0 : f32) outs(%e : tensor<?x1xf32>) -> tensor<?x1xf32>
  // The second linear of one weight gets a name of its own.
  // CHECK: lowbit.linear %{{.+}} {name = "w#1"} : (tensor<?x257xbf16>, tensor<1x257xbf16>) -> tensor<?x1xf32>
  %z = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%d, %w : tensor<?x257xbf16>, tensor<1x257xbf16>) outs(%f : tensor<?x1xf32>) -> tensor<?x1xf32>
  return %y, %z : tensor<1x1xf32>, tensor<?x1xf32>
}

// -----

// A tied weight: the linear goes by the alias, the embedding keeps the key.
// CHECK-LABEL: func @tied
module attributes {lowbit.aliases = {lm_head.weight = "embed.weight"}} {
  func.func @tied(%x: tensor<2x4xf32>, %i: index) -> (tensor<2x3xf32>, f32) {
    %w = arith.constant dense_resource<embed.weight> : tensor<3x4xf32>
    %zero = arith.constant dense<0.0> : tensor<2x3xf32>
    %c0 = arith.constant 0 : index
    %row = tensor.extract %w[%i, %c0] : tensor<3x4xf32>
    // CHECK: lowbit.linear %{{.+}} {name = "lm_head"}
    %y = linalg.matmul indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
        ins(%x, %w : tensor<2x4xf32>, tensor<3x4xf32>) outs(%zero : tensor<2x3xf32>) -> tensor<2x3xf32>
    return %y, %row : tensor<2x3xf32>, f32
  }
}
