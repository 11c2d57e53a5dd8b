// RUN: quant-opt %s --rtn-quantize="bits=2 group-size=4 progress=none" | FileCheck %s --check-prefix=EQUAL
// RUN: quant-opt %s --rtn-quantize="bits=2 group-size=4 importance=inputs progress=none report=%t.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// RUN: quant-opt %s --rtn-quantize="bits=2 group-size=4 importance=inputs calibration=none progress=none report=%t.none.json" | FileCheck %s --check-prefix=EQUAL
// RUN: FileCheck %s --check-prefix=NONE < %t.none.json
// RUN: quant-opt %s --gptq-quantize="bits=2 group-size=4 min-tokens=4 progress=none report=%t.few.json" | FileCheck %s
// RUN: FileCheck %s --check-prefix=FEW < %t.few.json

// Only the first input is ever large: with importance=inputs the scale is such
// that its weight, 1.0, is met. So it is for GPTQ on too few tokens.
// EQUAL: lowbit.weight "fc"
// CHECK: lowbit.weight "fc"
func.func @main(%x: tensor<2x4xf32> {lowbit.calibration = dense<[[[9.0, 0.1, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]], [[8.0, 0.0, 0.1, 0.0], [7.0, 0.1, 0.1, 0.0]]]> : tensor<2x2x4xf32>}) -> tensor<2x1xf32> {
  %w = arith.constant dense<[[1.0, -1.9, 2.0, 1.7]]> : tensor<1x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}
// EQUAL-NOT: fc.scales: "0x{{[0-9A-F]+}}003C"
// CHECK: fc.scales: "0x{{[0-9A-F]+}}003C"
// JSON: "error_measure": "importance"
// JSON: "fallback": null
// JSON: "method": "rtn importance=inputs"
// JSON: "tokens": 3
// NONE: "error_measure": "weights"
// NONE: "fallback": "no calibration data: not weighted by importance"
// NONE: "method": "rtn"
// NONE: "tokens": 0
// FEW: "fallback": "3 calibration tokens reached it (min-tokens=4): rounded to nearest, weighted by importance"
// FEW: "method": "rtn importance=inputs"
// FEW: "tokens": 3
