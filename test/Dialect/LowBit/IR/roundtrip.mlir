// RUN: quant-opt %s --verify-roundtrip | FileCheck %s

// CHECK-LABEL: func @float_linear
// CHECK: lowbit.linear %{{.+}}, %{{.+}} {name = "fc"} : (tensor<2x3x8xf32>, tensor<4x8xf32>) -> tensor<2x3x4xf32>
func.func @float_linear(%x: tensor<2x3x8xf32>, %w: tensor<4x8xf32>) -> tensor<2x3x4xf32> {
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x3x8xf32>, tensor<4x8xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// A vector is a linear's input too, and the types of x, w and y may differ.
// CHECK-LABEL: func @vector
func.func @vector(%x: tensor<8xbf16>, %w: tensor<4x8xf16>) -> tensor<4xf32> {
  // CHECK: lowbit.linear
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<8xbf16>, tensor<4x8xf16>) -> tensor<4xf32>
  return %y : tensor<4xf32>
}

// CHECK-LABEL: func @quantized
func.func @quantized(%x: tensor<?x8xf32>) -> tensor<?x2xf32> {
  // CHECK: %[[W:.+]] = lowbit.weight "fc" {codes = dense<{{.+}}> : tensor<2x4xi8>, scales = dense<{{.+}}> : tensor<2x2xf16>} : !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 5, symmetric, scale = f16>>
  %w = lowbit.weight "fc" {codes = dense<[[1, 2, 3, 4], [5, 6, 7, 8]]> : tensor<2x4xi8>,
                           scales = dense<[[1.0, 2.0], [3.0, 4.0]]> : tensor<2x2xf16>}
      : !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 5, symmetric, scale = f16>>
  // CHECK: lowbit.linear %{{.+}}, %[[W]]
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<?x8xf32>, !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 5, symmetric, scale = f16>>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// CHECK-LABEL: func private @schemes
// CHECK-SAME: #lowbit.affine<bits = 8, per_channel, integer_zero, scale = bf16>
// CHECK-SAME: #lowbit.affine<bits = 3, per_tensor, float_minimum, scale = f32>
func.func private @schemes(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 8, per_channel, integer_zero, scale = bf16>>,
                           !lowbit.weight<2x8xf16, #lowbit.affine<bits = 3, per_tensor, float_minimum, scale = f32>>)

// CHECK-LABEL: func private @flat
// CHECK-SAME: #lowbit.affine<bits = 4, flat = 64, symmetric, scale = f16>
func.func private @flat(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, flat = 64, symmetric, scale = f16>>)

// CHECK-LABEL: func private @packed
// CHECK-SAME: !lowbit.weight<20x70xbf16, #lowbit.codebook<nf4, group = 64, scale = f32>, #lowbit.layout<nvptx>>
func.func private @packed(!lowbit.weight<20x70xbf16, #lowbit.codebook<nf4, group = 64, scale = f32>, #lowbit.layout<nvptx>>)

// CHECK-LABEL: func @packed_planes
func.func @packed_planes() {
  // CHECK: lowbit.weight "fc" {codes = dense_resource<gone_codes> : tensor<2x3x512xi8>
  %w = lowbit.weight "fc" {codes = dense_resource<gone_codes> : tensor<2x3x512xi8>, scales = dense_resource<gone_scales> : tensor<2x5x16xf16>, zeros = dense_resource<gone_zeros> : tensor<2x5x8xi8>}
      : !lowbit.weight<17x129xf32, #lowbit.affine<bits = 4, group = 32, integer_zero, scale = f16>, #lowbit.layout<nvptx>>
  return
}

// CHECK-LABEL: func private @codebooks
// CHECK-SAME: #lowbit.codebook<nf4, group = 64, scale = f32, nested = dynamic>
// CHECK-SAME: #lowbit.codebook<fp4, flat = 64, scale = f32>
// CHECK-SAME: #lowbit.codebook<iq4_nl, per_channel, scale = f16>
// CHECK-SAME: #lowbit.codebook<e2m1, group = 32, scale = f8E8M0FNU>
// CHECK-SAME: #lowbit.codebook<e2m1, group = 16, scale = f8E4M3FN, nested = per_tensor>
func.func private @codebooks(!lowbit.weight<2x8xf32, #lowbit.codebook<nf4, group = 64, scale = f32, nested = dynamic>>,
                             !lowbit.weight<2x8xf32, #lowbit.codebook<fp4, flat = 64, scale = f32>>,
                             !lowbit.weight<2x8xf32, #lowbit.codebook<iq4_nl, per_channel, scale = f16>>,
                             !lowbit.weight<2x8xf32, #lowbit.codebook<e2m1, group = 32, scale = f8E8M0FNU>>,
                             !lowbit.weight<2x8xf32, #lowbit.codebook<e2m1, group = 16, scale = f8E4M3FN, nested = per_tensor>>)

// CHECK-LABEL: func @nested
func.func @nested() {
  // Blocks of 4 of the flattened matrix: the middle one lies in both rows.
  // CHECK: lowbit.weight "fc" {codes = {{.+}} : tensor<2x3xi8>, nested_offset = {{.+}} : tensor<1xf32>, nested_scales = {{.+}} : tensor<1xf32>, scales = {{.+}} : tensor<1x3xi8>}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2, 3], [4, 5, 6]]> : tensor<2x3xi8>, scales = dense<[[7, 8, 9]]> : tensor<1x3xi8>,
                           nested_scales = dense<1.0> : tensor<1xf32>, nested_offset = dense<2.0> : tensor<1xf32>}
      : !lowbit.weight<2x6xf32, #lowbit.codebook<nf4, flat = 4, scale = f32, nested = dynamic>>
  return
}

// CHECK-LABEL: func @elided
func.func @elided() {
  // Text that was printed for people, without the data, can be read.
  // CHECK: lowbit.weight "layer with \22quotes\22 and spaces"
  %w = lowbit.weight "layer with \"quotes\" and spaces"
      {codes = dense_resource<gone_codes> : tensor<2x4xi8>, scales = dense_resource<gone_scales> : tensor<2x1xf16>}
      : !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  return
}

// CHECK-LABEL: func @host
func.func @host(%x: tensor<3x8xf32>) -> tensor<3x5xf32> {
  // CHECK: lowbit.host_linear %{{.+}} {id = 3 : i64, observed} : tensor<3x8xf32> -> tensor<3x5xf32>
  %y = lowbit.host_linear %x {id = 3 : i64, observed} : tensor<3x8xf32> -> tensor<3x5xf32>
  return %y : tensor<3x5xf32>
}

// CHECK-LABEL: func @routed
func.func @routed(%x: tensor<2x3x8xf32>, %w: tensor<4x8xf32>, %expert: tensor<2x3xi64>, %others: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK: lowbit.linear %{{.+}}, %{{.+}} routed(%{{.+}}, %{{.+}}) {expert = 5 : i64, name = "up.5"} : (tensor<2x3x8xf32>, tensor<4x8xf32>, tensor<2x3xi64>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  %y = lowbit.linear %x, %w routed(%expert, %others) {expert = 5 : i64, name = "up.5"}
      : (tensor<2x3x8xf32>, tensor<4x8xf32>, tensor<2x3xi64>, tensor<2x3x4xf32>) -> tensor<2x3x4xf32>
  return %y : tensor<2x3x4xf32>
}

// CHECK-LABEL: func @host_experts
func.func @host_experts(%x: tensor<?x8xf32>, %expert: tensor<?xi64>, %others: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // CHECK: lowbit.host_experts %{{.+}} routed(%{{.+}}, %{{.+}}) {experts = array<i64: 0, 2>, ids = array<i64: 7, 8>, observed} : tensor<?x8xf32>, tensor<?xi64>, tensor<?x4xf32>
  %y = lowbit.host_experts %x routed(%expert, %others) {experts = array<i64: 0, 2>, ids = array<i64: 7, 8>, observed}
      : tensor<?x8xf32>, tensor<?xi64>, tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// CHECK-LABEL: func @lookup
func.func @lookup(%rows: tensor<2x?xi32>, %w: !lowbit.weight<5x8xbf16, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) -> tensor<2x?x8xbf16> {
  // CHECK: lowbit.lookup %{{.+}}, %{{.+}} : (tensor<2x?xi32>, !lowbit.weight<5x8xbf16, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) -> tensor<2x?x8xbf16>
  %e = lowbit.lookup %rows, %w : (tensor<2x?xi32>, !lowbit.weight<5x8xbf16, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) -> tensor<2x?x8xbf16>
  return %e : tensor<2x?x8xbf16>
}
