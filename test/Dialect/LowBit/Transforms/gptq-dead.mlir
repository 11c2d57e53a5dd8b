// RUN: quant-opt %s --gptq-quantize="group-size=4 progress=none report=%t.json" 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: FileCheck %s --check-prefix=WARNING < %t.err

// All inputs of the layer are zero on the calibration data. Nothing is known of
// it then: its weights are rounded to nearest, not stored as zeros.
// CHECK: lowbit.weight "fc"
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[0.0, 0.0, 0.0, 0.0]], [[0.0, 0.0, 0.0, -0.0]]]> : tensor<2x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
// CHECK: fc.codes: "0x{{[0-9A-F]+}}50FA0F21"
// JSON: "fallback": "its inputs were all zero on the calibration data: rounded to nearest"
// JSON: "tokens": 0
// WARNING: warning: no calibration token reached 1 layers, which are rounded to nearest: fc - give samples that use them
