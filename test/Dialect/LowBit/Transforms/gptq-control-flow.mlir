// RUN: quant-opt %s --gptq-quantize="progress=none report=%t.json" 2>%t.err | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: FileCheck %s --check-prefix=WARNING < %t.err
// RUN: quant-opt %s --gptq-quantize="progress=none entry=shared report=%t.shared.json" | FileCheck %s --check-prefix=SHARED
// RUN: FileCheck %s --check-prefix=SHARED-JSON < %t.shared.json

// A layer behind a branch that no sample takes has no data; it is rounded to
// nearest, and the report says so.
// CHECK: lowbit.weight "always"
// CHECK: lowbit.weight "never"
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %w2 = arith.constant dense<[[0.0, 5.0], [15.0, 2.0]]> : tensor<2x2xf32>
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %y = lowbit.linear %x, %w {name = "always"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  %first = tensor.extract %x[%c0, %c0] : tensor<1x4xf32>
  %negative = arith.cmpf olt, %first, %zero : f32
  %r = scf.if %negative -> tensor<1x2xf32> {
    %z = lowbit.linear %y, %w2 {name = "never"} : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
    scf.yield %z : tensor<1x2xf32>
  } else {
    scf.yield %y : tensor<1x2xf32>
  }
  return %r : tensor<1x2xf32>
}
// JSON: "fallback": null
// JSON: "name": "always"
// JSON: "fallback": "no calibration sample reached it: rounded to nearest"
// JSON: "name": "never"
// WARNING: warning: no calibration token reached 1 layers, which are rounded to nearest: never

// The first of two layers that share a weight is not reached: the weight is
// quantized on the inputs of the other.
// SHARED-LABEL: func @shared
// SHARED: %[[W:.+]] = lowbit.weight "first"
// SHARED-NOT: lowbit.weight "
// SHARED: lowbit.linear %{{.+}}, %[[W]] {name = "second"}
func.func @shared(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, 3.0, 4.0]]]> : tensor<1x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %first = tensor.extract %x[%c0, %c0] : tensor<1x4xf32>
  %negative = arith.cmpf olt, %first, %zero : f32
  %r = scf.if %negative -> tensor<1x2xf32> {
    %y = lowbit.linear %x, %w {name = "first"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
    scf.yield %y : tensor<1x2xf32>
  } else {
    %z = lowbit.linear %x, %w {name = "second"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
    scf.yield %z : tensor<1x2xf32>
  }
  return %r : tensor<1x2xf32>
}
// SHARED-JSON: "name": "first"
// SHARED-JSON: "fallback": "shares the weight of first"
// SHARED-JSON: "name": "second"
