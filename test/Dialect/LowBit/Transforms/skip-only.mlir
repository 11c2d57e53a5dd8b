// RUN: quant-opt %s --rtn-quantize="skip=^a$,c progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %s --rtn-quantize="only=b progress=none" | FileCheck %s
// RUN: quant-opt %s --rtn-quantize="tied=quantize only=head progress=none" | FileCheck %s --check-prefix=TIED

// CHECK-LABEL: func @main
// TIED-LABEL: func @main
func.func @main(%x: tensor<2x4xf32>, %i: index) -> (tensor<2x2xf32>, f32) {
  %c0 = arith.constant 0 : index
  %w0 = arith.constant dense<[[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w1 = arith.constant dense<[[1.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w2 = arith.constant dense<[[2.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0], [8.0, 9.0, 1.0, 2.0], [3.0, 4.0, 5.0, 6.0]]> : tensor<4x4xf32>
  %w3 = arith.constant dense<[[3.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 7.0]]> : tensor<2x4xf32>
  // CHECK: %[[B:.+]] = lowbit.weight "b"
  // CHECK-NOT: lowbit.weight "
  %a = lowbit.linear %x, %w0 {name = "a"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  // CHECK: lowbit.linear %{{.+}}, %[[B]] {name = "b"}
  %b = lowbit.linear %a, %w1 {name = "b"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  %c = lowbit.linear %b, %w2 {name = "c"} : (tensor<2x4xf32>, tensor<4x4xf32>) -> tensor<2x4xf32>
  // An embedding reads the same weight as the head.
  // TIED: arith.constant dense<{{.+}}> : tensor<2x4xf32>
  // TIED: lowbit.weight "head"
  %row = tensor.extract %w3[%i, %c0] : tensor<2x4xf32>
  %h = lowbit.linear %c, %w3 {name = "head"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %h, %row : tensor<2x2xf32>, f32
}
// JSON: "layers": [
// JSON: "name": "b"
// JSON: "skipped": [
// JSON: "name": "a",
// JSON-NEXT: "reason": "left out by option skip"
// JSON: "name": "c"
// JSON: "name": "head",
// JSON-NEXT: "reason": "tied: its weight is also used by 'tensor.extract'
