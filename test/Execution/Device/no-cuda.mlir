// REQUIRES: no-cuda
// RUN: not quant-run %s --random-input=1 --target=cuda 2>&1 | FileCheck %s

// CHECK: error: no CUDA device: libcuda.so.1
func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {
  return %x : tensor<2xf32>
}
