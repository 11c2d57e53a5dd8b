// RUN: quant-opt %s --lowbit-to-gpu --split-input-file --verify-diagnostics
// RUN: not quant-opt %s --lowbit-to-gpu=chip=sm_75 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not quant-opt %s --lowbit-to-gpu=compute=f32 2>&1 | FileCheck %s --check-prefix=COMPUTE

// CHIP: lowbit-to-gpu knows no chip 'sm_75' - give chip=sm_80
// COMPUTE: lowbit-to-gpu cannot multiply in 'f32' - give compute=auto, f16 or bf16

func.func @dynamic(%x: tensor<?x2xf32>) -> tensor<?x2xf32> {
  %q = lowbit.weight "fc" {codes = dense<[[1], [2]]> : tensor<2x1xi8>, scales = dense<[[1.0], [2.0]]> : tensor<2x1xf16>} : !lowbit.weight<2x2xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>
  // expected-error@+1 {{layer 'fc' has no GPU kernel: its input is 'tensor<?x2xf32>', but kernels are made for a known number of rows - give the model's inputs static shapes}}
  %y = lowbit.linear %x, %q {name = "fc"} : (tensor<?x2xf32>, !lowbit.weight<2x2xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func @crossing(%x: tensor<1x4xf32>) -> tensor<1x2xf32> {
  // expected-error@+1 {{'lowbit.weight' op of layer 'fc' has groups that run on across rows}}
  %q = lowbit.weight "fc" {codes = dense<[[1, 2], [3, 4]]> : tensor<2x2xi8>, scales = dense<[[1.0, 2.0, 3.0]]> : tensor<1x3xf16>} : !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, flat = 3, symmetric, scale = f16>>
  %y = lowbit.linear %x, %q {name = "fc"} : (tensor<1x4xf32>, !lowbit.weight<2x4xf32, #lowbit.affine<bits = 4, flat = 3, symmetric, scale = f16>>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

// -----

func.func @argument(%x: tensor<1x2xf32>, %q: !lowbit.weight<2x2xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>) -> tensor<1x2xf32> {
  // expected-error@+1 {{layer 'fc' has a quantized weight that is not a lowbit.weight}}
  %y = lowbit.linear %x, %q {name = "fc"} : (tensor<1x2xf32>, !lowbit.weight<2x2xf32, #lowbit.affine<bits = 4, group = 64, symmetric, scale = f16>>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
