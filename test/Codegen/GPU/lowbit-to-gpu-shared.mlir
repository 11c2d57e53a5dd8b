// RUN: quant-opt %s --rtn-quantize="group-size=64 progress=none" --lowbit-to-gpu=chip=sm_80 2>/dev/null | FileCheck %s

// Stripes meet inside a block of rows: sums to share, and counters that are
// cleared.

// CHECK-LABEL: func.func @main
// CHECK:       %[[SUMS:.*]] = memref.alloc() : memref<{{.*}}xf32>
// CHECK:       %[[COUNTERS:.*]] = memref.alloc() : memref<3xi32>
// CHECK:       gpu.memset %[[COUNTERS]], %{{.*}} : memref<3xi32>, i32
// CHECK:       gpu.launch_func
// CHECK-SAME:    %[[SUMS]] : memref<{{.*}}xf32>, %[[COUNTERS]] : memref<3xi32>
func.func @main(%x: tensor<32x704xf16>) -> tensor<32x300xf16> {
  %w = arith.constant dense<0.5> : tensor<300x704xf16>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<32x704xf16>, tensor<300x704xf16>) -> tensor<32x300xf16>
  return %y : tensor<32x300xf16>
}
