// RUN: quant-opt %s --split-input-file --rtn-quantize="group-size=64 progress=none" --lowbit-to-gpu=chip=sm_80 2>/dev/null \
// RUN:   | FileCheck %s --check-prefixes=CHECK,MMA
// RUN: quant-opt %s --split-input-file --rtn-quantize="group-size=64 progress=none" --lowbit-to-gpu=chip=sm_90a 2>/dev/null \
// RUN:   | FileCheck %s --check-prefixes=CHECK,WGMMA
// RUN: quant-opt %s --split-input-file --rtn-quantize="group-size=64 progress=none" --lowbit-to-gpu=chip=sm_90a \
// RUN:   --lowbit-gpu-to-nvvm --gpu-module-to-binary=format=isa 2>/dev/null | FileCheck %s --check-prefix=BINARY

// CHECK: gpu.container_module
// MMA: gpu.module @lowbit_kernels [#nvvm.target<O = 3, chip = "sm_80"
// WGMMA: gpu.module @lowbit_kernels [#nvvm.target<O = 3, chip = "sm_90a"
// BINARY: gpu.binary @lowbit_kernels [#gpu.object<#nvvm.target<O = 3, chip = "sm_90a"

// Few rows: one kernel, on x itself. Planes are constants without a shape.
// CHECK-LABEL: func.func @main
// CHECK-SAME:  %[[X:.*]]: tensor<3x128xf16>
// CHECK-DAG:   %[[CODES:.*]] = arith.constant dense_resource<{{.*}}> : tensor<2048xi8>
// CHECK-DAG:   %[[SCALES:.*]] = arith.constant dense_resource<{{.*}}> : tensor<64xf16>
// CHECK-DAG:   %[[ZEROS:.*]] = arith.constant dense_resource<{{.*}}> : tensor<32xi8>
// CHECK-DAG:   %[[XB:.*]] = bufferization.to_buffer %[[X]] read_only
// CHECK-DAG:   %[[C:.*]] = bufferization.to_buffer %[[CODES]] read_only
// CHECK-DAG:   %[[S:.*]] = bufferization.to_buffer %[[SCALES]] read_only
// CHECK-DAG:   %[[Z:.*]] = bufferization.to_buffer %[[ZEROS]] read_only
// CHECK:       %[[Y:.*]] = memref.alloc() : memref<3x32xf16>
// CHECK:       gpu.launch_func @lowbit_kernels::@skinny_w4g64z_f16_3_32_128_f16_f16_f16_
// CHECK-SAME:    args(%[[C]] : memref<2048xi8>, %[[S]] : memref<64xf16>, %[[Z]] : memref<32xi8>, %[[XB]] : memref<3x128xf16>, %[[Y]] : memref<3x32xf16>)
// CHECK:       %[[R:.*]] = bufferization.to_tensor %[[Y]] restrict writable
// CHECK:       return %[[R]]
// BINARY-LABEL: func.func @main
// BINARY:       gpu.launch_func @lowbit_kernels::@skinny
func.func @main(%x: tensor<3x128xf16>) -> tensor<3x32xf16> {
  %w = arith.constant dense<0.5> : tensor<32x128xf16>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<3x128xf16>, tensor<32x128xf16>) -> tensor<3x32xf16>
  return %y : tensor<3x32xf16>
}

// -----

// Many rows of f32: converted first; leading dimensions are one.
// CHECK-LABEL: func.func @main
// CHECK:       %[[FLAT:.*]] = tensor.collapse_shape %{{.*}} {{\[}}[0, 1], [2]]
// CHECK:       %[[XB:.*]] = bufferization.to_buffer %[[FLAT]] read_only
// CHECK:       %[[A:.*]] = memref.alloc()
// MMA:         gpu.launch_func @lowbit_kernels::@arrange_rows
// WGMMA:       gpu.launch_func @lowbit_kernels::@arrange_tiles
// CHECK-SAME:    args(%[[XB]] : memref<80x128xf32>, %[[A]] : memref<{{.*}}xi8>)
// MMA:         gpu.launch_func @lowbit_kernels::@tiled_w4g64z_f16_80_32_128_f32_f32_bf16
// WGMMA:       gpu.launch_func @lowbit_kernels::@warpgroup_w4g64z_f16_80_32_128_f32_f32_bf16
// CHECK-SAME:    dynamic_shared_memory_size
// CHECK:       tensor.expand_shape %{{.*}} output_shape [2, 40, 32]
func.func @main(%x: tensor<2x40x128xf32>) -> tensor<2x40x32xf32> {
  %w = arith.constant dense<0.5> : tensor<32x128xf32>
  %y = lowbit.linear %x, %w {name = "up"} : (tensor<2x40x128xf32>, tensor<32x128xf32>) -> tensor<2x40x32xf32>
  return %y : tensor<2x40x32xf32>
}

// -----

// Two linears of one input share what is made of it.
// CHECK-LABEL: func.func @main
// CHECK:       gpu.launch_func @lowbit_kernels::@arrange
// CHECK-SAME:    args(%{{.*}} : memref<80x128xf32>, %[[A:.*]] : memref<{{.*}}xi8>)
// CHECK:       gpu.launch_func @lowbit_kernels::@{{.*}} %[[A]] :
// CHECK-NOT:   @arrange
// CHECK:       gpu.launch_func @lowbit_kernels::@{{.*}} %[[A]] :
func.func @main(%x: tensor<80x128xf32>) -> (tensor<80x32xf32>, tensor<80x32xf32>) {
  %w = arith.constant dense<0.5> : tensor<32x128xf32>
  %v = arith.constant dense<0.25> : tensor<32x128xf32>
  %y = lowbit.linear %x, %w {name = "up"} : (tensor<80x128xf32>, tensor<32x128xf32>) -> tensor<80x32xf32>
  %z = lowbit.linear %x, %v {name = "gate"} : (tensor<80x128xf32>, tensor<32x128xf32>) -> tensor<80x32xf32>
  return %y, %z : tensor<80x32xf32>, tensor<80x32xf32>
}
