// RUN: quant-opt %s --lowbit-quantize="flat group-size=3 method=rtn progress=none" | FileCheck %s
// RUN: quant-opt %s --lowbit-quantize="flat group-size=2 progress=none" | FileCheck %s --check-prefix=ROWS
// RUN: not quant-opt %s --lowbit-quantize="flat group-size=3 progress=none" 2>&1 | FileCheck %s --check-prefix=GPTQ

// Groups that cross rows are for rounding to nearest alone.
// CHECK: #lowbit.affine<bits = 4, flat = 3, integer_zero, scale = f16>
// ROWS: #lowbit.affine<bits = 4, group = 2, integer_zero, scale = f16>
// GPTQ: error: layer 'fc': gptq takes groups that end with a row, but groups of 3 run on across rows of 4
func.func @main(%x: tensor<1x4xf32> {lowbit.calibration = dense<[[[1.0, 2.0, -3.0, 4.0]], [[2.0, 1.0, 6.0, -8.0]]]> : tensor<2x1x4xf32>}) -> tensor<1x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<1x4xf32>, tensor<2x4xf32>) -> tensor<1x2xf32>
  return %y : tensor<1x2xf32>
}
