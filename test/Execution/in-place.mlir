// RUN: split-file %s %t
// RUN: quant-run %t/decode.mlir --random-input=0 --print-after=outline | FileCheck %s

// Nothing as large as the cache is made or copied: its new row is written where
// the cache lies, and that is no result any more.
// CHECK: func.func @main(%{{[a-z0-9]+}}: memref<1xi64>{{.*}}, %{{[a-z0-9]+}}: memref<4x8xf32>{{.*}}, %[[CACHE:[a-z0-9]+]]: memref<4x64x8xf32>{{.*}}) -> memref<4x8xf32>
// CHECK-NOT: memref.alloc{{.*}} : memref<4x64x8xf32>
// CHECK-NOT: memref.copy
// CHECK: call @{{.*}}(%{{.+}}, %[[CACHE]], %{{.+}})
// CHECK-NOT: memref.alloc{{.*}} : memref<4x64x8xf32>
// CHECK-NOT: memref.copy
// CHECK: return %{{[a-z0-9_]+}} : memref<4x8xf32>

// The arrays of the caller are left alone by a tool that may not write them.
// RUN: quant-run %t/twice.mlir --output=%t/x.npy --output=%t/c.npy --entry=make
// RUN: quant-run %t/twice.mlir --input=%t/x.npy --input=%t/c.npy --repeat=3 --print | FileCheck %s --check-prefix=TWICE
// TWICE: F32: 5 6{{$}}

// Where results cannot lie where they are wanted, they are brought there.
// RUN: quant-run %t/swap.mlir --random-input=1 --print > %t/swapped
// RUN: quant-run %t/swap.mlir --random-input=1 --print --entry=plain | diff - %t/swapped

// RUN: quant-run %t/range.mlir --entry=at3 --print | FileCheck %s --check-prefix=FITS
// FITS: F32: 0 0 0 7 7{{$}}
// RUN: not quant-run %t/range.mlir --entry=at4 2>&1 | FileCheck %s --check-prefix=RANGE
// RUN: not quant-run %t/range.mlir --entry=before 2>&1 | FileCheck %s --check-prefix=RANGE
// RANGE: run of '{{at4|before}}' failed: slice out of range in dimension 0 of a tensor

// RUN: not quant-run %t/bad.mlir --entry=number 2>&1 | FileCheck %s --check-prefix=NUMBER
// NUMBER: error: attribute 'lowbit.in_place' of argument 0 must be the number of a result, of which there are 1
// RUN: not quant-run %t/bad.mlir --entry=type 2>&1 | FileCheck %s --check-prefix=TYPE
// TYPE: error: attribute 'lowbit.in_place' of argument 0 names result 0, whose type is another
// RUN: not quant-run %t/bad.mlir --entry=two 2>&1 | FileCheck %s --check-prefix=TWO
// TWO: error: attribute 'lowbit.in_place' of argument 1 names result 0, as an argument before it does

//--- decode.mlir
func.func @main(%positions: tensor<1xi64>, %new: tensor<4x8xf32>, %cache: tensor<4x64x8xf32> {lowbit.in_place = 1 : i64})
    -> (tensor<4x8xf32>, tensor<4x64x8xf32>) {
  %c0 = arith.constant 0 : index
  %zero = arith.constant 0.0 : f32
  %position = tensor.extract %positions[%c0] : tensor<1xi64>
  %at = arith.index_cast %position : i64 to index
  %row = tensor.expand_shape %new [[0], [1, 2]] output_shape [4, 1, 8] : tensor<4x8xf32> into tensor<4x1x8xf32>
  %updated = tensor.insert_slice %row into %cache[0, %at, 0] [4, 1, 8] [1, 1, 1] : tensor<4x1x8xf32> into tensor<4x64x8xf32>
  %empty = tensor.empty() : tensor<4x8xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<4x8xf32>) -> tensor<4x8xf32>
  %sum = linalg.reduce { arith.addf } ins(%updated : tensor<4x64x8xf32>) outs(%start : tensor<4x8xf32>) dimensions = [1]
  return %sum, %updated : tensor<4x8xf32>, tensor<4x64x8xf32>
}

