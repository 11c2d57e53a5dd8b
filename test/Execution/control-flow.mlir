// RUN: quant-run %s --entry=loop --random-input=1 --print | FileCheck %s --check-prefix=LOOP
// RUN: quant-run %s --entry=ones --random-input=1 --print | FileCheck %s --check-prefix=ONES
// RUN: quant-run %s --entry=ones --random-input=1 --print --target=emulator | FileCheck %s --check-prefix=ONES

// A tensor carried through a loop; its buffers are given back in the loop.
// Three times (v W^T + v W^T) from 0 * x + 1: 1 -> 2 -> 4 -> 8 with W = I.
// LOOP: [1, 2] F32: 8 8
func.func @loop(%x: tensor<1x2xf32>) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[1.0, 0.0], [0.0, 1.0]]> : tensor<2x2xf32>
  %zeros = arith.constant dense<0.0> : tensor<1x2xf32>
  %ones = arith.constant dense<1.0> : tensor<1x2xf32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %none = arith.mulf %x, %zeros : tensor<1x2xf32>
  %start = arith.addf %none, %ones : tensor<1x2xf32>
  %r = scf.for %i = %c0 to %c3 step %c1 iter_args(%v = %start) -> (tensor<1x2xf32>) {
    %y = lowbit.linear %v, %w {name = "loop"} : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
    %two = arith.addf %y, %y : tensor<1x2xf32>
    scf.yield %two : tensor<1x2xf32>
  }
  return %r : tensor<1x2xf32>
}

// arith and math ops on whole tensors: exp(x - x).
// ONES: [2, 2] F32: 1 1 1 1
func.func @ones(%x: tensor<2x2xf32>) -> tensor<2x2xf32> {
  %d = arith.subf %x, %x : tensor<2x2xf32>
  %e = math.exp %d : tensor<2x2xf32>
  return %e : tensor<2x2xf32>
}
