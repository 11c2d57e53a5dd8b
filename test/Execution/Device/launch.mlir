// RUN: quant-run %s --target=emulator --print | FileCheck %s
// RUN: quant-run %s --target=emulator --print-after=launches | FileCheck %s --check-prefix=LAUNCH
// RUN: not quant-run %s --print 2>&1 | FileCheck %s --check-prefix=HOST

// A module may bring kernels of its own: launches of them stay where they are,
// between ops that become kernels of ours. Operands keep their order, whatever
// their kind: buffers, which are passed as pointers, and numbers.

// HOST: cannot be run on the host: it belongs to a kernel for a GPU

// Launches become calls, one function for each kernel, which passes the sizes
// of grid and block, the bytes of shared memory and the arguments as words.
// Buffers are freed after the last launch that uses them.
// LAUNCH: func.func private @[[LAST:launch_.]](%{{.*}}: memref<4xf32>, %{{.*}}: memref<4xf32>,
// LAUNCH: func.func private @[[MINE:launch_.]](%[[X:.*]]: memref<4xf32>, %{{.*}}: f32, %{{.*}}: memref<4xf32>, %{{.*}}: i16, %{{.*}}: index
// LAUNCH: %[[WORDS:.*]] = memref.alloca() : memref<4xi64>
// LAUNCH: %[[POINTER:.*]] = memref.extract_aligned_pointer_as_index %[[X]]
// LAUNCH: arith.bitcast %{{.*}} : f32 to i32
// LAUNCH: call @quantoptLaunch
// LAUNCH: func.func @main
// LAUNCH: %[[IN:.*]] = memref.alloc
// LAUNCH: %[[OUT:.*]] = memref.alloc
// LAUNCH: call @[[MINE]](%[[IN]], %{{.*}}, %[[OUT]]
// LAUNCH-NEXT: memref.dealloc %[[IN]]
// LAUNCH: call @[[LAST]](%[[OUT]]
// LAUNCH-NEXT: memref.dealloc %[[OUT]]

// ((x + 1) * 3 + blockDim) squared, of 0 1 2 3.
// CHECK: [4] F32: 49 100 169 256
module attributes {gpu.container_module} {
  gpu.module @mine [#nvvm.target<chip = "sm_80", features = "+ptx80">] {
    gpu.func @scale(%x: memref<4xf32>, %factor: f32, %y: memref<4xf32>, %narrow: i16) kernel {
      %i = gpu.thread_id x
      %n = gpu.block_dim x
      %v = memref.load %x[%i] : memref<4xf32>
      %s = arith.mulf %v, %factor : f32
      %n32 = arith.index_cast %n : index to i32
      %nf = arith.sitofp %n32 : i32 to f32
      %shared = gpu.dynamic_shared_memory : memref<?xi8, #gpu.address_space<workgroup>>
      %zero = arith.constant 0 : index
      %view = memref.view %shared[%zero][] : memref<?xi8, #gpu.address_space<workgroup>> to memref<4xf32, #gpu.address_space<workgroup>>
      memref.store %nf, %view[%i] : memref<4xf32, #gpu.address_space<workgroup>>
      gpu.barrier
      %three = arith.constant 3 : index
      %other = arith.subi %three, %i : index
      %m = memref.load %view[%other] : memref<4xf32, #gpu.address_space<workgroup>>
      %t = arith.addf %s, %m : f32
      %isSeven = arith.constant 7 : i16
      %seven = arith.cmpi eq, %narrow, %isSeven : i16
      %bad = arith.constant -1.0 : f32
      %r = arith.select %seven, %t, %bad : f32
      memref.store %r, %y[%i] : memref<4xf32>
      gpu.return
    }
  }

  func.func @main() -> tensor<4xf32> {
    %x = arith.constant dense<[0.0, 1.0, 2.0, 3.0]> : tensor<4xf32>
    %one = arith.constant dense<1.0> : tensor<4xf32>
    %factor = arith.constant 3.0 : f32
    %narrow = arith.constant 7 : i16
    %c1 = arith.constant 1 : index
    %c4 = arith.constant 4 : index
    %bytes = arith.constant 16 : i32
    %x1 = arith.addf %x, %one : tensor<4xf32>
    %in = bufferization.to_buffer %x1 : tensor<4xf32> to memref<4xf32>
    %out = memref.alloc() : memref<4xf32>
    gpu.launch_func @mine::@scale blocks in (%c1, %c1, %c1) threads in (%c4, %c1, %c1)
        dynamic_shared_memory_size %bytes
        args(%in : memref<4xf32>, %factor : f32, %out : memref<4xf32>, %narrow : i16)
    %y = bufferization.to_tensor %out restrict : memref<4xf32> to tensor<4xf32>
    %z = arith.mulf %y, %y : tensor<4xf32>
    return %z : tensor<4xf32>
  }
}
