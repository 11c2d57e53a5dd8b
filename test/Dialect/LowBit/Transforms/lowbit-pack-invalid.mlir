// RUN: quant-opt %s --lowbit-pack --split-input-file --verify-diagnostics
// RUN: not quant-opt %s --lowbit-pack=target=amiga --split-input-file 2>&1 | FileCheck %s

// CHECK: error: lowbit-pack knows no target 'amiga' - give target=nvptx or cpu

func.func @flat(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{of layer 'fc' has groups that run on across rows of 4 (#lowbit.affine<bits = 4, flat = 3, symmetric, scale = f16>), which the layout 'nvptx' does not hold - quantize it without 'flat', or with a group size that divides the row}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0, 2.0, 3.0]]> : tensor<1x3xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, flat = 3, symmetric, scale = f16>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, flat = 3, symmetric, scale = f16>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @elided(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{of layer 'fc': resource 'gone' has no data (missing or elided)}}
  %w = lowbit.weight "fc" {codes = dense_resource<gone> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}

// -----

func.func @returned() -> !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>> {
  // expected-error @+1 {{of layer 'fc' is used by 'func.return', but only a weight of lowbit.linear and lowbit.lookup alone can change its layout - inline functions first}}
  %w = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  return %w : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
}
