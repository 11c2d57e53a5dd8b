// RUN: quant-opt %s --lowbit-find-linears --split-input-file | FileCheck %s

// Experts become linears of their own, a chain over one input.

// One matrix for each entry of the batch, stored [E, N, K]: each expert is a
// part of the constant as it lies there.
// CHECK-LABEL: func @batch
// CHECK-SAME: %[[X:.+]]: tensor<2x5x2xf32>
func.func @batch(%x: tensor<2x5x2xf32>) -> tensor<2x5x3xf32> {
  // CHECK-DAG: %[[W0:.+]] = arith.constant dense_resource<up.0> : tensor<3x2xf32>
  // CHECK-DAG: %[[W1:.+]] = arith.constant dense_resource<up.1> : tensor<3x2xf32>
  %w = arith.constant dense_resource<up.weight> : tensor<2x3x2xf32>
  %zero = arith.constant dense<0.0> : tensor<2x5x3xf32>
  // CHECK: %[[EXPERT:.+]] = linalg.generic {{.+}} outs(%{{.+}} : tensor<2x5xi64>) {
  // CHECK: %[[E:.+]] = linalg.index 0 : index
  // CHECK: %[[I:.+]] = arith.index_cast %[[E]] : index to i64
  // CHECK: linalg.yield %[[I]]
  // CHECK: %[[ZERO:.+]] = linalg.fill
  // CHECK: %[[Y0:.+]] = lowbit.linear %[[X]], %[[W0]] routed(%[[EXPERT]], %[[ZERO]]) {expert = 0 : i64, name = "up.0"}
  // CHECK: %[[Y1:.+]] = lowbit.linear %[[X]], %[[W1]] routed(%[[EXPERT]], %[[Y0]]) {expert = 1 : i64, name = "up.1"}
  // CHECK: return %[[Y1]]
  %y = linalg.generic {indexing_maps = [affine_map<(e, m, n, k) -> (e, m, k)>, affine_map<(e, m, n, k) -> (e, n, k)>, affine_map<(e, m, n, k) -> (e, m, n)>],
                       iterator_types = ["parallel", "parallel", "parallel", "reduction"]}
      ins(%x, %w : tensor<2x5x2xf32>, tensor<2x3x2xf32>) outs(%zero : tensor<2x5x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<2x5x3xf32>
  return %y : tensor<2x5x3xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// 1 to 6, 7 to 12
// CHECK: up.0: "0x{{[0-9A-F]+}}0000803F0000004000004040000080400000A0400000C040"
// CHECK: up.1: "0x{{[0-9A-F]+}}0000E0400000004100001041000020410000304100004041"

// -----

// Stored [E, K, N]: each expert is transposed once, here.
// CHECK-LABEL: func @batch_kn
func.func @batch_kn(%x: tensor<2x5x2xf32>) -> tensor<2x5x3xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x2x3xf32>
  %zero = arith.constant dense<0.0> : tensor<2x5x3xf32>
  // CHECK-COUNT-2: lowbit.linear {{.+}} : (tensor<2x5x2xf32>, tensor<3x2xf32>, tensor<2x5xi64>, tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  // CHECK-NOT: lowbit.linear
  %y = linalg.batch_matmul ins(%x, %w : tensor<2x5x2xf32>, tensor<2x2x3xf32>) outs(%zero : tensor<2x5x3xf32>) -> tensor<2x5x3xf32>
  return %y : tensor<2x5x3xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// 1, 4, 2, 5, 3, 6
// CHECK: up.0: "0x{{[0-9A-F]+}}0000803F00008040000000400000A040000040400000C040"

// -----

// The expert of each row picks its matrix, as torch writes weight[ids]. Only
// the index stays of the gather, with a check.
// CHECK-LABEL: func @gathered
// CHECK-SAME: (%[[X:.+]]: tensor<5x2xf32>, %[[IDS:.+]]: tensor<5xi64>)
func.func @gathered(%x: tensor<5x2xf32>, %ids: tensor<5xi64>) -> tensor<5x3x1xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x3x2xf32>
  %zero = arith.constant dense<0.0> : tensor<5x3x1xf32>
  // CHECK: %[[EXPERT:.+]] = linalg.generic {{.+}} ins(%[[IDS]] : tensor<5xi64>) outs(%{{.+}} : tensor<5xi64>) {
  // CHECK: ^bb0(%[[ID:.+]]: i64, %{{.+}}: i64):
  // CHECK: %[[OK:.+]] = arith.cmpi ult, %[[ID]], %c2_i64
  // CHECK: cf.assert %[[OK]], "no such expert: index out of range"
  // CHECK: linalg.yield %[[ID]]
  // CHECK-NOT: tensor.extract
  // CHECK: %[[Y0:.+]] = lowbit.linear %[[X]], %{{.+}} routed(%[[EXPERT]], %{{.+}}) {expert = 0 : i64, name = "up.0"}
  // CHECK: lowbit.linear %[[X]], %{{.+}} routed(%[[EXPERT]], %[[Y0]]) {expert = 1 : i64, name = "up.1"} : (tensor<5x2xf32>, tensor<3x2xf32>, tensor<5xi64>, tensor<5x3xf32>) -> tensor<5x3xf32>
  %ge = tensor.empty() : tensor<5x3x2xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(t, a, b) -> (t)>, affine_map<(t, a, b) -> (t, a, b)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%ids : tensor<5xi64>) outs(%ge : tensor<5x3x2xf32>) {
  ^bb0(%i: i64, %o: f32):
    %j = arith.index_cast %i : i64 to index
    %a = linalg.index 1 : index
    %b = linalg.index 2 : index
    %v = tensor.extract %w[%j, %a, %b] : tensor<2x3x2xf32>
    linalg.yield %v : f32
  } -> tensor<5x3x2xf32>
  %x1 = tensor.expand_shape %x [[0], [1, 2]] output_shape [5, 2, 1] : tensor<5x2xf32> into tensor<5x2x1xf32>
  %y = linalg.batch_matmul ins(%g, %x1 : tensor<5x3x2xf32>, tensor<5x2x1xf32>) outs(%zero : tensor<5x3x1xf32>) -> tensor<5x3x1xf32>
  return %y : tensor<5x3x1xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// -----

// The same with [E, K, N] and a dynamic number of rows.
// CHECK-LABEL: func @gathered_kn_dynamic
func.func @gathered_kn_dynamic(%x: tensor<?x2xf32>, %ids: tensor<?xi64>, %rows: index) -> tensor<?x3xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x2x3xf32>
  %zero = arith.constant 0.0 : f32
  %ye = tensor.empty(%rows) : tensor<?x3xf32>
  %f = linalg.fill ins(%zero : f32) outs(%ye : tensor<?x3xf32>) -> tensor<?x3xf32>
  // CHECK-COUNT-2: lowbit.linear %{{.+}} : (tensor<?x2xf32>, tensor<3x2xf32>, tensor<?xi64>, tensor<?x3xf32>) -> tensor<?x3xf32>
  %ge = tensor.empty(%rows) : tensor<?x2x3xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(t, a, b) -> (t)>, affine_map<(t, a, b) -> (t, a, b)>], iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%ids : tensor<?xi64>) outs(%ge : tensor<?x2x3xf32>) {
  ^bb0(%i: i64, %o: f32):
    %j = arith.index_cast %i : i64 to index
    %a = linalg.index 1 : index
    %b = linalg.index 2 : index
    %v = tensor.extract %w[%j, %a, %b] : tensor<2x2x3xf32>
    linalg.yield %v : f32
  } -> tensor<?x2x3xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(t, n, k) -> (t, k)>, affine_map<(t, n, k) -> (t, k, n)>, affine_map<(t, n, k) -> (t, n)>],
                       iterator_types = ["parallel", "parallel", "reduction"]}
      ins(%x, %g : tensor<?x2xf32>, tensor<?x2x3xf32>) outs(%f : tensor<?x3xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %p = arith.mulf %a, %c : f32
    %s = arith.addf %o, %p : f32
    linalg.yield %s : f32
  } -> tensor<?x3xf32>
  return %y : tensor<?x3xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// -----

