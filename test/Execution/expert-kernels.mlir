// RUN: quant-opt %s --rtn-quantize="entry=layer group-size=32 zero=none skip=float$ progress=none" -o %t.mlir 2>/dev/null
// RUN: quant-run %t.mlir --entry=layer --random-input=1 --print-after=fuse | FileCheck %s --check-prefix=LAYER
// RUN: quant-opt %s --rtn-quantize="entry=parts group-size=32 zero=none skip=float$ progress=none" -o %t.parts.mlir 2>/dev/null
// RUN: quant-run %t.parts.mlir --entry=parts --random-input=1 --print-after=linears | FileCheck %s --check-prefix=LINEARS
// RUN: quant-run %t.parts.mlir --entry=parts --random-input=1 --print-after=fuse | FileCheck %s --check-prefix=PARTS

// Experts whose numbers follow each other are one call, which starts from the
// rows of others; their planes lie beside each other.
// LAYER-LABEL: func.func @layer(
// LAYER:       %[[START:.*]] = bufferization.alloc_tensor() copy(
// LAYER:       %[[Y:.*]] = bufferization.to_buffer %[[START]] : tensor<6x16xf32>
// LAYER:       call @lowbit_linear_{{[^ ]*}}_16w4g32sh_64_e0to3(%{{.*}}, %[[Y]]) : (memref<6x64xf32>, memref<{{.*}}xi8>, memref<6xi64>, memref<1536xi8>, memref<96xf16>, memref<6x16xf32>)
// LAYER-NOT:   lowbit.linear
// LAYER-NOT:   call
// LAYER:       return
func.func @layer(%x: tensor<2x3x64xf32>, %r: tensor<2x3xi64>) -> tensor<2x3x16xf32> {
  %others = arith.constant dense<0.0> : tensor<2x3x16xf32>
  %w0 = arith.constant dense<0.5> : tensor<16x64xf32>
  %w1 = arith.constant dense<0.25> : tensor<16x64xf32>
  %w2 = arith.constant dense<1.0> : tensor<16x64xf32>
  %0 = lowbit.linear %x, %w0 routed(%r, %others) {expert = 0 : i64, name = "0"} : (tensor<2x3x64xf32>, tensor<16x64xf32>, tensor<2x3xi64>, tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %1 = lowbit.linear %x, %w1 routed(%r, %0) {expert = 1 : i64, name = "1"} : (tensor<2x3x64xf32>, tensor<16x64xf32>, tensor<2x3xi64>, tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  %2 = lowbit.linear %x, %w2 routed(%r, %1) {expert = 2 : i64, name = "2"} : (tensor<2x3x64xf32>, tensor<16x64xf32>, tensor<2x3xi64>, tensor<2x3x16xf32>) -> tensor<2x3x16xf32>
  return %2 : tensor<2x3x16xf32>
}

// A float weight in the middle goes to the host, and a gap in the numbers
// makes one more call.
// LINEARS-LABEL: func.func @parts(
// LINEARS:       %[[A:.*]] = lowbit.linear {{.*}}name = "0"
// LINEARS:       %[[B:.*]] = lowbit.host_experts %{{.*}} routed(%{{.*}}, %[[A]]) {experts = array<i64: 1>
// LINEARS:       %[[C:.*]] = lowbit.linear {{.*}}routed(%{{.*}}, %[[B]]){{.*}}name = "2"
// LINEARS:       lowbit.linear {{.*}}routed(%{{.*}}, %[[C]]){{.*}}name = "4"
// PARTS-LABEL:   func.func @parts(
// PARTS:         call @lowbit_linear_{{.*}}_e0to1(
// PARTS:         call @lowbit_linear_{{.*}}_e2to3(
// PARTS:         call @lowbit_linear_{{.*}}_e4to5(
func.func @parts(%x: tensor<6x64xf32>, %r: tensor<6xi64>, %others: tensor<6x16xf32>) -> tensor<6x16xf32> {
  %w0 = arith.constant dense<0.5> : tensor<16x64xf32>
  %w1 = arith.constant dense<0.25> : tensor<16x64xf32>
  %w2 = arith.constant dense<1.0> : tensor<16x64xf32>
  %w4 = arith.constant dense<2.0> : tensor<16x64xf32>
  %0 = lowbit.linear %x, %w0 routed(%r, %others) {expert = 0 : i64, name = "0"} : (tensor<6x64xf32>, tensor<16x64xf32>, tensor<6xi64>, tensor<6x16xf32>) -> tensor<6x16xf32>
  %1 = lowbit.linear %x, %w1 routed(%r, %0) {expert = 1 : i64, name = "1.float"} : (tensor<6x64xf32>, tensor<16x64xf32>, tensor<6xi64>, tensor<6x16xf32>) -> tensor<6x16xf32>
  %2 = lowbit.linear %x, %w2 routed(%r, %1) {expert = 2 : i64, name = "2"} : (tensor<6x64xf32>, tensor<16x64xf32>, tensor<6xi64>, tensor<6x16xf32>) -> tensor<6x16xf32>
  %4 = lowbit.linear %x, %w4 routed(%r, %2) {expert = 4 : i64, name = "4"} : (tensor<6x64xf32>, tensor<16x64xf32>, tensor<6xi64>, tensor<6x16xf32>) -> tensor<6x16xf32>
  return %4 : tensor<6x16xf32>
}