//--- twice.mlir
func.func @make() -> (tensor<2xf32>, tensor<2xf32>) {
  %x = arith.constant dense<[1.0, 2.0]> : tensor<2xf32>
  %c = arith.constant dense<[4.0, 4.0]> : tensor<2xf32>
  return %x, %c : tensor<2xf32>, tensor<2xf32>
}
func.func @main(%x: tensor<2xf32>, %cache: tensor<2xf32> {lowbit.in_place = 0 : i64}) -> tensor<2xf32> {
  %sum = linalg.add ins(%x, %cache : tensor<2xf32>, tensor<2xf32>) outs(%cache : tensor<2xf32>) -> tensor<2xf32>
  return %sum : tensor<2xf32>
}

//--- swap.mlir
func.func @main(%a: tensor<5xf32> {lowbit.in_place = 1 : i64}, %b: tensor<5xf32> {lowbit.in_place = 0 : i64}, %c: tensor<5xf32> {lowbit.in_place = 2 : i64})
    -> (tensor<5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32>) {
  return %a, %b, %a, %c : tensor<5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32>
}
func.func @plain(%a: tensor<5xf32>, %b: tensor<5xf32>, %c: tensor<5xf32>) -> (tensor<5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32>) {
  return %a, %b, %a, %c : tensor<5xf32>, tensor<5xf32>, tensor<5xf32>, tensor<5xf32>
}

//--- range.mlir
func.func private @write(%at: i64) -> tensor<5xf32> {
  %zeros = arith.constant dense<0.0> : tensor<5xf32>
  %new = arith.constant dense<7.0> : tensor<2xf32>
  %index = arith.index_cast %at : i64 to index
  %result = tensor.insert_slice %new into %zeros[%index] [2] [1] : tensor<2xf32> into tensor<5xf32>
  return %result : tensor<5xf32>
}
// Not known while it is compiled: dense resources are not folded.
func.func @at3() -> tensor<5xf32> {
  %c0 = arith.constant 0 : index
  %data = arith.constant dense_resource<three> : tensor<1xi64>
  %at = tensor.extract %data[%c0] : tensor<1xi64>
  %result = func.call @write(%at) : (i64) -> tensor<5xf32>
  return %result : tensor<5xf32>
}
func.func @at4() -> tensor<5xf32> {
  %c0 = arith.constant 0 : index
  %data = arith.constant dense_resource<four> : tensor<1xi64>
  %at = tensor.extract %data[%c0] : tensor<1xi64>
  %result = func.call @write(%at) : (i64) -> tensor<5xf32>
  return %result : tensor<5xf32>
}
func.func @before() -> tensor<5xf32> {
  %c0 = arith.constant 0 : index
  %data = arith.constant dense_resource<before> : tensor<1xi64>
  %at = tensor.extract %data[%c0] : tensor<1xi64>
  %result = func.call @write(%at) : (i64) -> tensor<5xf32>
  return %result : tensor<5xf32>
}
{-# dialect_resources: { builtin: {
  three: "0x080000000300000000000000",
  four: "0x080000000400000000000000",
  before: "0x08000000FFFFFFFFFFFFFFFF"
} } #-}

//--- bad.mlir
func.func @number(%c: tensor<2xf32> {lowbit.in_place = 1 : i64}) -> tensor<2xf32> {
  return %c : tensor<2xf32>
}
func.func @type(%c: tensor<2xf32> {lowbit.in_place = 0 : i64}) -> tensor<3xf32> {
  %r = arith.constant dense<0.0> : tensor<3xf32>
  return %r : tensor<3xf32>
}
func.func @two(%c: tensor<2xf32> {lowbit.in_place = 0 : i64}, %d: tensor<2xf32> {lowbit.in_place = 0 : i64}) -> tensor<2xf32> {
  return %c : tensor<2xf32>
}
