// RUN: quant-opt %s --rtn-quantize="group-size=64 progress=none" --lowbit-to-gpu=chip=sm_90a 2>/dev/null | FileCheck %s

// The experts of a layer are one launch: rows are sorted first, weights lie one
// after the other, and y starts as the rows of no expert.

// CHECK: gpu.func @route_9_2_
// CHECK: gpu.func @skinny_w4g64z_f16_9_32_64_{{.*}}_experts_2

// CHECK-LABEL: func.func @main
// CHECK-SAME:  %[[X:.*]]: tensor<9x64xf32>, %[[ROUTING:.*]]: tensor<9xi64>
// CHECK-DAG:   %[[OTHERS:.*]] = arith.constant dense<0.000000e+00>
// CHECK-DAG:   %[[R:.*]] = bufferization.to_buffer %[[ROUTING]] read_only
// CHECK-DAG:   %[[NUMBERS:.*]] = arith.constant dense<[5, 2]> : tensor<2xi64>
// CHECK-DAG:   %[[N:.*]] = bufferization.to_buffer %[[NUMBERS]] read_only
// CHECK:       %[[GROUPS:.*]] = memref.alloc()
// CHECK:       gpu.launch_func @lowbit_kernels::@route_9_2_
// CHECK-SAME:    args(%[[R]] : memref<9xi64>, %[[N]] : memref<2xi64>, %[[GROUPS]] : memref<{{.*}}xi32>)
// CHECK:       %[[CODES:.*]] = arith.constant dense_resource<{{.*}}> : tensor<2048xi8>
// CHECK:       %[[START:.*]] = bufferization.alloc_tensor() copy(%[[OTHERS]])
// CHECK:       %[[Y:.*]] = bufferization.to_buffer %[[START]] : tensor<9x32xf32>
// CHECK:       gpu.launch_func @lowbit_kernels::@skinny
// CHECK-SAME:    %[[GROUPS]] : {{.*}}, %[[Y]] : memref<9x32xf32>)
// CHECK-NOT:   gpu.launch_func
// CHECK-NOT:   lowbit.linear
// CHECK:       return
func.func @main(%x: tensor<9x64xf32>, %r: tensor<9xi64>) -> tensor<9x32xf32> {
  %zero = arith.constant dense<0.0> : tensor<9x32xf32>
  %w0 = arith.constant dense<0.5> : tensor<32x64xf32>
  %w1 = arith.constant dense<0.25> : tensor<32x64xf32>
  %1 = lowbit.linear %x, %w0 routed(%r, %zero) {expert = 5 : i64, name = "up.5"}
      : (tensor<9x64xf32>, tensor<32x64xf32>, tensor<9xi64>, tensor<9x32xf32>) -> tensor<9x32xf32>
  %2 = lowbit.linear %x, %w1 routed(%r, %1) {expert = 2 : i64, name = "up.2"}
      : (tensor<9x64xf32>, tensor<32x64xf32>, tensor<9xi64>, tensor<9x32xf32>) -> tensor<9x32xf32>
  return %2 : tensor<9x32xf32>
}