// torch.einsum("beck,bk->bec", weight[ids], x): a row goes to two experts, whose
// outputs stand in one dimension; x is repeated.
// CHECK-LABEL: func @two_experts_a_row
// CHECK-SAME: (%[[X:.+]]: tensor<5x2xf32>
func.func @two_experts_a_row(%x: tensor<5x2xf32>, %ids: tensor<5x2xi64>) -> tensor<5x6x1xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x3x2xf32>
  %zero = arith.constant dense<0.0> : tensor<5x6x1xf32>
  // CHECK: %[[XX:.+]] = linalg.broadcast ins(%{{.+}} : tensor<5x2xf32>) outs(%{{.+}} : tensor<5x2x2xf32>) dimensions = [2]
  // CHECK-COUNT-2: lowbit.linear %{{.+}} : (tensor<5x2x2xf32>, tensor<3x2xf32>, tensor<5x2xi64>, tensor<5x2x3xf32>) -> tensor<5x2x3xf32>
  // CHECK-NOT: linalg.add
  %ge = tensor.empty() : tensor<5x2x3x2xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(t, u, a, b) -> (t, u)>, affine_map<(t, u, a, b) -> (t, u, a, b)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%ids : tensor<5x2xi64>) outs(%ge : tensor<5x2x3x2xf32>) {
  ^bb0(%i: i64, %o: f32):
    %j = arith.index_cast %i : i64 to index
    %a = linalg.index 2 : index
    %b = linalg.index 3 : index
    %v = tensor.extract %w[%j, %a, %b] : tensor<2x3x2xf32>
    linalg.yield %v : f32
  } -> tensor<5x2x3x2xf32>
  %c = tensor.collapse_shape %g [[0], [1, 2], [3]] : tensor<5x2x3x2xf32> into tensor<5x6x2xf32>
  %x1 = tensor.expand_shape %x [[0], [1, 2]] output_shape [5, 2, 1] : tensor<5x2xf32> into tensor<5x2x1xf32>
  %y = linalg.batch_matmul ins(%c, %x1 : tensor<5x6x2xf32>, tensor<5x2x1xf32>) outs(%zero : tensor<5x6x1xf32>) -> tensor<5x6x1xf32>
  return %y : tensor<5x6x1xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// -----

