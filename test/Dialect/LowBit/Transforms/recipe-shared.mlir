// RUN: split-file %s %t
// RUN: quant-opt %t/model.mlir --rtn-quantize="recipe=%t/recipe.yaml group-size=4 progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json

// Linears of one weight share it where the same is done with them, and only
// there.
// CHECK-DAG: %[[A:.+]] = lowbit.weight "a" {{.+}} #lowbit.affine<bits = 4,
// CHECK-DAG: %[[B:.+]] = lowbit.weight "b" {{.+}} #lowbit.affine<bits = 8,
// CHECK-DAG: lowbit.linear %{{.+}}, %[[A]] {name = "a"}
// CHECK-DAG: lowbit.linear %{{.+}}, %[[B]] {name = "b"}
// CHECK-DAG: lowbit.linear %{{.+}}, %[[A]] {name = "c"}
// JSON: "fallback": "shares the weight of a"
// JSON: "name": "c"

//--- recipe.yaml
layers: [{match: b, bits: 8}]

//--- model.mlir
func.func @main(%x: tensor<2x4xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>) {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %a = lowbit.linear %x, %w {name = "a"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %b = lowbit.linear %x, %w {name = "b"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  %c = lowbit.linear %x, %w {name = "c"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %a, %b, %c : tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x2xf32>
}
