// RUN: quant-run %s --print | FileCheck %s
// RUN: quant-run %s --print --target=emulator | FileCheck %s
// RUN: quant-run %s --output-dir=%t --threads=1 && quant-run %s --output-dir=%t.2 --threads=2
// RUN: cmp %t/result0.npy %t.2/result0.npy

// Each family of ops once, on constants, against numbers worked out by hand.

func.func @main() -> (tensor<2x4xf32>, tensor<3x2xf16>, tensor<2xi64>,
                      tensor<3x5xf32>, tensor<2x2xf16>, tensor<2xf64>,
                      tensor<2x8xf32>, tensor<1x1x2x2xf32>, tensor<4xf32>,
                      tensor<2x2xf32>) {
  %zero = arith.constant 0.0 : f32
  %c0 = arith.constant 0 : i64
  %ninf = arith.constant 0xFF800000 : f32
  %x = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]> : tensor<2x4xf32>
  %e = tensor.empty() : tensor<2x4xf32>

  // CHECK: [2, 4] F32: 0.0320586 0.08714432 0.2368828 0.6439143 0.6439143 0.2368828 0.08714432 0.0320586
  %softmax = linalg.softmax dimension(1) ins(%x : tensor<2x4xf32>) outs(%e : tensor<2x4xf32>) -> tensor<2x4xf32>

  // A gather.
  // CHECK: [3, 2] F16: 5 6 1 2 3 4
  %table = arith.constant dense<[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]> : tensor<3x2xf16>
  %ids = arith.constant dense<[2, 0, 1]> : tensor<3xi64>
  %e1 = tensor.empty() : tensor<3x2xf16>
  %gather = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a)>, affine_map<(a, b) -> (a, b)>],
      iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%e1 : tensor<3x2xf16>) {
  ^bb0(%in: i64, %out: f16):
    %row = arith.index_cast %in : i64 to index
    %column = linalg.index 1 : index
    %value = tensor.extract %table[%row, %column] : tensor<3x2xf16>
    linalg.yield %value : f16
  } -> tensor<3x2xf16>

  // Two results of one reduction.
  // CHECK: [2] I64: 3 0
  %e2 = tensor.empty() : tensor<2xf32>
  %e3 = tensor.empty() : tensor<2xi64>
  %low = linalg.fill ins(%ninf : f32) outs(%e2 : tensor<2xf32>) -> tensor<2xf32>
  %first = linalg.fill ins(%c0 : i64) outs(%e3 : tensor<2xi64>) -> tensor<2xi64>
  %argmax:2 = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>, affine_map<(a, b) -> (a)>],
      iterator_types = ["parallel", "reduction"]} ins(%x : tensor<2x4xf32>) outs(%low, %first : tensor<2xf32>, tensor<2xi64>) {
  ^bb0(%in: f32, %best: f32, %at: i64):
    %i = linalg.index 1 : index
    %here = arith.index_cast %i : index to i64
    %max = arith.maximumf %in, %best : f32
    %more = arith.cmpf ogt, %in, %best : f32
    %which = arith.select %more, %here, %at : i64
    linalg.yield %max, %which : f32, i64
  } -> (tensor<2xf32>, tensor<2xi64>)

  // CHECK: [3, 5] F32: 0 0 0 0 0 1 2 3 4 0 4 3 2 1 0
  %pad = tensor.pad %x low[1, 0] high[0, 1] {
  ^bb0(%a: index, %b: index):
    tensor.yield %zero : f32
  } : tensor<2x4xf32> to tensor<3x5xf32>

  // A transposed operand is read in place; f16 sums in f32.
  // CHECK: [2, 2] F16: 30 20 20 30
  %h = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [4.0, 3.0, 2.0, 1.0]]> : tensor<2x4xf16>
  %e4 = tensor.empty() : tensor<4x2xf16>
  %t = linalg.transpose ins(%h : tensor<2x4xf16>) outs(%e4 : tensor<4x2xf16>) permutation = [1, 0]
  %zh = arith.constant 0.0 : f16
  %e5 = tensor.empty() : tensor<2x2xf16>
  %fh = linalg.fill ins(%zh : f16) outs(%e5 : tensor<2x2xf16>) -> tensor<2x2xf16>
  %matmul = linalg.matmul ins(%h, %t : tensor<2x4xf16>, tensor<4x2xf16>) outs(%fh : tensor<2x2xf16>) -> tensor<2x2xf16>

  // CHECK: [2] F64: 30 30
  %zd = arith.constant 0.0 : f64
  %c2 = arith.constant 2 : i64
  %e6 = tensor.empty() : tensor<2xf64>
  %fd = linalg.fill ins(%zd : f64) outs(%e6 : tensor<2xf64>) -> tensor<2xf64>
  %squares = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a)>],
      iterator_types = ["parallel", "reduction"]} ins(%x : tensor<2x4xf32>) outs(%fd : tensor<2xf64>) {
  ^bb0(%in: f32, %out: f64):
    %wide = arith.extf %in : f32 to f64
    %square = math.fpowi %wide, %c2 : f64, i64
    %sum = arith.addf %square, %out : f64
    linalg.yield %sum : f64
  } -> tensor<2xf64>

  // CHECK: [2, 8] F32: 3 4 1 2 1 2 3 4 2 1 4 3 4 3 2 1
  %left = tensor.extract_slice %x[0, 0] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
  %right = tensor.extract_slice %x[0, 2] [2, 2] [1, 1] : tensor<2x4xf32> to tensor<2x2xf32>
  %concat = tensor.concat dim(1) %right, %left, %x : (tensor<2x2xf32>, tensor<2x2xf32>, tensor<2x4xf32>) -> tensor<2x8xf32>

  // CHECK: [1, 1, 2, 2] F32: 12 16 24 28
  %image = arith.constant dense<[[[[0.0, 1.0, 2.0], [3.0, 4.0, 5.0], [6.0, 7.0, 8.0]]]]> : tensor<1x1x3x3xf32>
  %ones = arith.constant dense<1.0> : tensor<1x1x2x2xf32>
  %init = arith.constant dense<[[[[4.0, 4.0], [4.0, 4.0]]]]> : tensor<1x1x2x2xf32>
  %conv = linalg.conv_2d_nchw_fchw ins(%image, %ones : tensor<1x1x3x3xf32>, tensor<1x1x2x2xf32>)
      outs(%init : tensor<1x1x2x2xf32>) -> tensor<1x1x2x2xf32>

  // Functions that stay calls, and functions that become polynomials.
  // CHECK: [4] F32: 3.39683{{[0-9]}} 3.6042{{[0-9]+}} 3.66645{{[0-9]}} 3.4993{{[0-9]+}}
  %u = arith.constant dense<[0.5, 1.0, 2.0, 4.0]> : tensor<4xf32>
  %e7 = tensor.empty() : tensor<4xf32>
  %math = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>],
      iterator_types = ["parallel"]} ins(%u : tensor<4xf32>) outs(%e7 : tensor<4xf32>) {
  ^bb0(%in: f32, %out: f32):
    %s = math.sin %in : f32
    %c = math.cos %in : f32
    %th = math.tanh %in : f32
    %er = math.erf %in : f32
    %rs = math.rsqrt %in : f32
    %lg = math.log %in : f32
    %po = math.powf %in, %s : f32
    %ss = arith.mulf %s, %s : f32
    %cc = arith.mulf %c, %c : f32
    %r0 = arith.addf %ss, %cc : f32
    %r1 = arith.addf %r0, %th : f32
    %r2 = arith.addf %r1, %er : f32
    %r3 = arith.addf %r2, %rs : f32
    %lp = math.log %po : f32
    %q = arith.mulf %lg, %s : f32
    %z = arith.subf %lp, %q : f32
    %r = arith.addf %r3, %z : f32
    linalg.yield %r : f32
  } -> tensor<4xf32>

  // CHECK: [2, 2] F32: 1 0 0 3
  %mask = arith.constant dense<[[true, false], [false, true]]> : tensor<2x2xi1>
  %bf = arith.constant dense<[[1.0, 2.0], [2.5, 3.0]]> : tensor<2x2xbf16>
  %e8 = tensor.empty() : tensor<2x2xf32>
  %select = linalg.generic {indexing_maps = [affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>, affine_map<(a, b) -> (a, b)>],
      iterator_types = ["parallel", "parallel"]} ins(%mask, %bf : tensor<2x2xi1>, tensor<2x2xbf16>) outs(%e8 : tensor<2x2xf32>) {
  ^bb0(%m: i1, %in: bf16, %out: f32):
    %zb = arith.constant 0.0 : bf16
    %v = arith.select %m, %in, %zb : bf16
    %wide = arith.extf %v : bf16 to f32
    linalg.yield %wide : f32
  } -> tensor<2x2xf32>
  return %softmax, %gather, %argmax#1, %pad, %matmul, %squares, %concat, %conv, %math, %select
      : tensor<2x4xf32>, tensor<3x2xf16>, tensor<2xi64>, tensor<3x5xf32>, tensor<2x2xf16>, tensor<2xf64>,
        tensor<2x8xf32>, tensor<1x1x2x2xf32>, tensor<4xf32>, tensor<2x2xf32>
}
