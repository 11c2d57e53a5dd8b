// RUN: quant-opt %s --gptq-quantize="group-size=4 progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %s --gptq-quantize="group-size=4 damp=auto progress=none report=%t.auto.json" -o /dev/null
// RUN: FileCheck %s --check-prefix=AUTO < %t.auto.json

// Samples come with the module; "two" reads what the quantized "one" gives.
// CHECK-LABEL: func @main
func.func @main(%x: tensor<4x8xf32> {lowbit.calibration = dense<[[[0.44, -1.13, -0.98, -0.4, 1.9, 0.7, -0.6, -0.28], [-1.15, -0.03, -0.57, 0.72, -1.36, -0.33, -0.84, -0.72], [0.71, 0.13, 0.59, 1.19, 1.15, -1.37, 0.54, -1.76], [-0.06, 1.92, -0.19, -0.37, 0.17, 0.02, 0.03, -0.76]], [[1.08, 0.89, -0.21, 0.31, 0.66, 1.03, 0.39, 0.7], [-0.26, -1.07, -0.5, 1.02, 0.98, 0.15, -0.57, 0.31], [1.66, 1.35, -0.68, -0.04, -1.45, -1.14, 0.19, 0.02], [0.96, 1.27, 0.83, 1.32, -0.55, -1.13, 0.5, 2.68]], [[0.36, -1.15, 0.24, 1.43, -1.03, 0.8, -0.61, 1.27], [0.79, 0.3, 2.0, -0.41, -0.69, 1.85, -0.88, 2.2], [-0.04, -1.04, -0.0, 0.13, 0.2, -0.19, 1.08, -2.32], [-0.55, -0.26, 1.82, -1.99, -0.34, -1.14, -0.66, 0.64]]]> : tensor<3x4x8xf32>}) -> tensor<4x3xf32> {
  %w1 = arith.constant dense<[[0.41, 1.44, -0.6, 0.27, 1.17, 0.9, -0.34, 1.13], [-0.92, 1.8, 0.15, -0.11, 0.27, 0.85, 1.74, -0.14], [-0.37, 0.59, -0.87, -1.7, 0.84, -0.38, 1.13, -1.03], [-2.9, 0.28, 0.15, 1.6, 0.53, 0.31, 0.59, -0.37], [0.08, -1.35, 0.52, -0.81, -0.45, 0.7, 0.92, -1.01], [2.0, -0.59, 0.84, 0.95, 0.22, 0.17, 1.8, 0.89]]> : tensor<6x8xf32>
  %w2 = arith.constant dense<[[0.45, -1.82, -0.75, 1.16, 0.19, -0.96], [-0.64, -0.31, 0.69, 0.39, 1.0, -0.82], [0.99, -0.5, -0.3, 1.73, 0.07, -0.14]]> : tensor<3x6xf32>
  // CHECK: %[[ONE:.+]] = lowbit.weight "one" {{.+}} : !lowbit.weight<6x8xf32, #lowbit.affine<bits = 4, group = 4, integer_zero, scale = f16>>
  // CHECK: lowbit.linear %{{.+}}, %[[ONE]] {name = "one"}
  %y = lowbit.linear %x, %w1 {name = "one"} : (tensor<4x8xf32>, tensor<6x8xf32>) -> tensor<4x6xf32>
  %e = tensor.empty() : tensor<4x6xf32>
  %a = linalg.abs ins(%y : tensor<4x6xf32>) outs(%e : tensor<4x6xf32>) -> tensor<4x6xf32>
  // CHECK: %[[TWO:.+]] = lowbit.weight "two"
  // CHECK: lowbit.linear %{{.+}}, %[[TWO]] {name = "two"}
  %z = lowbit.linear %a, %w2 {name = "two"} : (tensor<4x6xf32>, tensor<3x6xf32>) -> tensor<4x3xf32>
  return %z : tensor<4x3xf32>
}
// JSON: "damp": 0.01
// JSON: "fallback": null
// JSON: "name": "one"
// JSON: "name": "two"
// JSON: "error_measure": "outputs"
// JSON: "samples": 3
// Half of K over 12 tokens: 8 / 24 and 6 / 24.
// AUTO: "damp": 0.33333333333333
// AUTO: "name": "one"
// AUTO: "damp": 0.25,
// AUTO: "name": "two"
