// RUN: quant-opt %s --split-input-file --verify-diagnostics

func.func @wrong_k(%x: tensor<2x8xf32>, %w: tensor<8x4xf32>) {
  // expected-error @+1 {{'fc' multiplies over K, but the input has 8 channels and the weight [N, K] = [8, 4] - transpose one that is stored [K, N]}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, tensor<8x4xf32>) -> tensor<2x8xf32>
  return
}

// -----

func.func @wrong_n(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{'fc' has 4 output channels, but the result has 5}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x5xf32>
  return
}

// -----

func.func @wrong_leading(%x: tensor<2x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{keeps all dimensions of its input but the last}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @integer(%x: tensor<2x8xi32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{must be ranked tensor of f32, f16 or bf16 values}}
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xi32>, tensor<4x8xf32>) -> tensor<2x4xf32>
  return
}

// -----

func.func @missing_plane() {
  // expected-error @+1 {{of layer 'fc' lacks the plane 'zeros'}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 4, integer_zero, scale = f16>>
  return
}

// -----

func.func @extra_plane() {
  // expected-error @+1 {{of layer 'fc' has 3 planes, but #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16> stores 2}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>, zeros = dense<0> : tensor<2x1xi8>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>
  return
}

// -----

func.func @plane_type() {
  // A short last group needs a scale of its own.
  // expected-error @+1 {{of layer 'fc' has plane 'scales' of type 'tensor<2x1xf16>', but its type takes 'tensor<2x2xf16>'}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 3, symmetric, scale = f16>>
  return
}

// -----

func.func @packed_plane_type() {
  // expected-error @+1 {{of layer 'fc' has plane 'codes' of type 'tensor<2x2xi8>', but its type takes 'tensor<1x1x512xi8>'}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>, #lowbit.layout<nvptx>>
  return
}

// -----

