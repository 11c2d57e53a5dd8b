// RUN: quant-opt %s --rtn-quantize="embeddings=quantize progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json

// Tables that cannot be a quantized weight, or that something else reads, stay,
// and the report says why.
// CHECK: func @main
// CHECK-NOT: lowbit.lookup
// JSON: "name": "embedding.0",
// JSON-NEXT: "reason": "an embedding: it is not a constant"
// JSON: "name": "wide",
// JSON-NEXT: "reason": "an embedding: its elements are f64, not f32, f16 or bf16"
// JSON: "name": "added",
// JSON-NEXT: "reason": "an embedding: it is also used by 'linalg.add', which needs its floats"
// JSON: "name": "cut",
// JSON-NEXT: "reason": "an embedding: its rows are not read whole and in order"
// JSON: "name": "doubled",
// JSON-NEXT: "reason": "an embedding: what reads its rows does something else too"
// JSON: "name": "reshaped",
// JSON-NEXT: "reason": "an embedding: it is read as matrices of different shapes"
#row = affine_map<(d0, d1) -> (d0)>
#all = affine_map<(d0, d1) -> (d0, d1)>
func.func @main(%ids: tensor<3xi64>, %x: tensor<3x2xf32>, %argument: tensor<2x2xf32>)
    -> (tensor<3x2xf32>, tensor<3x2xf64>, tensor<3x2xf32>, tensor<2x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x2xf32>) {
  %w = arith.constant dense_resource<own> : tensor<2x2xf32>
  %wide = arith.constant dense_resource<wide> : tensor<2x2xf64>
  %added = arith.constant dense_resource<added> : tensor<2x2xf32>
  %cut = arith.constant dense_resource<cut> : tensor<2x2xf32>
  %doubled = arith.constant dense_resource<doubled> : tensor<2x2xf32>
  %as2 = arith.constant dense_resource<reshaped> : tensor<2x2xf32>
  %as4 = arith.constant dense_resource<reshaped> : tensor<1x4xf32>
  %0 = tensor.empty() : tensor<3x2xf32>
  %1 = tensor.empty() : tensor<3x2xf64>
  %2 = tensor.empty() : tensor<2x2xf32>
  %3 = tensor.empty() : tensor<3x1xf32>
  %4 = tensor.empty() : tensor<3x4xf32>
  %y = lowbit.linear %x, %w {name = "own"} : (tensor<3x2xf32>, tensor<2x2xf32>) -> tensor<3x2xf32>
  %a = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %argument[%i, %k] : tensor<2x2xf32>
    linalg.yield %v : f32
  } -> tensor<3x2xf32>
  %b = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%1 : tensor<3x2xf64>) {
  ^bb0(%in: i64, %out: f64):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %wide[%i, %k] : tensor<2x2xf64>
    linalg.yield %v : f64
  } -> tensor<3x2xf64>
  %c = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %added[%i, %k] : tensor<2x2xf32>
    linalg.yield %v : f32
  } -> tensor<3x2xf32>
  %s = linalg.add ins(%added, %added : tensor<2x2xf32>, tensor<2x2xf32>) outs(%2 : tensor<2x2xf32>) -> tensor<2x2xf32>
  %d = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%3 : tensor<3x1xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %cut[%i, %k] : tensor<2x2xf32>
    linalg.yield %v : f32
  } -> tensor<3x1xf32>
  %e = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %doubled[%i, %k] : tensor<2x2xf32>
    %twice = arith.addf %v, %v : f32
    linalg.yield %twice : f32
  } -> tensor<3x2xf32>
  %f = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x2xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %as2[%i, %k] : tensor<2x2xf32>
    linalg.yield %v : f32
  } -> tensor<3x2xf32>
  %g = linalg.generic {indexing_maps = [#row, #all], iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%4 : tensor<3x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %as4[%i, %k] : tensor<1x4xf32>
    linalg.yield %v : f32
  } -> tensor<3x4xf32>
  return %a, %b, %c, %s, %d, %e, %f, %g, %y : tensor<3x2xf32>, tensor<3x2xf64>, tensor<3x2xf32>, tensor<2x2xf32>, tensor<3x1xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x4xf32>, tensor<3x2xf32>
}
{-# dialect_resources: { builtin: {
  own: "0x040000000000803F000000400000404000008040",
  wide: "0x08000000000000000000F03F000000000000F03F000000000000F03F000000000000F03F",
  added: "0x040000000000803F000000400000404000008040",
  cut: "0x040000000000803F000000400000404000008040",
  doubled: "0x040000000000803F000000400000404000008040",
  reshaped: "0x040000000000803F000000400000404000008040"
} } #-}
