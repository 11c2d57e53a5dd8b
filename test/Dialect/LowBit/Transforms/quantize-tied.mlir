// RUN: quant-opt %s --rtn-quantize="tied=quantize group-size=4 progress=none report=%t.tied.json" > %t.mlir
// RUN: FileCheck %s --check-prefix=ROLES < %t.tied.json
// RUN: FileCheck %s < %t.mlir
// RUN: quant-opt %t.mlir --lowbit-pack=target=cpu | FileCheck %s --check-prefix=PACKED
// RUN: quant-opt %s --rtn-quantize="progress=none report=%t.json" | FileCheck %s --check-prefix=SKIP
// RUN: FileCheck %s --check-prefix=JSON < %t.json

// An embedding and a linear that read one constant go on to read one weight, in
// every function; its float values are gone.
// CHECK-NOT: table
// CHECK-LABEL: func @main
// CHECK-SAME: (%[[IDS:.+]]: tensor<1x3xi64>)
// CHECK: %[[W:.+]] = lowbit.weight "table" [[PLANES:{.+}]] :
// What is asserted about an index is asserted once a row.
// CHECK: %[[ROWS:.+]] = linalg.generic {{.+}} ins(%[[IDS]] : tensor<1x3xi64>) outs(%{{.+}} : tensor<1x3xi64>)
// CHECK: cf.assert %{{.+}}, "index must be smaller than dim size"
// CHECK-NOT: tensor.extract
// CHECK: linalg.yield
// CHECK: %[[E:.+]] = lowbit.lookup %[[ROWS]], %[[W]] : {{.+}} -> tensor<1x3x4xf32>
// CHECK: lowbit.linear %[[E]], %[[W]]
// CHECK-LABEL: func @decode
// CHECK: %[[W:.+]] = lowbit.weight "table" [[PLANES]] :
// CHECK-NOT: = lowbit.weight
// CHECK: lowbit.lookup %{{.+}}, %[[W]] : {{.+}} -> tensor<4xf32>
// CHECK: lowbit.linear %{{.+}}, %[[W]]
// CHECK: dialect_resources
// CHECK-NOT: table.weight
// PACKED: lowbit.weight "table" [[PLANES:{.+}]] : {{.+}} #lowbit.layout<cpu>>
// PACKED: lowbit.lookup {{.+}} #lowbit.layout<cpu>>
// PACKED: lowbit.weight "table" [[PLANES]] : {{.+}} #lowbit.layout<cpu>>

// ROLES: "name": "table",
// ROLES: "role": "linear and embedding",
// ROLES: "name": "own",
// ROLES: "role": "linear",

// SKIP-NOT: lowbit.lookup
// SKIP: tensor.extract
// JSON: "name": "table",
// JSON-NEXT: "reason": "tied: its weight is also used by 'tensor.extract' (an embedding), which would read its rows with few bits too - tied=quantize does that"
func.func @main(%ids: tensor<1x3xi64>) -> (tensor<1x3x5xf32>, tensor<1x3x5xf32>) {
  %c5 = arith.constant 5 : index
  %t = arith.constant dense_resource<table.weight> : tensor<5x4xf32>
  %o = arith.constant dense_resource<own.weight> : tensor<5x4xf32>
  %0 = tensor.empty() : tensor<1x3x4xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%ids : tensor<1x3xi64>) outs(%0 : tensor<1x3x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 2 : index
    %low = arith.cmpi slt, %i, %c5 : index
    cf.assert %low, "index must be smaller than dim size"
    %v = tensor.extract %t[%i, %k] : tensor<5x4xf32>
    linalg.yield %v : f32
  } -> tensor<1x3x4xf32>
  %h = lowbit.linear %e, %t {name = "table"} : (tensor<1x3x4xf32>, tensor<5x4xf32>) -> tensor<1x3x5xf32>
  %g = lowbit.linear %e, %o {name = "own"} : (tensor<1x3x4xf32>, tensor<5x4xf32>) -> tensor<1x3x5xf32>
  return %h, %g : tensor<1x3x5xf32>, tensor<1x3x5xf32>
}
// The row is computed from the position too, and from no dimension.
func.func @decode(%id: tensor<i32>) -> tensor<1x5xf32> {
  %c1 = arith.constant 1 : index
  %t = arith.constant dense_resource<table.weight> : tensor<5x4xf32>
  %0 = tensor.empty() : tensor<4xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%id : tensor<i32>) outs(%0 : tensor<4xf32>) {
  ^bb0(%in: i32, %out: f32):
    %i = arith.index_cast %in : i32 to index
    %next = arith.addi %i, %c1 : index
    %k = linalg.index 0 : index
    %v = tensor.extract %t[%next, %k] : tensor<5x4xf32>
    linalg.yield %v : f32
  } -> tensor<4xf32>
  %x = tensor.expand_shape %e [[0, 1]] output_shape [1, 4] : tensor<4xf32> into tensor<1x4xf32>
  %h = lowbit.linear %x, %t {name = "table"} : (tensor<1x4xf32>, tensor<5x4xf32>) -> tensor<1x5xf32>
  return %h : tensor<1x5xf32>
}
{-# dialect_resources: { builtin: {
  table.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041",
  own.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041"
} } #-}
