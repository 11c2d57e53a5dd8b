// RUN: quant-opt %s --rtn-quantize="group-size=4 search=none progress=none" --split-input-file | FileCheck %s
// RUN: quant-opt %s --rtn-quantize="symmetric bits=8 group-size=channel progress=none" --split-input-file | FileCheck %s --check-prefix=SYM
// RUN: quant-opt %s --rtn-quantize="zero=float bits=3 group-size=tensor scale-type=f32 progress=none" --split-input-file | FileCheck %s --check-prefix=MIN

// 0 .. 15 with a scale of 1 and zero points of 0: codes are the values.
// CHECK-LABEL: func @main
// SYM-LABEL: func @main
// MIN-LABEL: func @main
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  // CHECK: %[[W:.+]] = lowbit.weight "fc" {codes = dense_resource<fc.codes> : tensor<2x2xi8>, scales = dense_resource<fc.scales> : tensor<2x1xf16>, zeros = dense_resource<fc.zeros> : tensor<2x1xi8>} : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 4, integer_zero, scale = f16>>
  // CHECK-NOT: arith.constant
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "fc"}
  // SYM: lowbit.weight {{.+}} #lowbit.affine<bits = 8, per_channel, symmetric, scale = f16>
  // MIN: lowbit.weight {{.+}}minima = dense_resource<fc.minima> : tensor<1x1xf32>{{.+}} #lowbit.affine<bits = 3, per_tensor, float_minimum, scale = f32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
// CHECK: fc.codes: "0x{{[0-9A-F]+}}50FA0F21"
// CHECK: fc.scales: "0x{{[0-9A-F]+}}003C003C"
// CHECK: fc.zeros: "0x{{[0-9A-F]+}}0000"

// -----

// Two linears of one weight: it is stored once.
// CHECK-LABEL: func @main
func.func @main(%x: tensor<2x4xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>) {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  // CHECK: %[[W:.+]] = lowbit.weight "a"
  // CHECK-NOT: lowbit.weight "
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "a"}
  %a = lowbit.linear %x, %w {name = "a"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "b"}
  %b = lowbit.linear %x, %w {name = "b"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %a, %b : tensor<2x2xf32>, tensor<2x2xf32>
}
