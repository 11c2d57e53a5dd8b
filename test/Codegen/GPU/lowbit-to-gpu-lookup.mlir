// RUN: quant-opt %s --lowbit-to-gpu=chip=sm_80 | FileCheck %s

// An embedding reads its rows out of the planes that the kernel multiplies with.
// CHECK-LABEL: func.func @main
// CHECK: arith.constant dense_resource<[[CODES:.+]]> : tensor<512xi8>
// CHECK: %[[PLANE:.+]] = arith.constant dense_resource<[[CODES]]> : tensor<1x1x512xi8>
// CHECK: linalg.generic
// CHECK: tensor.extract %[[PLANE]]
// CHECK-NOT: lowbit.
func.func @main(%ids: tensor<2xi64>) -> tensor<2x5xf32> {
  %w = lowbit.weight "head" {codes = dense_resource<codes> : tensor<5x16xi8>, scales = dense_resource<scales> : tensor<5x1xf16>}
      : !lowbit.weight<5x32xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  %e = lowbit.lookup %ids, %w : (tensor<2xi64>, !lowbit.weight<5x32xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>) -> tensor<2x32xf32>
  %y = lowbit.linear %e, %w {name = "head"} : (tensor<2x32xf32>, !lowbit.weight<5x32xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>) -> tensor<2x5xf32>
  return %y : tensor<2x5xf32>
}
{-# dialect_resources: { builtin: {
  codes: "0x040000000123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
  scales: "0x04000000003C0040004200440045"
} } #-}