// The rows of the gather merged: the indices are read in that order.
// CHECK-LABEL: func @merged_rows
// CHECK-SAME: %[[IDS:[a-z0-9]+]]: tensor<5x2xi64>
func.func @merged_rows(%x: tensor<10x2xf32>, %ids: tensor<5x2xi64>) -> tensor<10x3x1xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x3x2xf32>
  %zero = arith.constant dense<0.0> : tensor<10x3x1xf32>
  // CHECK: %[[FLAT:.+]] = tensor.collapse_shape %{{.+}} {{\[\[}}0, 1]] : tensor<5x2xi64> into tensor<10xi64>
  // CHECK: %[[EXPERT:.+]] = linalg.generic {{.+}} outs(%{{.+}} : tensor<10xi64>)
  // CHECK: tensor.extract %[[FLAT]]
  // CHECK-COUNT-2: lowbit.linear %{{.+}} routed(%[[EXPERT]]
  %ge = tensor.empty() : tensor<5x2x3x2xf32>
  %g = linalg.generic {indexing_maps = [affine_map<(t, u, a, b) -> (t, u)>, affine_map<(t, u, a, b) -> (t, u, a, b)>], iterator_types = ["parallel", "parallel", "parallel", "parallel"]}
      ins(%ids : tensor<5x2xi64>) outs(%ge : tensor<5x2x3x2xf32>) {
  ^bb0(%i: i64, %o: f32):
    %j = arith.index_cast %i : i64 to index
    %a = linalg.index 2 : index
    %b = linalg.index 3 : index
    %v = tensor.extract %w[%j, %a, %b] : tensor<2x3x2xf32>
    linalg.yield %v : f32
  } -> tensor<5x2x3x2xf32>
  %c = tensor.collapse_shape %g [[0, 1], [2], [3]] : tensor<5x2x3x2xf32> into tensor<10x3x2xf32>
  %x1 = tensor.expand_shape %x [[0], [1, 2]] output_shape [10, 2, 1] : tensor<10x2xf32> into tensor<10x2x1xf32>
  %y = linalg.batch_matmul ins(%c, %x1 : tensor<10x3x2xf32>, tensor<10x2x1xf32>) outs(%zero : tensor<10x3x1xf32>) -> tensor<10x3x1xf32>
  return %y : tensor<10x3x1xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

// -----

// One expert for all rows, by a slice at an index.
// CHECK-LABEL: func @sliced
// CHECK-SAME: %[[I:[a-z0-9]+]]: index
func.func @sliced(%x: tensor<5x2xf32>, %i: index) -> tensor<5x3xf32> {
  %w = arith.constant dense_resource<up.weight> : tensor<2x2x3xf32>
  %zero = arith.constant dense<0.0> : tensor<5x3xf32>
  %one = tensor.extract_slice %w[%i, 0, 0] [1, 2, 3] [1, 1, 1] : tensor<2x2x3xf32> to tensor<2x3xf32>
  // CHECK: arith.index_cast %[[I]]
  // CHECK: cf.assert
  // CHECK-COUNT-2: lowbit.linear {{.+}} tensor<5xi64>
  %y = linalg.matmul ins(%x, %one : tensor<5x2xf32>, tensor<2x3xf32>) outs(%zero : tensor<5x3xf32>) -> tensor<5x3xf32>
  return %y : tensor<5x3xf32>
}
{-# dialect_resources: { builtin: { "up.weight": "0x040000000000803F0000004000004040000080400000A0400000C0400000E0400000004100001041000020410000304100004041" } } #-}

