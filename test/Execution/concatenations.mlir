// RUN: quant-run %s --entry=rotate --random-input=1 --print-after=outline | FileCheck %s --check-prefix=ROTATE
// RUN: quant-run %s --entry=uneven --random-input=1 --print | FileCheck %s --check-prefix=UNEVEN
// RUN: quant-run %s --entry=across --random-input=1 --print | FileCheck %s --check-prefix=ACROSS
// RUN: quant-run %s --entry=many --random-input=1 --print | FileCheck %s --check-prefix=MANY

// A rotary embedding: y = x * c + rotate_half(x) * s becomes a loop for each
// half, which reads x and writes y where they lie. Nothing is copied.
// ROTATE-NOT:   memref.copy
// ROTATE-LABEL: func.func @rotate
// ROTATE-SAME:    %[[X:[a-z0-9]+]]: memref<4x3x8xf32>
// ROTATE-DAG:   %[[LOW:.+]] = memref.subview %[[X]][0, 0, 0] [4, 3, 4]
// ROTATE-DAG:   %[[HIGH:.+]] = memref.subview %[[X]][0, 0, 4] [4, 3, 4]
// ROTATE:       %[[Y:.+]] = memref.alloc() {{.*}} : memref<3x4x8xf32>
// ROTATE:       %[[YLOW:.+]] = memref.subview %[[Y]][0, 0, 0] [3, 4, 4]
// ROTATE:       call @{{.+}}(%[[LOW]], %{{.+}}, %[[HIGH]], %{{.+}}, %[[YLOW]])
// ROTATE:       %[[YHIGH:.+]] = memref.subview %[[Y]][0, 0, 4] [3, 4, 4]
// ROTATE-NEXT:  call @{{.+}}(%[[HIGH]], %{{.+}}, %[[LOW]], %{{.+}}, %[[YHIGH]])
// ROTATE-NEXT:  return %[[Y]]
func.func @rotate(%x: tensor<4x3x8xf32>, %c: tensor<4x8xf32>, %s: tensor<4x8xf32>) -> tensor<3x4x8xf32> {
  %e = tensor.empty() : tensor<3x4x8xf32>
  %t = linalg.transpose ins(%x : tensor<4x3x8xf32>) outs(%e : tensor<3x4x8xf32>) permutation = [1, 0, 2]
  %low = tensor.extract_slice %t[0, 0, 0] [3, 4, 4] [1, 1, 1] : tensor<3x4x8xf32> to tensor<3x4x4xf32>
  %high = tensor.extract_slice %t[0, 0, 4] [3, 4, 4] [1, 1, 1] : tensor<3x4x8xf32> to tensor<3x4x4xf32>
  %negative = arith.negf %high : tensor<3x4x4xf32>
  %half = tensor.concat dim(2) %negative, %low : (tensor<3x4x4xf32>, tensor<3x4x4xf32>) -> tensor<3x4x8xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(h, t, d) -> (h, t, d)>, affine_map<(h, t, d) -> (t, d)>,
                       affine_map<(h, t, d) -> (h, t, d)>, affine_map<(h, t, d) -> (t, d)>,
                       affine_map<(h, t, d) -> (h, t, d)>],
      iterator_types = ["parallel", "parallel", "parallel"]}
      ins(%t, %c, %half, %s : tensor<3x4x8xf32>, tensor<4x8xf32>, tensor<3x4x8xf32>, tensor<4x8xf32>)
      outs(%e : tensor<3x4x8xf32>) {
  ^bb0(%a: f32, %cos: f32, %b: f32, %sin: f32, %o: f32):
    %0 = arith.mulf %a, %cos : f32
    %1 = arith.mulf %b, %sin : f32
    %2 = arith.addf %0, %1 : f32
    linalg.yield %2 : f32
  } -> tensor<3x4x8xf32>
  return %y : tensor<3x4x8xf32>
}

// Pieces of several sizes, an operand that is broadcast, one that is accumulated
// into, and a slice across two pieces.
// UNEVEN: [2, 4] F32: 11 22 33 43 54 65 76 86
// UNEVEN: [2, 2] F32: 22 33 65 76
func.func @uneven(%x: tensor<1xf32>) -> (tensor<2x4xf32>, tensor<2x2xf32>) {
  %a = arith.constant dense<[[1.0], [4.0]]> : tensor<2x1xf32>
  %b = arith.constant dense<[[2.0, 3.0, 3.0], [5.0, 6.0, 6.0]]> : tensor<2x3xf32>
  %row = arith.constant dense<[10.0, 20.0, 30.0, 40.0]> : tensor<4xf32>
  %init = arith.constant dense<[[0.0, 0.0, 0.0, 0.0], [40.0, 40.0, 40.0, 40.0]]> : tensor<2x4xf32>
  %all = tensor.concat dim(1) %a, %b : (tensor<2x1xf32>, tensor<2x3xf32>) -> tensor<2x4xf32>
  %y = linalg.generic {
      indexing_maps = [affine_map<(i, j) -> (i, j)>, affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]}
      ins(%all, %row : tensor<2x4xf32>, tensor<4xf32>) outs(%init : tensor<2x4xf32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %0 = arith.addf %p, %q : f32
    %1 = arith.addf %0, %o : f32
    linalg.yield %1 : f32
  } -> tensor<2x4xf32>
  %slice = tensor.extract_slice %y[0, 1] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
  return %y, %slice : tensor<2x4xf32>, tensor<2x2xf32>
}

// The concatenation comes out at another dimension than it went in.
// ACROSS: [2, 3] F32: 1 3 5 2 4 6
func.func @across(%x: tensor<1xf32>) -> tensor<2x3xf32> {
  %a = arith.constant dense<[[1.0, 2.0]]> : tensor<1x2xf32>
  %b = arith.constant dense<[[3.0, 4.0], [5.0, 6.0]]> : tensor<2x2xf32>
  %all = tensor.concat dim(0) %a, %b : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %e = tensor.empty() : tensor<2x3xf32>
  %t = linalg.transpose ins(%all : tensor<3x2xf32>) outs(%e : tensor<2x3xf32>) permutation = [1, 0]
  return %t : tensor<2x3xf32>
}

// Of many pieces there would be many loops: they are put together first.
// MANY: [5] F32: -1 -2 -3 -4 -5
func.func @many(%x: tensor<1xf32>) -> tensor<5xf32> {
  %a = arith.constant dense<[1.0]> : tensor<1xf32>
  %b = arith.constant dense<[2.0]> : tensor<1xf32>
  %c = arith.constant dense<[3.0]> : tensor<1xf32>
  %d = arith.constant dense<[4.0]> : tensor<1xf32>
  %e = arith.constant dense<[5.0]> : tensor<1xf32>
  %all = tensor.concat dim(0) %a, %b, %c, %d, %e
      : (tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>, tensor<1xf32>) -> tensor<5xf32>
  %y = arith.negf %all : tensor<5xf32>
  return %y : tensor<5xf32>
}
