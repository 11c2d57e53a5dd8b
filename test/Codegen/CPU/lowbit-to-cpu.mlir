// RUN: quant-opt %s --rtn-quantize="entry=shared group-size=32 zero=none progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-opt %t.mlir --lowbit-to-cpu=compute=i8 | FileCheck %s
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=avx2 compute=f32" | FileCheck %s --check-prefix=AVX2
// RUN: quant-opt %t.mlir --lowbit-to-cpu="isa=generic compute=i8" | FileCheck %s --check-prefix=GENERIC
// RUN: not quant-opt %t.mlir --lowbit-to-cpu=isa=mmx 2>&1 | FileCheck %s --check-prefix=ISA
// RUN: not quant-opt %t.mlir --lowbit-to-cpu=compute=i4 2>&1 | FileCheck %s --check-prefix=COMPUTE
// RUN: not quant-opt %t.mlir --lowbit-to-cpu="isa=avx2 compute=bf16" 2>&1 | FileCheck %s --check-prefix=BF16

// ISA: error: lowbit-to-cpu knows no instructions 'mmx' - give isa=amx, avx512
// COMPUTE: error: lowbit-to-cpu cannot multiply in 'i4' - give compute=f32, bf16 or i8
// BF16: error: layer 'linear.0' has no CPU kernel: the target has no dot products of bf16 - compute in f32

// Linears of one input are one call, which gets a workspace, the packed planes
// of all and a result for each.
// CHECK-LABEL: func.func @shared(
// CHECK-SAME:  %[[X:.*]]: tensor<2x3x64xf32>
// CHECK:       %[[FLAT:.*]] = tensor.collapse_shape %[[X]]
// CHECK:       %[[IN:.*]] = bufferization.to_buffer %[[FLAT]] read_only
// CHECK:       %[[WORK:.*]] = memref.alloc() : memref<{{.*}}xi8>
// CHECK:       %[[Q:.*]] = memref.alloc() : memref<6x16xf32>
// CHECK:       %[[K:.*]] = memref.alloc() : memref<6x8xf32>
// CHECK:       call @[[F:lowbit_linear_avx512_i8g32_[^(]*]](%[[IN]], %[[WORK]], %{{[^,]*}}, %{{[^,]*}}, %[[Q]], %{{[^,]*}}, %{{[^,]*}}, %[[K]])
// CHECK:       %[[TQ:.*]] = bufferization.to_tensor %[[Q]]
// CHECK:       tensor.expand_shape %[[TQ]]
func.func @shared(%x: tensor<2x3x64xf32>) -> (tensor<2x3x16xf32>, tensor<2x3x8xf32>) {
  %wq = arith.constant dense<0.5> : tensor<16x64xf32>
  %wk = arith.constant dense<0.25> : tensor<8x64xf32>
  %q = lowbit.linear %x, %wq {name = "linear.0"} : (tensor<2x3x64xf32>, tensor<16x64xf32>) -> tensor<2x3x16xf32>
  %k = lowbit.linear %x, %wk {name = "linear.1"} : (tensor<2x3x64xf32>, tensor<8x64xf32>) -> tensor<2x3x8xf32>
  return %q, %k : tensor<2x3x16xf32>, tensor<2x3x8xf32>
}

// Threads share the panels; a panel calls the kernel of its tiles.
// CHECK: func.func private @[[F]](
// CHECK: call @[[ARRANGE:lowbit_arrange_[^(]*]](
// CHECK: scf.parallel
// CHECK: call @[[TILE:lowbit_tile_[^(]*]](
// CHECK: func.func private @[[ARRANGE]](
// CHECK: func.func private @[[TILE]](
// CHECK: llvm.call_intrinsic "llvm.x86.avx512.vpdpbusd.512"

// AVX2: llvm.intr.fmuladd{{.*}} vector<8xf32>
// GENERIC-NOT: llvm.call_intrinsic
