// RUN: quant-opt %s --rtn-quantize="embeddings=quantize group-size=4 progress=none report=%t.json" > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %t.mlir --lowbit-pack=target=cpu | FileCheck %s --check-prefix=PACKED
// RUN: quant-opt %s --rtn-quantize="progress=none report=%t.json" | FileCheck %s --check-prefix=KEEP
// RUN: FileCheck %s --check-prefix=KEPT < %t.json
// RUN: not quant-opt %t.mlir --rtn-quantize=embeddings=quantize 2>&1 | FileCheck %s --check-prefix=AGAIN

// A table that only look-ups read becomes one weight for all functions.
// CHECK-LABEL: func @main
// CHECK-SAME: (%[[IDS:.+]]: tensor<1x3xi64>)
// CHECK: %[[W:.+]] = lowbit.weight "embed" [[PLANES:{.+}]] : !lowbit.weight<5x4xf32,
// CHECK: %[[ROWS:.+]] = linalg.generic {{.+}} ins(%[[IDS]] : tensor<1x3xi64>) outs(%{{.+}} : tensor<1x3xi64>)
// CHECK-NOT: tensor.extract
// CHECK: %[[E:.+]] = lowbit.lookup %[[ROWS]], %[[W]] : {{.+}} -> tensor<1x3x4xf32>
// CHECK: lowbit.linear %[[E]],
// CHECK-LABEL: func @decode
// CHECK: %[[W:.+]] = lowbit.weight "embed" [[PLANES]] :
// CHECK: lowbit.lookup %{{.+}}, %[[W]] : {{.+}} -> tensor<4xf32>
// CHECK: dialect_resources
// CHECK-NOT: embed.weight
// PACKED: lowbit.weight "embed" [[PLANES:{.+}]] : {{.+}} #lowbit.layout<cpu>>
// PACKED: lowbit.lookup {{.+}} #lowbit.layout<cpu>>
// PACKED: lowbit.weight "embed" [[PLANES]] : {{.+}} #lowbit.layout<cpu>>

// JSON: "name": "embed",
// JSON: "role": "embedding",
// JSON: "name": "own",
// JSON: "role": "linear",

// KEEP-NOT: lowbit.lookup
// KEEP: tensor.extract
// KEPT: "name": "embed",
// KEPT-NEXT: "reason": "an embedding, whose rows stay float - embeddings=quantize takes it too"

// AGAIN: no linear layer to quantize
// AGAIN: own: already quantized
// AGAIN: embed: already quantized
func.func @main(%ids: tensor<1x3xi64>) -> tensor<1x3x5xf32> {
  %t = arith.constant dense_resource<embed.weight> : tensor<5x4xf32>
  %o = arith.constant dense_resource<own.weight> : tensor<5x4xf32>
  %0 = tensor.empty() : tensor<1x3x4xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0, d1, d2) -> (d0, d1)>, affine_map<(d0, d1, d2) -> (d0, d1, d2)>], iterator_types = ["parallel", "parallel", "parallel"]} ins(%ids : tensor<1x3xi64>) outs(%0 : tensor<1x3x4xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 2 : index
    %v = tensor.extract %t[%i, %k] : tensor<5x4xf32>
    linalg.yield %v : f32
  } -> tensor<1x3x4xf32>
  %h = lowbit.linear %e, %o {name = "own"} : (tensor<1x3x4xf32>, tensor<5x4xf32>) -> tensor<1x3x5xf32>
  return %h : tensor<1x3x5xf32>
}
func.func @decode(%id: tensor<i32>) -> tensor<4xf32> {
  %t = arith.constant dense_resource<embed.weight> : tensor<5x4xf32>
  %0 = tensor.empty() : tensor<4xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} ins(%id : tensor<i32>) outs(%0 : tensor<4xf32>) {
  ^bb0(%in: i32, %out: f32):
    %i = arith.index_cast %in : i32 to index
    %k = linalg.index 0 : index
    %v = tensor.extract %t[%i, %k] : tensor<5x4xf32>
    linalg.yield %v : f32
  } -> tensor<4xf32>
  return %e : tensor<4xf32>
}
{-# dialect_resources: { builtin: {
  embed.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041",
  own.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041000070410000000000008040000080BF000000000000A0400000204100007041"
} } #-}
