// RUN: quant-opt %s --lowbit-pack=target=cpu | FileCheck %s
// RUN: quant-opt %s --lowbit-pack=target=cpu --lowbit-unpack | FileCheck %s --check-prefix=BACK
// RUN: quant-opt %s --lowbit-pack=target=cpu --lowbit-pack=target=nvptx | FileCheck %s --check-prefix=OTHER

// N = 3 is one tile of 16 rows, K = 65 three blocks of 32; zeros are bytes.
// CHECK: lowbit.weight "fc" {codes = {{.+}} : tensor<1x3x320xi8>, scales = {{.+}} : tensor<1x3x16xf16>, zeros = {{.+}} : tensor<1x3x16xi8>}
// CHECK-SAME: #lowbit.layout<cpu>>
// BACK: lowbit.weight "fc" {codes = {{.+}} : tensor<3x41xi8>, scales = {{.+}} : tensor<3x3xf16>, zeros = {{.+}} : tensor<3x2xi8>}
// BACK-NOT: #lowbit.layout
// BACK: fc.codes{{.*}}: "0x{{........}}{{0*}}0102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728090102030405
// OTHER: #lowbit.layout<nvptx>>
func.func @main(%x: tensor<2x65xf32>) -> tensor<2x3xf32> {
  %w = lowbit.weight "fc" {codes = dense_resource<codes> : tensor<3x41xi8>, scales = dense_resource<scales> : tensor<3x3xf16>, zeros = dense_resource<zeros> : tensor<3x2xi8>}
      : !lowbit.weight<3x65xf32, #lowbit.affine<bits = 5, group = 32, integer_zero, scale = f16>>
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
