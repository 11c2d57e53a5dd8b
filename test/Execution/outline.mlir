// RUN: quant-run %s --random-input=1 --time | FileCheck %s
// RUN: quant-run %s --random-input=1 --time --target=emulator | FileCheck %s

// Three equal layers are two kernels (product, softmax and sum), each
// called three times.

// CHECK: 2 kernels, 6 calls

func.func private @layer(%x: tensor<64x128xf32>, %w: tensor<128x128xf32>) -> tensor<64x128xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<64x128xf32>
  %fill = linalg.fill ins(%zero : f32) outs(%e : tensor<64x128xf32>) -> tensor<64x128xf32>
  %y = linalg.matmul ins(%x, %w : tensor<64x128xf32>, tensor<128x128xf32>) outs(%fill : tensor<64x128xf32>) -> tensor<64x128xf32>
  %s = linalg.softmax dimension(1) ins(%y : tensor<64x128xf32>) outs(%e : tensor<64x128xf32>) -> tensor<64x128xf32>
  %r = arith.addf %s, %x : tensor<64x128xf32>
  return %r : tensor<64x128xf32>
}

func.func @main(%x: tensor<64x128xf32>, %a: tensor<128x128xf32>, %b: tensor<128x128xf32>, %c: tensor<128x128xf32>) -> tensor<64x128xf32> {
  %0 = call @layer(%x, %a) : (tensor<64x128xf32>, tensor<128x128xf32>) -> tensor<64x128xf32>
  %1 = call @layer(%0, %b) : (tensor<64x128xf32>, tensor<128x128xf32>) -> tensor<64x128xf32>
  %2 = call @layer(%1, %c) : (tensor<64x128xf32>, tensor<128x128xf32>) -> tensor<64x128xf32>
  return %2 : tensor<64x128xf32>
}
