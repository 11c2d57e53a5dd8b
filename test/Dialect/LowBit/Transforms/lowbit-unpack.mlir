// RUN: quant-opt %s --lowbit-pack --lowbit-unpack | FileCheck %s
// RUN: quant-opt %s --lowbit-pack --lowbit-to-linalg | FileCheck %s --check-prefix=LINALG
// RUN: quant-run %s --random-input=1 --print > %t.plain
// RUN: quant-opt %s --lowbit-pack -o %t.packed.mlirbc && quant-run %t.packed.mlirbc --random-input=1 --print > %t.packed
// RUN: diff %t.plain %t.packed

// The planes are those from before, and what runs is the same.
// CHECK-NOT: lowbit.layout
// CHECK: lowbit.weight "fc" {codes = dense_resource<[[CODES:.+]]> : tensor<2x3xi8>, scales = dense_resource<[[SCALES:.+]]> : tensor<2x2xf32>, zeros = dense_resource<[[ZEROS:.+]]> : tensor<2x1xi8>}
// CHECK-SAME: #lowbit.affine<bits = 3, group = 4, integer_zero, scale = f32>>
// CHECK-DAG: [[CODES]]: "0x{{........}}2143030C1502"
// CHECK-DAG: [[SCALES]]: "0x{{........}}0000803F000000400000404000008040"
// CHECK-DAG: [[ZEROS]]: "0x{{........}}2103"

// LINALG-NOT: lowbit
// LINALG: arith.constant dense_resource<{{.+}}> : tensor<2x3xi8>
func.func @main(%x: tensor<2x6xf32>) -> tensor<2x2xf32> {
  %w = lowbit.weight "fc" {codes = dense<[[33, 67, 3], [12, 21, 2]]> : tensor<2x3xi8>, scales = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf32>,
                           zeros = dense<[[33], [3]]> : tensor<2x1xi8>}
      : !lowbit.weight<2x6xf32, #lowbit.affine<bits = 3, group = 4, integer_zero, scale = f32>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x6xf32>, !lowbit.weight<2x6xf32, #lowbit.affine<bits = 3, group = 4, integer_zero, scale = f32>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
