// RUN: quant-opt %s --lowbit-to-linalg --split-input-file | FileCheck %s
// RUN: quant-opt %s --lowbit-to-linalg --split-input-file | mlir-opt --split-input-file | FileCheck %s

// What comes out is upstream IR: Debian's mlir-opt reads it.

// CHECK-LABEL: func @float
// CHECK-SAME: (%[[X:.+]]: tensor<2x8xf32>, %[[W:.+]]: tensor<4x8xf32>)
func.func @float(%x: tensor<2x8xf32> {lowbit.calibration = dense<0.0> : tensor<1x2x8xf32>}, %w: tensor<4x8xf32>) -> tensor<2x4xf32> {
  // CHECK: %[[INIT:.+]] = linalg.fill
  // CHECK: %[[Y:.+]] = linalg.generic {{.+}} iterator_types = ["parallel", "parallel", "reduction"]} ins(%[[X]], %[[W]] : {{.+}}) outs(%[[INIT]]
  // CHECK: arith.mulf
  // CHECK: arith.addf
  // CHECK: return %[[Y]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return %y : tensor<2x4xf32>
}

// -----

// Sums are f32 whatever the operands are, rounded once at the end.
// CHECK-LABEL: func @half
func.func @half(%x: tensor<?x8xbf16>, %w: tensor<4x8xf16>) -> tensor<?x4xbf16> {
  // CHECK: linalg.generic
  // CHECK: arith.extf %{{.+}} : bf16 to f32
  // CHECK: arith.extf %{{.+}} : f16 to f32
  // CHECK: arith.mulf %{{.+}} : f32
  // CHECK: linalg.generic
  // CHECK: arith.truncf %{{.+}} : f32 to bf16
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<?x8xbf16>, tensor<4x8xf16>) -> tensor<?x4xbf16>
  return %y : tensor<?x4xbf16>
}

// -----

// A code of 4 bits stands in one byte.
// CHECK-LABEL: func @quantized
func.func @quantized(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67]]> : tensor<1x2xi8>, scales = dense<[[0.5, 2.0]]> : tensor<1x2xf16>, zeros = dense<[[18]]> : tensor<1x1xi8>}
      : !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>
  // CHECK-DAG: %[[CODES:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xi8>
  // CHECK-DAG: %[[SCALES:.+]] = arith.constant dense<{{.+}}> : tensor<1x2xf16>
  // CHECK-DAG: %[[ZEROS:.+]] = arith.constant dense<18> : tensor<1x1xi8>
  // CHECK: %[[WEIGHT:.+]] = linalg.generic
  // CHECK: tensor.extract %[[CODES]]
  // CHECK-NOT: arith.ori
  // CHECK: tensor.extract %[[SCALES]]
  // CHECK: tensor.extract %[[ZEROS]]
  // CHECK: arith.subf
  // CHECK: arith.mulf
  // CHECK: linalg.generic {{.+}} ins(%{{.+}}, %[[WEIGHT]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<1x4xf32, #lowbit.affine<bits = 4, group = 3, integer_zero, scale = f16>>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}

// -----

// A code of 3 bits may go on in the next byte.
// CHECK-LABEL: func @straddling
func.func @straddling(%x: tensor<2x8xf32>) -> tensor<2x1xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67, 3]]> : tensor<1x3xi8>, scales = dense<[[0.5]]> : tensor<1x1xf32>, minima = dense<[[1.5]]> : tensor<1x1xf32>}
      : !lowbit.weight<1x8xf32, #lowbit.affine<bits = 3, per_channel, float_minimum, scale = f32>>
  // CHECK: arith.ori
  // CHECK: arith.shrui
  // CHECK: arith.andi
  // CHECK: arith.mulf
  // CHECK: arith.addf
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, !lowbit.weight<1x8xf32, #lowbit.affine<bits = 3, per_channel, float_minimum, scale = f32>>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}
