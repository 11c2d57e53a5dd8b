// RUN: quant-opt %s --rtn-quantize="entry=dynamic group-size=32 progress=none" --lowbit-to-cpu 2>/dev/null | FileCheck %s

// The workspace is as large as the number of rows asks for.
// CHECK-LABEL: func.func @dynamic(
// CHECK:       %[[IN:.*]] = bufferization.to_buffer %{{.*}} read_only
// CHECK:       %[[M:.*]] = memref.dim %[[IN]]
// CHECK:       %[[BYTES:.*]] = arith.muli %[[M]]
// CHECK:       memref.alloc(%[[BYTES]]) : memref<?xi8>
// CHECK:       %[[Y:.*]] = memref.alloc(%[[M]]) : memref<?x16xf32>
// CHECK:       call @lowbit_linear_avx512_f32_
// CHECK:       bufferization.to_tensor %[[Y]]
// CHECK:       tensor.expand_shape %{{.*}} : tensor<?x16xf32> into tensor<?x?x16xf32>
func.func @dynamic(%x: tensor<?x?x64xf32>) -> tensor<?x?x16xf32> {
  %w = arith.constant dense<0.5> : tensor<16x64xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<?x?x64xf32>, tensor<16x64xf32>) -> tensor<?x?x16xf32>
  return %y : tensor<?x?x16xf32>
}
