// RUN: split-file %s %t
// RUN: not quant-run %t/gather.mlir 2>&1 | FileCheck %s --check-prefix=GATHER
// RUN: not quant-run %t/gather.mlir --target=emulator 2>&1 | FileCheck %s --check-prefix=GATHER
// RUN: not quant-run %t/assert.mlir 2>&1 | FileCheck %s --check-prefix=ASSERT
// RUN: not quant-run %t/assert.mlir --target=emulator 2>&1 | FileCheck %s --check-prefix=ASSERT
// RUN: not quant-run %t/unused.mlir 2>&1 | FileCheck %s --check-prefix=UNUSED
// RUN: not quant-run %t/unused.mlir --target=emulator 2>&1 | FileCheck %s --check-prefix=UNUSED
// RUN: not quant-run %t/unknown.mlir --random-input=0 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not quant-run %t/short.mlir 2>&1 | FileCheck %s --check-prefix=SHORT
// RUN: not quant-run %t/elided.mlir 2>&1 | FileCheck %s --check-prefix=ELIDED
// RUN: not quant-run %t/assert.mlir --entry=other 2>&1 | FileCheck %s --check-prefix=ENTRY
// RUN: not quant-run %t/unknown.mlir --entry=scalar 2>&1 | FileCheck %s --check-prefix=SCALAR
// RUN: not quant-run %t/inputs.mlir 2>&1 | FileCheck %s --check-prefix=INPUTS
// RUN: not quant-run %t/inputs.mlir --input=%t/nothing.npy 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: not quant-run %t/inputs.mlir --random-input=0 --perplexity=%t/nothing.npy 2>&1 | FileCheck %s --check-prefix=FILE
// RUN: not quant-run %t/none.mlir 2>&1 | FileCheck %s --check-prefix=NONE

//--- gather.mlir
// GATHER: run of 'main' failed: index out of range in dimension 0
func.func @main() -> tensor<1xf32> {
  %table = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %ids = arith.constant dense<2> : tensor<1xindex>
  %e = tensor.empty() : tensor<1xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]}
      ins(%ids : tensor<1xindex>) outs(%e : tensor<1xf32>) {
  ^bb0(%i: index, %o: f32):
    %v = tensor.extract %table[%i] : tensor<2xf32>
    linalg.yield %v : f32
  } -> tensor<1xf32>
  return %r : tensor<1xf32>
}

//--- assert.mlir
// ASSERT: run of 'main' failed: sizes differ
// ENTRY: has no function 'other'
// ENTRY: there is 'main'
func.func @main() -> tensor<1xf32> {
  %r = arith.constant dense<1.0> : tensor<1xf32>
  %zero = arith.constant 0 : index
  %v = tensor.extract %r[%zero] : tensor<1xf32>
  %two = arith.constant 2.0 : f32
  %equal = arith.cmpf oeq, %v, %two : f32
  cf.assert %equal, "sizes differ"
  return %r : tensor<1xf32>
}

//--- unused.mlir
// A check counts even where nobody reads what it guards.
// UNUSED: run of 'main' failed: too large
func.func @main() -> tensor<2xf32> {
  %x = arith.constant dense<[1.0, 3.0]> : tensor<2xf32>
  %two = arith.constant 2.0 : f32
  %e = tensor.empty() : tensor<2xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]}
      ins(%x : tensor<2xf32>) outs(%e : tensor<2xf32>) {
  ^bb0(%v: f32, %o: f32):
    %small = arith.cmpf olt, %v, %two : f32
    cf.assert %small, "too large"
    linalg.yield %v : f32
  } -> tensor<2xf32>
  return %x : tensor<2xf32>
}

//--- unknown.mlir
// UNKNOWN: cannot be run on the host: quant-opt does not know how to lower 'strange.op'
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  %y = "strange.op"(%x) : (tensor<2xf32>) -> tensor<2xf32>
  return %y : tensor<2xf32>
}
// SCALAR: cannot be run: argument 0 is 'f32', not a ranked tensor
func.func @scalar(%x: f32) -> f32 {
  return %x : f32
}

//--- short.mlir
// SHORT: error: {{.*}}short_one
func.func @main() -> tensor<4xf32> {
  %x = arith.constant dense_resource<short_one> : tensor<4xf32>
  return %x : tensor<4xf32>
}
{-#
  dialect_resources: { builtin: { short_one: "0x040000000000803F" } }
#-}

//--- elided.mlir
// ELIDED: error: {{.*}}weight of 'fc'{{.*}}gone
func.func @main() -> tensor<1x2xf32> {
  %x = arith.constant dense<1.0> : tensor<1x4xf32>
  %w = arith.constant dense_resource<gone> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}

//--- inputs.mlir
// INPUTS: 'main' takes tensor<2x3xf32>; give one --input=FILE.npy for each
// FILE: nothing.npy
func.func @main(%x: tensor<2x3xf32>) -> tensor<2x3xf32> {
  return %x : tensor<2x3xf32>
}

// NONE: none.mlir
