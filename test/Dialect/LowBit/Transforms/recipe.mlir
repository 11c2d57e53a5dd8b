// RUN: split-file %s %t
// RUN: quant-opt %t/model.mlir --gptq-quantize="recipe=%t/recipe.yaml bits=3 group-size=2 progress=none report=%t.json" 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: FileCheck %s --check-prefix=WARNING < %t.err

// A rule counts more than the options of the pass, and these more than the
// defaults of the recipe; the first rule that matches counts.
// CHECK: lowbit.weight "a" {{.+}} #lowbit.affine<bits = 8, per_channel, integer_zero, scale = f32>
// CHECK: lowbit.weight "b" {{.+}} #lowbit.affine<bits = 3, group = 2, symmetric, scale = f32>
// CHECK: lowbit.linear {{.+}} {name = "c"} : (tensor<2x4xf32>, tensor<4x4xf32>)
// CHECK: lowbit.weight "d" {{.+}} #lowbit.affine<bits = 3, group = 2, integer_zero, scale = f32>
// JSON: "method": "rtn"
// JSON: "name": "a"
// JSON: "method": "gptq"
// JSON: "name": "b"
// JSON: "skipped"
// JSON: "name": "c"
// JSON-NEXT: "reason": "left out by line 11 of the recipe"
// WARNING: recipe.yaml:9:20: warning: no layer matches 'none'
// WARNING-NOT: warning

//--- recipe.yaml
defaults:
  bits: 5
  scale-type: f32
layers:
  - match: "^a$"
    method: rtn
    bits: 8
    group-size: 'channel'
  - match: ["^b$", none]
    zero: none
  - match: [c, a]
    skip: true
  - match: d
    symmetric: false

//--- model.mlir
func.func @main(%x: tensor<2x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0], [0.5, -1.0, 0.3, 0.7]], [[0.1, 0.0, 0.1, 0.0], [7.0, 0.1, 0.1, 0.0]]]> : tensor<2x2x4xf32>}) -> tensor<2x4xf32> {
  %w0 = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w1 = arith.constant dense<[[1.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w2 = arith.constant dense<[[2.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w3 = arith.constant dense<[[3.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %a = lowbit.linear %x, %w0 {name = "a"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %b = lowbit.linear %a, %w1 {name = "b"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %c = lowbit.linear %b, %w2 {name = "c"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %d = lowbit.linear %c, %w3 {name = "d"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  return %d : tensor<2x4xf32>
}
