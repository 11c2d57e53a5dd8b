// RUN: quant-opt %s --rtn-quantize="group-size=64 zero=none progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-opt %t.mlir --lowbit-to-cpu=compute=i8 | FileCheck %s

// The experts of a layer are one call: weights lie one after the other, and y
// starts as the rows of no expert.

// CHECK-LABEL: func.func @main
// CHECK-SAME:  %[[X:.*]]: tensor<?x64xf32>, %[[ROUTING:.*]]: tensor<?xi64>, %[[OTHERS:.*]]: tensor<?x32xf32>
// CHECK:       %[[IN:.*]] = bufferization.to_buffer %[[X]] read_only
// CHECK:       %[[ROWS:.*]] = memref.dim %[[IN]]
// CHECK:       %[[BYTES:.*]] = arith.muli %[[ROWS]]
// CHECK:       %[[WORK:.*]] = memref.alloc(%[[BYTES]])
// CHECK:       %[[R:.*]] = bufferization.to_buffer %[[ROUTING]] read_only
// CHECK:       arith.constant dense_resource<{{.*}}> : tensor<2048xi8>
// CHECK:       arith.constant dense_resource<{{.*}}> : tensor<64xf16>
// CHECK:       %[[START:.*]] = bufferization.alloc_tensor(){{.*}} copy(%[[OTHERS]])
// CHECK:       %[[Y:.*]] = bufferization.to_buffer %[[START]]
// CHECK:       call @[[F:lowbit_linear_[^(]*_e5to7]](%[[IN]], %[[WORK]], %[[R]], %{{.*}}, %{{.*}}, %[[Y]])
// CHECK-NOT:   lowbit.
// CHECK:       return

// Rows are sorted, arranged in that order and multiplied by tiles that write
// them where they came from.
// CHECK:       func.func private @[[F]](
// CHECK:       scf.for
// CHECK:       scf.parallel
// CHECK:       call @lowbit_arrange_
// CHECK:       scf.parallel
// CHECK:       arith.divui
// CHECK:       call @[[TILE:lowbit_tile_[^(]*_s]](
// CHECK:       func.func private @[[TILE]](
func.func @main(%x: tensor<?x64xf32>, %r: tensor<?xi64>, %others: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w0 = arith.constant dense<0.5> : tensor<32x64xf32>
  %w1 = arith.constant dense<0.25> : tensor<32x64xf32>
  %1 = lowbit.linear %x, %w0 routed(%r, %others) {expert = 5 : i64, name = "up.5"}
      : (tensor<?x64xf32>, tensor<32x64xf32>, tensor<?xi64>, tensor<?x32xf32>) -> tensor<?x32xf32>
  %2 = lowbit.linear %x, %w1 routed(%r, %1) {expert = 6 : i64, name = "up.6"}
      : (tensor<?x64xf32>, tensor<32x64xf32>, tensor<?xi64>, tensor<?x32xf32>) -> tensor<?x32xf32>
  return %2 : tensor<?x32xf32>
}
