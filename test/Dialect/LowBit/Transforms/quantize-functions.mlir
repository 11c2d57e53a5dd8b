// RUN: quant-opt %s --rtn-quantize="group-size=4 search=none progress=none report=%t.json" > %t.mlir
// RUN: FileCheck %s < %t.mlir
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %t.mlir --lowbit-pack=target=cpu | FileCheck %s --check-prefix=PACKED
// RUN: quant-opt %s --rtn-quantize="skip=fc progress=none" 2>&1 | FileCheck %s --check-prefix=SKIP

// A weight that functions share is quantized where it is read in the entry, and
// stored once; a layer has one name.
// CHECK-LABEL: func @main
// CHECK-DAG: lowbit.weight "fc" [[PLANES:{.+}]] :
// CHECK-DAG: lowbit.weight "own"
// CHECK: return
// CHECK-LABEL: func @decode
// CHECK-NOT: arith.constant dense_resource<fc.weight>
// CHECK: %[[W:.+]] = lowbit.weight "fc" [[PLANES]] :
// CHECK: lowbit.linear %{{.+}}, %[[W]] {name = "fc"}
// CHECK: lowbit.linear %{{.+}}, %{{.+}} {name = "other"} : (tensor<1x4xf32>, tensor<2x4xf32>)
// JSON: "name": "fc"
// JSON-NOT: "name": "fc"
// JSON: "name": "other"
// JSON-NEXT: "reason": "not in the entry function 'main' (option entry)"
// PACKED: lowbit.weight "fc" [[PLANES:{.+}]] : {{.+}} #lowbit.layout<cpu>>
// PACKED: lowbit.weight "fc" [[PLANES]] : {{.+}} #lowbit.layout<cpu>>
// SKIP-LABEL: func @decode
// SKIP: lowbit.linear %{{.+}} {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>)
func.func @main(%x: tensor<3x4xf32>) -> (tensor<3x2xf32>, tensor<3x2xf32>) {
  %w = arith.constant dense_resource<fc.weight> : tensor<2x4xf32>
  %v = arith.constant dense_resource<own.weight> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<3x2xf32>
  %z = lowbit.linear %x, %v {name = "own"} : (tensor<3x4xf32>, tensor<2x4xf32>) -> tensor<3x2xf32>
  return %y, %z : tensor<3x2xf32>, tensor<3x2xf32>
}
// As an importer writes it.
func.func @decode(%x: tensor<1x4xf32>) -> (tensor<1x2xf32>, tensor<1x2xf32>) {
  %w = arith.constant dense_resource<fc.weight> : tensor<2x4xf32>
  %o = arith.constant dense_resource<other.weight> : tensor<2x4xf32>
  %zero = arith.constant 0.0 : f32
  %turned = tensor.empty() : tensor<4x2xf32>
  %t = linalg.transpose ins(%w : tensor<2x4xf32>) outs(%turned : tensor<4x2xf32>) permutation = [1, 0]
  %empty = tensor.empty() : tensor<1x2xf32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<1x2xf32>) -> tensor<1x2xf32>
  %y = linalg.matmul ins(%x, %t : tensor<1x4xf32>, tensor<4x2xf32>) outs(%start : tensor<1x2xf32>) -> tensor<1x2xf32>
  %z = lowbit.linear %x, %o {name = "other"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y, %z : tensor<1x2xf32>, tensor<1x2xf32>
}
{-# dialect_resources: { builtin: {
  fc.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF",
  own.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF",
  other.weight: "0x04000000000000000000A0400000204100007041000070410000000000008040000080BF"
} } #-}
