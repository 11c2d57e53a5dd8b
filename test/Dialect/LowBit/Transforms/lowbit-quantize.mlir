// RUN: quant-opt %s --lowbit-quantize="group-size=4 progress=none report=%t.json" > %t.balanced.mlir
// RUN: FileCheck %s --check-prefixes=JSON,BALANCED < %t.json
// RUN: quant-opt %s --gptq-quantize="search=grid damp=auto group-size=4 progress=none" | diff - %t.balanced.mlir
// RUN: quant-opt %s --lowbit-quantize="preset=fast group-size=4 progress=none report=%t.fast.json" | FileCheck %s
// RUN: FileCheck %s --check-prefixes=JSON,FAST < %t.fast.json
// RUN: quant-opt %s --lowbit-quantize="preset=best refine=0 group-size=4 progress=none" | diff - %t.balanced.mlir
// RUN: quant-opt %s --lowbit-quantize="preset=best method=rtn search=none group-size=4 progress=none" > %t.rtn.mlir
// RUN: quant-opt %s --rtn-quantize="search=none group-size=4 progress=none" | diff - %t.rtn.mlir
// RUN: not quant-opt %s --lowbit-quantize="preset=good" 2>&1 | FileCheck %s --check-prefix=UNKNOWN
// RUN: not quant-opt %s --lowbit-quantize="entry=bare progress=none" 2>&1 | FileCheck %s --check-prefix=NODATA
// RUN: quant-opt %s --lowbit-quantize="preset=fast entry=bare progress=none" | FileCheck %s --check-prefix=BARE

// A preset chooses what the options do not say. Only the fast one works without
// data.
// CHECK: lowbit.weight "fc" {{.+}} #lowbit.affine<bits = 4, group = 4, integer_zero, scale = f16>
func.func @main(%x: tensor<2x4xf32> {lowbit.calibration = dense<[[[9.0, 0.1, 0.0, 0.1], [0.0, 0.0, 0.0, 0.0]], [[8.0, 0.0, 0.1, 0.0], [7.0, 0.1, 0.1, 0.0]]]> : tensor<2x2x4xf32>}) -> tensor<2x1xf32> {
  %w = arith.constant dense<[[1.0, -1.9, 2.0, 1.7]]> : tensor<1x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}
func.func @bare(%x: tensor<2x4xf32>) -> tensor<2x1xf32> {
  %w = arith.constant dense<[[1.0, -1.9, 2.0, 1.7]]> : tensor<1x4xf32>
  // BARE: lowbit.weight "bare"
  %y = lowbit.linear %x, %w {name = "bare"} : (tensor<2x4xf32>, tensor<1x4xf32>) -> tensor<2x1xf32>
  return %y : tensor<2x1xf32>
}
// BALANCED: "method": "gptq"
// FAST: "method": "rtn importance=inputs"
// JSON: "method": "lowbit-quantize
// BALANCED-SAME: preset=balanced"
// FAST-SAME: preset=fast"
// UNKNOWN: error: option preset=good: expected fast, balanced, best
// NODATA: error: no calibration data: give calibration=FILE
