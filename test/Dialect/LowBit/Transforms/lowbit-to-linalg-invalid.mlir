// RUN: quant-opt %s --lowbit-to-linalg --verify-diagnostics

func.func @elided(%x: tensor<2x8xf32>) -> tensor<2x2xf32> {
  // expected-error @+1 {{of layer 'fc': resource 'gone' has no data (missing or elided)}}
  %w = lowbit.weight "fc" {codes = dense_resource<gone> : tensor<2x4xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>}
      : !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x8xf32>, !lowbit.weight<2x8xf32, #lowbit.affine<bits = 4, per_channel, symmetric, scale = f16>>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
