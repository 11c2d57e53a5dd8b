// RUN: quant-run %s --entry=layers --random-input=1 --print-after=fuse | FileCheck %s
// RUN: quant-run %s --entry=layers --random-input=1 --time | FileCheck %s --check-prefix=TIME
// RUN: quant-run %s --entry=half --random-input=1 --print-after=fuse | FileCheck %s --check-prefix=HALF
// RUN: quant-run %s --entry=seen --random-input=1 --print-after=fuse | FileCheck %s --check-prefix=SEEN

// Two equal attentions share a kernel; no scores are left outside of it.

// CHECK: func.func private @attention_0(%[[Q:.*]]: memref<2x64x16xf32>, %[[K:.*]]: memref<2x80x16xf32>, %[[V:.*]]: memref<2x80x16xf32>, %[[MASK:.*]]: memref<64x80xf32>, %{{.*}}: memref<2x64x16xf32>)
// Keys are transposed once, for all blocks of rows.
// CHECK: memref.alloc() {alignment = 64 : i64} : memref<4096xf32>
// Scores of 32 rows and two blocks of 64 keys, a line between rows.
// CHECK: memref.alloca() {alignment = 64 : i64} : memref<4608xf32>
// What a mask leaves of a block is asked before it is multiplied.
// CHECK: vector.reduction <or>
// CHECK: scf.if
// CHECK: vector.fma
// CHECK: math.exp
// CHECK-NOT: func.func private @attention_1
// CHECK: func.func @layers
// CHECK-NOT: 2x64x80xf32
// CHECK-COUNT-2: call @attention_0
// CHECK-NOT: 2x64x80xf32

// TIME: 1 kernels, 2 calls

func.func private @attention(%q: tensor<2x64x16xf32>, %k: tensor<2x80x16xf32>, %v: tensor<2x80x16xf32>,
                             %mask: tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>) {
  %zero = arith.constant 0.0 : f32
  %scale = arith.constant 0.25 : f32
  %e = tensor.empty() : tensor<2x64x80xf32>
  %s0 = linalg.fill ins(%zero : f32) outs(%e : tensor<2x64x80xf32>) -> tensor<2x64x80xf32>
  %kte = tensor.empty() : tensor<2x16x80xf32>
  %kt = linalg.transpose ins(%k : tensor<2x80x16xf32>) outs(%kte : tensor<2x16x80xf32>) permutation = [0, 2, 1]
  %s = linalg.batch_matmul ins(%q, %kt : tensor<2x64x16xf32>, tensor<2x16x80xf32>)
                           outs(%s0 : tensor<2x64x80xf32>) -> tensor<2x64x80xf32>
  %t = linalg.generic {indexing_maps = [affine_map<(h, i, j) -> (h, i, j)>, affine_map<(h, i, j) -> (i, j)>,
                                        affine_map<(h, i, j) -> (h, i, j)>],
                       iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%s, %mask : tensor<2x64x80xf32>, tensor<64x80xf32>) outs(%e : tensor<2x64x80xf32>) {
  ^bb0(%x: f32, %m: f32, %o: f32):
    %scaled = arith.mulf %x, %scale : f32
    %y = arith.addf %scaled, %m : f32
    linalg.yield %y : f32
  } -> tensor<2x64x80xf32>
  %p = linalg.softmax dimension(2) ins(%t : tensor<2x64x80xf32>) outs(%e : tensor<2x64x80xf32>) -> tensor<2x64x80xf32>
  %oe = tensor.empty() : tensor<2x64x16xf32>
  %o0 = linalg.fill ins(%zero : f32) outs(%oe : tensor<2x64x16xf32>) -> tensor<2x64x16xf32>
  %o = linalg.batch_matmul ins(%p, %v : tensor<2x64x80xf32>, tensor<2x80x16xf32>)
                           outs(%o0 : tensor<2x64x16xf32>) -> tensor<2x64x16xf32>
  return %o, %p : tensor<2x64x16xf32>, tensor<2x64x80xf32>
}

func.func @layers(%q: tensor<2x64x16xf32>, %k: tensor<2x80x16xf32>, %v: tensor<2x80x16xf32>,
                  %mask: tensor<64x80xf32>) -> tensor<2x64x16xf32> {
  %0:2 = call @attention(%q, %k, %v, %mask) : (tensor<2x64x16xf32>, tensor<2x80x16xf32>, tensor<2x80x16xf32>, tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>)
  %1:2 = call @attention(%0#0, %k, %v, %mask) : (tensor<2x64x16xf32>, tensor<2x80x16xf32>, tensor<2x80x16xf32>, tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>)
  return %1#0 : tensor<2x64x16xf32>
}

// Weights that are a result have to exist.
// SEEN-NOT: @attention_0
// SEEN: func.func @seen
// SEEN: return
func.func @seen(%q: tensor<2x64x16xf32>, %k: tensor<2x80x16xf32>, %v: tensor<2x80x16xf32>,
                %mask: tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>) {
  %0:2 = call @attention(%q, %k, %v, %mask) : (tensor<2x64x16xf32>, tensor<2x80x16xf32>, tensor<2x80x16xf32>, tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>)
  return %0#0, %0#1 : tensor<2x64x16xf32>, tensor<2x64x80xf32>
}

// Keys and values of 16 bits are widened where they are read.
// HALF: func.func @half
// HALF-NOT: arith.extf
// HALF: call @attention_0({{.*}}) : (memref<2x64x16xf32>, memref<2x80x16xf16>, memref<2x80x16xf16>, memref<64x80xf32>, memref<2x64x16xf32>)
// HALF-NOT: arith.extf
func.func @half(%q: tensor<2x64x16xf32>, %k: tensor<2x80x16xf16>, %v: tensor<2x80x16xf16>,
                %mask: tensor<64x80xf32>) -> tensor<2x64x16xf32> {
  %wideK = arith.extf %k : tensor<2x80x16xf16> to tensor<2x80x16xf32>
  %wideV = arith.extf %v : tensor<2x80x16xf16> to tensor<2x80x16xf32>
  %0:2 = call @attention(%q, %wideK, %wideV, %mask) : (tensor<2x64x16xf32>, tensor<2x80x16xf32>, tensor<2x80x16xf32>, tensor<64x80xf32>) -> (tensor<2x64x16xf32>, tensor<2x64x80xf32>)
  return %0#0 : tensor<2x64x16xf32>
}
