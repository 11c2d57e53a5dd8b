// RUN: quant-opt %s --nf4-quantize="group-size=4 progress=none" | FileCheck %s
// RUN: quant-opt %s --nf4-quantize="group-size=4 table=fp4 double-quant progress=none" | FileCheck %s --check-prefix=FP4
// RUN: quant-opt %s --nf4-quantize="group-size=3 progress=none" | FileCheck %s --check-prefix=FLAT
// RUN: quant-opt %s --rtn-quantize="table=nf4 flat group-size=4 scale-type=f32 search=none progress=none" | FileCheck %s

// CHECK-LABEL: func @main
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, -2.0, 1.0, 2.0], [3.0, 0.0, 0.0, 0.0]]> : tensor<2x4xf32>
  // CHECK: %[[W:.+]] = lowbit.weight "fc" {codes = dense_resource<fc.codes> : tensor<2x2xi8>, scales = dense_resource<fc.scales> : tensor<2x1xf32>} : !lowbit.weight<2x4xf32, #lowbit.codebook<nf4, group = 4, scale = f32>>
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "fc"}
  // FP4: lowbit.weight "fc" {codes = {{.+}}, nested_offset = {{.+}} : tensor<1xf32>, nested_scales = {{.+}} : tensor<1xf32>, scales = {{.+}} : tensor<2x1xi8>} : !lowbit.weight<2x4xf32, #lowbit.codebook<fp4, group = 4, scale = f32, nested = dynamic>>
  // Blocks of 3 of 8 weights.
  // FLAT: lowbit.weight "fc" {codes = {{.+}} : tensor<2x2xi8>, scales = {{.+}} : tensor<1x3xf32>} : !lowbit.weight<2x4xf32, #lowbit.codebook<nf4, flat = 3, scale = f32>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
// 0, -1, .5, 1 and 1, 0, 0, 0 are codes 7, 0, 12 (.441), 15 and 15, 7, 7, 7.
// CHECK: fc.codes: "0x4000000007FC7F77"
// CHECK: fc.scales: "0x400000000000004000004040"
// With the other table 0, 11, 5, 3 and 3, 0, 0, 0. Scales 2 and 3 are -1 and 1 times
// .5 from their mean; the dynamic map has no -1.
// FP4: fc.codes: "0x40000000B0350300"
// FP4: fc.nested_offset: "0x4000000000002040"
// FP4: fc.nested_scales: "0x400000000000003F"
// FP4: fc.scales: "0x4000000000FF"
