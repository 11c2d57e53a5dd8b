// RUN: split-file %s %t
// RUN: quant-run %t/tokens.mlir --output=%t/tokens.npy
// RUN: quant-run %t/model.mlir --perplexity=%t/tokens.npy > %t/host.txt
// RUN: env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_REPORT=1 quant-run %t/model.mlir --perplexity=%t/tokens.npy --target=cuda > %t/cuda.txt 2> %t/report.txt
// RUN: diff %t/host.txt %t/cuda.txt
// RUN: FileCheck %s --check-prefix=REPLAY < %t/report.txt
// RUN: env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_REPORT=1 quant-run %t/branch.mlir --random-input=1 --repeat=3 --target=cuda 2>&1 | FileCheck %s --check-prefix=BRANCH
// RUN: not env LD_LIBRARY_PATH=%fake-cuda quant-run %t/check.mlir --random-input=1 --repeat=3 --target=cuda 2>&1 | FileCheck %s --check-prefix=CHECK
// RUN: not env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_EMPTY=1 quant-run %t/branch.mlir --random-input=1 --target=cuda 2>&1 | FileCheck %s --check-prefix=EMPTY
// RUN: not env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_FAIL=cuMemAlloc_v2 quant-run %t/branch.mlir --random-input=1 --target=cuda 2>&1 | FileCheck %s --check-prefix=MEMORY
// RUN: not env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_FAIL=cuLaunchKernel quant-run %t/branch.mlir --random-input=1 --target=cuda 2>&1 | FileCheck %s --check-prefix=LAUNCH
// RUN: not env LD_LIBRARY_PATH=%fake-cuda FAKE_CUDA_FAIL=cuStreamBeginCapture_v2 quant-run %t/model.mlir --perplexity=%t/tokens.npy --target=cuda 2>&1 | FileCheck %s --check-prefix=RECORD

// The way through the CUDA driver, with another library in its place that runs
// PTX in the emulator and refuses what CUDA refuses while it records.

// Five windows: the first is run, the second recorded, and from then on the
// recording follows its inputs. Nothing is left on the device.
// REPLAY: 1 launches, 1 recorded, 4 graphs launched, {{[0-9]+}} blocks taken, 0 not given back

// The entry looks at a number to choose: no recording.
// BRANCH: 6 launches, 0 recorded, 0 graphs launched, {{[0-9]+}} blocks taken, 0 not given back

// CHECK: run of 'main' failed: too large

// EMPTY: error: no CUDA device: CUDA error 100
// MEMORY: cannot be run on Fake GPU: taking {{[0-9]+}} bytes of device memory failed: CUDA_ERROR_UNKNOWN (unknown error)
// LAUNCH: run of 'main' failed: launching kernel 'kernel_0' failed: CUDA_ERROR_UNKNOWN (unknown error)
// RECORD: run of 'main' failed: recording a graph failed: CUDA_ERROR_UNKNOWN (unknown error)

//--- tokens.mlir
func.func @main() -> tensor<5x4xi32> {
  %t = arith.constant dense<[[0, 1, 2, 0], [2, 2, 1, 1], [0, 0, 0, 1], [1, 2, 0, 2], [1, 1, 1, 2]]> : tensor<5x4xi32>
  return %t : tensor<5x4xi32>
}

//--- model.mlir
func.func @main(%t: tensor<1x4xi64>) -> tensor<1x4x3xf32> {
  %table = arith.constant dense<[[0.5, 1.0, 2.0], [3.0, 0.25, 1.0], [1.0, 2.0, 4.0]]> : tensor<3x3xf32>
  %e = tensor.empty() : tensor<1x4x3xf32>
  %l = linalg.generic {indexing_maps = [affine_map<(a, b, c) -> (a, b)>, affine_map<(a, b, c) -> (a, b, c)>],
      iterator_types = ["parallel", "parallel", "parallel"]} ins(%t : tensor<1x4xi64>) outs(%e : tensor<1x4x3xf32>) {
  ^bb0(%id: i64, %o: f32):
    %row = arith.index_cast %id : i64 to index
    %column = linalg.index 2 : index
    %v = tensor.extract %table[%row, %column] : tensor<3x3xf32>
    linalg.yield %v : f32
  } -> tensor<1x4x3xf32>
  return %l : tensor<1x4x3xf32>
}

//--- branch.mlir
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %zero = arith.constant 0 : index
  %bound = arith.constant 100.0 : f32
  %y = arith.addf %x, %x : tensor<4xf32>
  %v = tensor.extract %y[%zero] : tensor<4xf32>
  %small = arith.cmpf olt, %v, %bound : f32
  %r = scf.if %small -> tensor<4xf32> {
    %s = arith.mulf %y, %x : tensor<4xf32>
    scf.yield %s : tensor<4xf32>
  } else {
    %s = arith.subf %y, %x : tensor<4xf32>
    scf.yield %s : tensor<4xf32>
  }
  return %r : tensor<4xf32>
}

//--- check.mlir
// A check that fails on the device, in a replayed run too.
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %bound = arith.constant -100.0 : f32
  %e = tensor.empty() : tensor<4xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(a) -> (a)>, affine_map<(a) -> (a)>], iterator_types = ["parallel"]}
      ins(%x : tensor<4xf32>) outs(%e : tensor<4xf32>) {
  ^bb0(%v: f32, %o: f32):
    %small = arith.cmpf olt, %v, %bound : f32
    cf.assert %small, "too large"
    linalg.yield %v : f32
  } -> tensor<4xf32>
  return %r : tensor<4xf32>
}
