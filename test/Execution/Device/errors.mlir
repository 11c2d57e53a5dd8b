// RUN: split-file %s %t
// RUN: not quant-run %t/good.mlir --random-input=1 --target=tpu 2>&1 | FileCheck %s --check-prefix=TARGET
// RUN: not quant-run %t/good.mlir --random-input=1 --target=emulator --chip=a100 2>&1 | FileCheck %s --check-prefix=CHIP
// RUN: not quant-run %t/dynamic.mlir --target=emulator 2>&1 | FileCheck %s --check-prefix=DYNAMIC
// RUN: not quant-run %t/inside.mlir --random-input=1 --target=emulator 2>&1 | FileCheck %s --check-prefix=INSIDE
// RUN: not quant-run %t/function.mlir --random-input=1 --target=emulator 2>&1 | FileCheck %s --check-prefix=FUNCTION
// RUN: not quant-run %t/host.mlir --random-input=1 --target=emulator 2>&1 | FileCheck %s --check-prefix=CALLS
// RUN: not quant-run %t/kernel.mlir --random-input=1 --target=emulator 2>&1 | FileCheck %s --check-prefix=KERNEL

// What a GPU cannot run is refused before anything is launched.

//--- good.mlir
// TARGET: --target=tpu: there are host, cuda and emulator
// CHIP: 'a100' is no chip such as sm_80
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}

//--- dynamic.mlir
// DYNAMIC: cannot be run on the GPU: argument 0 is 'tensor<?xf32>'; import the model with fixed sizes
func.func @main(%x: tensor<?xf32>) -> tensor<?xf32> {
  return %x : tensor<?xf32>
}

//--- inside.mlir
// INSIDE: cannot be run on the GPU: {{.*}}only static shapes are supported
func.func @main(%n: tensor<i64>) -> tensor<4xf32> {
  %v = tensor.extract %n[] : tensor<i64>
  %size = arith.index_cast %v : i64 to index
  %one = arith.constant 1.0 : f32
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty(%size) : tensor<?xf32>
  %f = linalg.fill ins(%one : f32) outs(%e : tensor<?xf32>) -> tensor<?xf32>
  %r = tensor.empty() : tensor<4xf32>
  %s = linalg.fill ins(%zero : f32) outs(%r : tensor<4xf32>) -> tensor<4xf32>
  %b = linalg.generic {indexing_maps = [affine_map<(i, j) -> (j)>, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}
      ins(%f : tensor<?xf32>) outs(%s : tensor<4xf32>) {
  ^bb0(%x: f32, %o: f32):
    %a = arith.addf %x, %o : f32
    linalg.yield %a : f32
  } -> tensor<4xf32>
  return %b : tensor<4xf32>
}

//--- function.mlir
// FUNCTION: cannot be run on the GPU: 'math.erf' of 'f64' is not supported
func.func @main(%x: tensor<4xf64>) -> tensor<4xf64> {
  %y = math.erf %x : tensor<4xf64>
  return %y : tensor<4xf64>
}

//--- host.mlir
// CALLS: cannot be run on the GPU: 'lowbit.host_linear' calls the host
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x3xf32> {
  %y = lowbit.host_linear %x {id = 0} : tensor<2x4xf32> -> tensor<2x3xf32>
  return %y : tensor<2x3xf32>
}

//--- kernel.mlir
// A fault in a kernel names it.
// KERNEL: run of 'main' failed: kernel 'wild', line {{[0-9]+}}
module attributes {gpu.container_module} {
  gpu.module @mine [#nvvm.target<chip = "sm_80", features = "+ptx80">] {
    gpu.func @wild(%x: memref<4xf32>) kernel {
      %i = arith.constant 1000 : index
      %one = arith.constant 1.0 : f32
      memref.store %one, %x[%i] : memref<4xf32>
      gpu.return
    }
  }
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %c1 = arith.constant 1 : index
    %out = memref.alloc() : memref<4xf32>
    gpu.launch_func @mine::@wild blocks in (%c1, %c1, %c1) threads in (%c1, %c1, %c1) args(%out : memref<4xf32>)
    %y = bufferization.to_tensor %out restrict : memref<4xf32> to tensor<4xf32>
    return %y : tensor<4xf32>
  }
}
