// RUN: quant-opt %s --lowbit-pack=target=nvptx --split-input-file | FileCheck %s

// N = 3 is one tile of 16 rows, K = 65 two blocks of 64.
// CHECK-LABEL: func @group
func.func @group(%x: tensor<2x65xf32>) -> tensor<2x3xf32> {
  // CHECK: %[[W:.+]] = lowbit.weight "fc" {codes = {{.+}} : tensor<1x2x640xi8>, scales = {{.+}} : tensor<1x3x16xf16>, zeros = {{.+}} : tensor<1x3x16xi8>}
  // CHECK-SAME: !lowbit.weight<3x65xf32, #lowbit.affine<bits = 5, group = 32, integer_zero, scale = f16>, #lowbit.layout<nvptx>>
  %w = lowbit.weight "fc" {codes = dense_resource<codes> : tensor<3x41xi8>, scales = dense_resource<scales> : tensor<3x3xf16>, zeros = dense_resource<zeros> : tensor<3x2xi8>}
      : !lowbit.weight<3x65xf32, #lowbit.affine<bits = 5, group = 32, integer_zero, scale = f16>>
  // CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "fc"} : (tensor<2x65xf32>, !lowbit.weight<3x65xf32, {{.+}}, #lowbit.layout<nvptx>>)
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x65xf32>, !lowbit.weight<3x65xf32, #lowbit.affine<bits = 5, group = 32, integer_zero, scale = f16>>) -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}
{-#
  dialect_resources: { builtin: {
    codes: "0x010000000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728290102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728290102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F20212223242526272829",
    scales: "0x02000000003C0040004400480050003C004000440048",
    zeros: "0x01000000010203040506"
  } }
#-}

// -----

// What the layout does not take becomes a scheme of the same values: a scale of
// all weights is copied to every channel.
// CHECK-LABEL: func @tensor
func.func @tensor(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // CHECK: lowbit.weight "fc" {codes = {{.+}} : tensor<1x1x256xi8>, minima = {{.+}} : tensor<1x1x16xf32>, scales = {{.+}} : tensor<1x1x16xf32>}
  // CHECK-SAME: <2x4xf32, #lowbit.affine<bits = 2, per_channel, float_minimum, scale = f32>, #lowbit.layout<nvptx>>
  %w = lowbit.weight "fc" {codes = dense<[[27], [-28]]> : tensor<2x1xi8>, scales = dense<[[2.0]]> : tensor<1x1xf32>, minima = dense<[[-1.0]]> : tensor<1x1xf32>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 2, per_tensor, float_minimum, scale = f32>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 2, per_tensor, float_minimum, scale = f32>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

// CHECK-LABEL: func @nested
func.func @nested(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // CHECK: lowbit.weight "nested" {codes = {{.+}} : tensor<1x1x512xi8>, scales = {{.+}} : tensor<1x2x16xf32>}
  // CHECK-SAME: #lowbit.codebook<nf4, group = 2, scale = f32>, #lowbit.layout<nvptx>
  %w = lowbit.weight "nested" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[7, 8], [9, 10]]> : tensor<2x2xi8>,
                               nested_scales = dense<1.0> : tensor<1xf32>, nested_offset = dense<2.0> : tensor<1xf32>}
      : !lowbit.weight<2x4xf32, #lowbit.codebook<nf4, group = 2, scale = f32, nested = dynamic>>
  %y = lowbit.linear %x, %w {name = "nested"} : (tensor<2x4xf32>, !lowbit.weight<2x4xf32, #lowbit.codebook<nf4, group = 2, scale = f32, nested = dynamic>>) -> tensor<2x2xf32>
  // CHECK: lowbit.weight "mx"
  // CHECK-SAME: #lowbit.codebook<e2m1, group = 2, scale = bf16>, #lowbit.layout<nvptx>
  %mx = lowbit.weight "mx" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[0.5, 4.0, 1.0, 2.0]]> : tensor<1x4xf8E8M0FNU>}
      : !lowbit.weight<2x4xf32, #lowbit.codebook<e2m1, flat = 2, scale = f8E8M0FNU>>
  %z = lowbit.linear %x, %mx {name = "mx"} : (tensor<2x4xf32>, !lowbit.weight<2x4xf32, #lowbit.codebook<e2m1, flat = 2, scale = f8E8M0FNU>>) -> tensor<2x2xf32>
  return %z : tensor<2x2xf32>
}