// expected-error @+1 {{there is no layout 'sideways'}}
func.func private @layout(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>, #lowbit.layout<sideways>>)

// -----

// expected-error @+1 {{the layout 'nvptx' takes scales of f16, bf16 or f32 per group or channel, so it does not hold #lowbit.affine<bits = 4, per_tensor, symmetric, scale = f16>}}
func.func private @layout_scheme(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, per_tensor, symmetric, scale = f16>, #lowbit.layout<nvptx>>)

// -----

func.func @short_blob() {
  // expected-error @+1 {{of layer 'fc': resource 'short' holds 3 bytes where 'tensor<2x2xi8>' takes 4}}
  %w = lowbit.weight "fc" {codes = dense_resource<short> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>
  return
}
{-#
  dialect_resources: { builtin: { short: "0x04000000010203" } }
#-}

// -----

// expected-error @+1 {{bits}}
func.func private @bits(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 9, group = 4, symmetric, scale = f16>>)

// -----

// expected-error @+1 {{group}}
func.func private @group(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 0, symmetric, scale = f16>>)

// -----

// expected-error @+1 {{expected 'symmetric', 'integer_zero', 'float_minimum'}}
func.func private @zero(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 4, lopsided, scale = f16>>)

// -----

// expected-error @+1 {{expected 'nf4', 'fp4', 'iq4_nl', 'e2m1'}}
func.func private @table(!lowbit.weight<2x8xf32, #lowbit.codebook<nf5, group = 4, scale = f16>>)

// -----

// expected-error @+1 {{scales are f16, bf16, f32, f8E8M0FNU or f8E4M3FN}}
func.func private @scale_type(!lowbit.weight<2x8xf32, #lowbit.codebook<nf4, group = 4, scale = i8>>)

// -----

// expected-error @+1 {{scales nested by the dynamic map have scale type f32}}
func.func private @nested(!lowbit.weight<2x8xf32, #lowbit.codebook<nf4, group = 4, scale = f16, nested = dynamic>>)

// -----

// expected-error @+1 {{scales with a factor for the whole tensor have scale type e4m3}}
func.func private @factor(!lowbit.weight<2x8xf32, #lowbit.codebook<nf4, group = 4, scale = f32, nested = per_tensor>>)

// -----

// expected-error @+1 {{a minimum beside the scale takes a scale type of f16, bf16 or f32}}
func.func private @minimum(!lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, group = 4, float_minimum, scale = f8E4M3FN>>)

// -----

func.func @nested_plane() {
  // expected-error @+1 {{of layer 'fc' lacks the plane 'nested_offset'}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1], [2]]> : tensor<2x1xi8>, nested_scales = dense<1.0> : tensor<1xf32>}
      : !lowbit.weight<2x4xf32, #lowbit.codebook<nf4, group = 4, scale = f32, nested = dynamic>>
  return
}

// -----

// expected-error @+1 {{a weight is [N, K], but 3 dimensions were given}}
func.func private @rank(!lowbit.weight<2x8x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>)

// -----

// expected-error @+1 {{the element type of a weight is f32, f16 or bf16, not 'f64'}}
func.func private @element(!lowbit.weight<2x8xf64, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>)

// -----

func.func @host(%x: tensor<3x8xf32>) {
  // expected-error @+1 {{takes an id of at least 0, not -1}}
  %y = lowbit.host_linear %x {id = -1 : i64} : tensor<3x8xf32> -> tensor<3x5xf32>
  return
}

// -----

func.func @routing_shape(%x: tensor<3x8xf32>, %w: tensor<4x8xf32>, %expert: tensor<2xi64>, %others: tensor<3x4xf32>) {
  // expected-error @+1 {{takes a routing with an entry for each row of 'tensor<3x8xf32>', not 'tensor<2xi64>'}}
  %y = lowbit.linear %x, %w routed(%expert, %others) {expert = 0 : i64, name = "up.0"}
      : (tensor<3x8xf32>, tensor<4x8xf32>, tensor<2xi64>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @others_shape(%x: tensor<3x8xf32>, %w: tensor<4x8xf32>, %expert: tensor<3xi64>, %others: tensor<3x5xf32>) {
  // expected-error @+1 {{'up.0' takes its other rows as 'tensor<3x4xf32>', not 'tensor<3x5xf32>'}}
  %y = lowbit.linear %x, %w routed(%expert, %others) {expert = 0 : i64, name = "up.0"}
      : (tensor<3x8xf32>, tensor<4x8xf32>, tensor<3xi64>, tensor<3x5xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @no_expert(%x: tensor<3x8xf32>, %w: tensor<4x8xf32>, %expert: tensor<3xi64>, %others: tensor<3x4xf32>) {
  // expected-error @+1 {{'up.0' takes other rows and 'expert' if it is routed, and only then}}
  %y = lowbit.linear %x, %w routed(%expert, %others) {name = "up.0"}
      : (tensor<3x8xf32>, tensor<4x8xf32>, tensor<3xi64>, tensor<3x4xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @not_routed(%x: tensor<3x8xf32>, %w: tensor<4x8xf32>) {
  // expected-error @+1 {{'up.0' takes other rows and 'expert' if it is routed, and only then}}
  %y = lowbit.linear %x, %w {expert = 0 : i64, name = "up.0"} : (tensor<3x8xf32>, tensor<4x8xf32>) -> tensor<3x4xf32>
  return
}

// -----

func.func @ids(%x: tensor<3x8xf32>, %expert: tensor<3xi64>, %others: tensor<3x4xf32>) {
  // expected-error @+1 {{takes an id for each of its 2 experts, not 1}}
  %y = lowbit.host_experts %x routed(%expert, %others) {experts = array<i64: 0, 2>, ids = array<i64: 7>}
      : tensor<3x8xf32>, tensor<3xi64>, tensor<3x4xf32>
  return
}

// -----

func.func @negative_id(%x: tensor<3x8xf32>, %expert: tensor<3xi64>, %others: tensor<3x4xf32>) {
  // expected-error @+1 {{takes ids of at least 0, not -1}}
  %y = lowbit.host_experts %x routed(%expert, %others) {experts = array<i64: 0>, ids = array<i64: -1>}
      : tensor<3x8xf32>, tensor<3xi64>, tensor<3x4xf32>
  return
}

// -----

func.func @lookup_shape(%rows: tensor<2x3xi64>, %w: !lowbit.weight<5x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) {
  // expected-error @+1 {{finds rows of 8 values for 'tensor<2x3xi64>', which cannot be 'tensor<2x3x5xf32>'}}
  %e = lowbit.lookup %rows, %w : (tensor<2x3xi64>, !lowbit.weight<5x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) -> tensor<2x3x5xf32>
  return
}

// -----

func.func @lookup_rows(%rows: tensor<2xi8>, %w: !lowbit.weight<5x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) {
  // expected-error @+1 {{operand #0 must be ranked tensor of}}
  %e = lowbit.lookup %rows, %w : (tensor<2xi8>, !lowbit.weight<5x8xf32, #lowbit.affine<bits = 4, group = 4, symmetric, scale = f16>>) -> tensor<2x8xf32>
  return
}
