// RUN: quant-opt %s --gptq-quantize="group-size=4 damp=0 progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %s --gptq-quantize="calibration=none progress=none report=%t.none.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=NONE < %t.none.json

// Input 1 is always 0 (dead), and two samples of rank 1 cannot make H definite:
// with damping 0 it is raised until the factorisation works, and the report
// says so.
// CHECK: lowbit.weight "fc"
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 0.0, 3.0, 4.0]], [[2.0, 0.0, 6.0, 8.0]]]> : tensor<2x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
// JSON: "damp": 0.01
// JSON-NEXT: "dead_columns": 1

// Without data the codes are round-to-nearest, and the report says so.
// NONE: "fallback": "no calibration data: rounded to nearest"
// NONE: "error_measure": "weights"
