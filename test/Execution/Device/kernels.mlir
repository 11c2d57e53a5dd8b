// RUN: split-file %s %t
// RUN: quant-run %t/rows.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=ROWS
// RUN: quant-run %t/long.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=LONG
// RUN: quant-run %t/product.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=PRODUCT
// RUN: quant-run %t/thin.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=THIN
// RUN: quant-run %t/single.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=SINGLE
// RUN: quant-run %t/points.mlir --random-input=1 --target=emulator --print-after=kernels | FileCheck %s --check-prefix=POINTS
// RUN: quant-run %t/rows.mlir --random-input=1 --target=emulator --chip=sm_90a --print-after=ptx | FileCheck %s --check-prefix=PTX

//--- rows.mlir
// A softmax: a block for a row, what is between its steps in shared memory, a
// warp for a sum, lanes joined by shuffles, a barrier between steps.
// ROWS: gpu.func @{{.*}} workgroup({{.*}} : memref<1x64xf32, #gpu.address_space<workgroup>> {llvm.align = 16 : i64}
// ROWS: %[[BLOCK:.*]] = gpu.block_id x
// ROWS: memref.subview %{{.*}}[%[[BLOCK]], 0] [1, 64]
// ROWS-COUNT-5: gpu.shuffle xor
// ROWS: arith.maxnumf
// ROWS: gpu.barrier
// ROWS: math.exp
// ROWS: gpu.barrier
// ROWS-COUNT-5: gpu.shuffle xor
// ROWS: gpu.launch_func @kernels::@kernel_0 blocks in (%c24, %c1, %c1) threads in (%c64, %c1, %c1)
// PTX: .target sm_90a
// PTX: .visible .entry kernel_0
// PTX: shfl.sync.bfly
func.func @main(%x: tensor<24x64xf32>) -> tensor<24x64xf32> {
  %e = tensor.empty() : tensor<24x64xf32>
  %s = linalg.softmax dimension(1) ins(%x : tensor<24x64xf32>) outs(%e : tensor<24x64xf32>) -> tensor<24x64xf32>
  return %s : tensor<24x64xf32>
}

//--- long.mlir
// A long row: the whole block sums, its warps through shared memory.
// LONG: gpu.func @{{.*}} workgroup({{.*}} : memref<8xf32, #gpu.address_space<workgroup>>
// LONG: scf.for %{{.*}} = %thread_id_x to %c4096 step %c256
// LONG-COUNT-5: gpu.shuffle xor
// LONG: gpu.barrier
// LONG-COUNT-8: memref.load %{{.*}} : memref<8xf32, #gpu.address_space<workgroup>>
// LONG: gpu.launch_func {{.*}} blocks in (%c2, %c1, %c1) threads in (%c256, %c1, %c1)
func.func @main(%x: tensor<2x4096xf32>) -> tensor<2xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<2xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<2xf32>) -> tensor<2xf32>
  %s = linalg.reduce {arith.addf} ins(%x : tensor<2x4096xf32>) outs(%f : tensor<2xf32>) dimensions = [1]
  return %s : tensor<2xf32>
}

//--- product.mlir
// Tiles of 32 x 32, of which the last are cut, in steps of 16; 4 x 4 sums for a
// thread; operands widened on the way to shared memory.
// PRODUCT: gpu.func @{{.*}} workgroup(%[[A:.*]] : memref<16x36xf32, {{.*}}>{{.*}}, %[[B:.*]] : memref<16x36xf32,
// PRODUCT: %[[SUMS:.*]]:4 = scf.for %{{.*}} = %c0 to %c48 step %c16 iter_args
// PRODUCT: arith.extf %{{.*}} : f16 to f32
// PRODUCT: gpu.barrier
// PRODUCT: scf.for %[[K:.*]] = %c0 to %c16 step %c1
// PRODUCT: vector.load %[[A]][%[[K]], %{{.*}}] {alignment = 16 : i64}
// PRODUCT-COUNT-4: vector.fma
// PRODUCT: gpu.barrier
// PRODUCT: vector.extract %[[SUMS]]#0[0]
// PRODUCT: arith.truncf %{{.*}} : f32 to f16
// PRODUCT: gpu.launch_func {{.*}} blocks in (%c4, %c1, %c1) threads in (%c64, %c1, %c1)
func.func @main(%x: tensor<40x48xf16>, %w: tensor<48x33xf16>) -> tensor<40x33xf16> {
  %zero = arith.constant 0.0 : f16
  %e = tensor.empty() : tensor<40x33xf16>
  %f = linalg.fill ins(%zero : f16) outs(%e : tensor<40x33xf16>) -> tensor<40x33xf16>
  %y = linalg.matmul ins(%x, %w : tensor<40x48xf16>, tensor<48x33xf16>) outs(%f : tensor<40x33xf16>) -> tensor<40x33xf16>
  return %y : tensor<40x33xf16>
}

//--- thin.mlir
// One row: a warp for each column, along which the weight is contiguous.
// THIN-NOT: memref.store {{.*}}workgroup
// THIN: %[[LANE:.*]] = arith.remui %thread_id_x, %c32
// THIN: scf.for %{{.*}} = %[[LANE]] to %c128 step %c32
// THIN: math.fma
// THIN-COUNT-5: gpu.shuffle xor
// THIN: scf.if
func.func @main(%x: tensor<1x128xf32>, %w: tensor<300x128xf32>) -> tensor<1x300xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1x300xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1x300xf32>) -> tensor<1x300xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x128xf32>, tensor<300x128xf32>) -> tensor<1x300xf32>
  return %y : tensor<1x300xf32>
}

//--- points.mlir
// A thread for each element.
// POINTS: %[[THREAD:.*]] = gpu.thread_id x
// POINTS: scf.for %{{.*}} = %{{.*}} to %c7000
// POINTS: arith.addf
// POINTS: gpu.launch_func {{.*}} blocks in (%c28, %c1, %c1) threads in (%c256, %c1, %c1)
func.func @main(%x: tensor<70x100xf32>) -> tensor<70x100xf32> {
  %e = tensor.empty() : tensor<70x100xf32>
  %y = linalg.add ins(%x, %x : tensor<70x100xf32>, tensor<70x100xf32>) outs(%e : tensor<70x100xf32>) -> tensor<70x100xf32>
  return %y : tensor<70x100xf32>
}

//--- single.mlir
// A single row has no loop over rows: its small ops are one kernel of one block.
// SINGLE: gpu.func @kernel_0
// SINGLE: memref.store
// SINGLE: gpu.barrier
// SINGLE-COUNT-5: gpu.shuffle xor
// SINGLE: gpu.barrier
// SINGLE: arith.divf
// SINGLE-NOT: gpu.func
// SINGLE: gpu.launch_func @kernels::@kernel_0 blocks in (%c1{{.*}}, %c1{{.*}}, %c1{{.*}}) threads in (%c256, %c1, %c1)
// SINGLE-NOT: gpu.launch_func
func.func @main(%x: tensor<1x3000xf32>) -> tensor<1x3000xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<1xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<1xf32>) -> tensor<1xf32>
  %s = linalg.reduce {arith.addf} ins(%x : tensor<1x3000xf32>) outs(%f : tensor<1xf32>) dimensions = [1]
  %t = tensor.empty() : tensor<1x3000xf32>
  %b = linalg.broadcast ins(%s : tensor<1xf32>) outs(%t : tensor<1x3000xf32>) dimensions = [1]
  %y = arith.divf %x, %b : tensor<1x3000xf32>
  return %y : tensor<1x3000xf32>
}
