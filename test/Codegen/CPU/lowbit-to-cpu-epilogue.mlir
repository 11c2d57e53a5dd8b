// RUN: quant-opt %s --rtn-quantize="group-size=32 zero=none progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-opt %t.mlir --lowbit-to-cpu | FileCheck %s

// The weights of main, in whatever function they are read, are quantized.
#matrix = affine_map<(d0, d1) -> (d0, d1)>
#column = affine_map<(d0, d1) -> (d1)>
#swapped = affine_map<(d0, d1) -> (d1, d0)>

// What reads a linear's result, and nothing else does, is in the kernel.
// CHECK-LABEL: func.func @bias(
// CHECK-SAME:    %{{.*}}: tensor<3x64xf32>, %[[B:.*]]: tensor<40xf32>
// CHECK-DAG:     %[[BIAS:.*]] = bufferization.to_buffer %[[B]] read_only
// CHECK-DAG:     %[[Y:.*]] = memref.alloc() : memref<3x40xf32>
// CHECK:         call @[[F:lowbit_linear_[^(]*_0]]({{.*}}, %[[BIAS]], %[[Y]])
// CHECK-NOT:     linalg.generic
// CHECK:         %[[R:.*]] = bufferization.to_tensor %[[Y]]
// CHECK-NEXT:    return %[[R]]
func.func @bias(%x: tensor<3x64xf32>, %b: tensor<40xf32>) -> tensor<3x40xf32> {
  %w = arith.constant dense<0.5> : tensor<40x64xf32>
  %e = tensor.empty() : tensor<3x40xf32>
  %y = lowbit.linear %x, %w {name = "fc.0"} : (tensor<3x64xf32>, tensor<40x64xf32>) -> tensor<3x40xf32>
  %r = linalg.generic {indexing_maps = [#matrix, #column, #matrix], iterator_types = ["parallel", "parallel"]}
      ins(%y, %b : tensor<3x40xf32>, tensor<40xf32>) outs(%e : tensor<3x40xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %s = arith.addf %a, %c : f32
    linalg.yield %s : f32
  } -> tensor<3x40xf32>
  return %r : tensor<3x40xf32>
}

// Two weights of one size, the result of one with that of the other.
// CHECK-LABEL: func.func @main(
// CHECK:         call @[[G:lowbit_linear_[^(]*_0_1]](
// CHECK-NOT:     linalg.generic
func.func @main(%x: tensor<1x64xf32>) -> tensor<40xf32> {
  %w0 = arith.constant dense<0.5> : tensor<40x64xf32>
  %w1 = arith.constant dense<0.25> : tensor<40x64xf32>
  %e = tensor.empty() : tensor<40xf32>
  %g = lowbit.linear %x, %w0 {name = "gate"} : (tensor<1x64xf32>, tensor<40x64xf32>) -> tensor<1x40xf32>
  %u = lowbit.linear %x, %w1 {name = "up"} : (tensor<1x64xf32>, tensor<40x64xf32>) -> tensor<1x40xf32>
  %gv = tensor.collapse_shape %g [[0, 1]] : tensor<1x40xf32> into tensor<40xf32>
  %uv = tensor.collapse_shape %u [[0, 1]] : tensor<1x40xf32> into tensor<40xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%gv, %uv : tensor<40xf32>, tensor<40xf32>) outs(%e : tensor<40xf32>) {
  ^bb0(%a: f32, %c: f32, %o: f32):
    %t = math.tanh %a : f32
    %s = arith.mulf %t, %c : f32
    linalg.yield %s : f32
  } -> tensor<40xf32>
  return %r : tensor<40xf32>
}

// A result that something else reads as well has to be there.
// CHECK-LABEL: func.func @read_twice(
// CHECK:         call @lowbit_linear_
// CHECK:         linalg.generic
func.func @read_twice(%x: tensor<3x64xf32>) -> (tensor<3x40xf32>, tensor<3x40xf32>) {
  %w = arith.constant dense<0.5> : tensor<40x64xf32>
  %e = tensor.empty() : tensor<3x40xf32>
  %y = lowbit.linear %x, %w {name = "fc.1"} : (tensor<3x64xf32>, tensor<40x64xf32>) -> tensor<3x40xf32>
  %r = linalg.generic {indexing_maps = [#matrix, #matrix], iterator_types = ["parallel", "parallel"]}
      ins(%y : tensor<3x40xf32>) outs(%e : tensor<3x40xf32>) {
  ^bb0(%a: f32, %o: f32):
    %s = arith.negf %a : f32
    linalg.yield %s : f32
  } -> tensor<3x40xf32>
  return %r, %y : tensor<3x40xf32>, tensor<3x40xf32>
}

// Elements in another order are no epilogue.
// CHECK-LABEL: func.func @transposed(
// CHECK:         call @lowbit_linear_
// CHECK:         linalg.generic
func.func @transposed(%x: tensor<3x64xf32>) -> tensor<40x3xf32> {
  %w = arith.constant dense<0.5> : tensor<40x64xf32>
  %e = tensor.empty() : tensor<40x3xf32>
  %y = lowbit.linear %x, %w {name = "fc.2"} : (tensor<3x64xf32>, tensor<40x64xf32>) -> tensor<3x40xf32>
  %r = linalg.generic {indexing_maps = [#swapped, #matrix], iterator_types = ["parallel", "parallel"]}
      ins(%y : tensor<3x40xf32>) outs(%e : tensor<40x3xf32>) {
  ^bb0(%a: f32, %o: f32):
    linalg.yield %a : f32
  } -> tensor<40x3xf32>
  return %r : tensor<40x3xf32>
}

// The kernel of a tile finishes what the kernels of its weights left in
// buffers.
// CHECK: func.func private @[[F]](
// CHECK: call @[[FINISH:lowbit_finish_[^(]*]](
// CHECK: func.func private @[[FINISH]](
// CHECK: llvm.alloca
// CHECK: call @lowbit_tile_
// CHECK: arith.addf %{{.*}}, %{{.*}} : vector<16xf32>
