// RUN: quant-opt %s --rtn-quantize="group-size=4 progress=none" --remarks-filter-passed=lowbit -o /dev/null 2>&1 | FileCheck %s
// RUN: quant-opt %s --rtn-quantize="group-size=4 progress=none" --remarks-filter=lowbit --remark-format=yaml --remarks-output-file=%t.yaml -o /dev/null
// RUN: FileCheck %s --check-prefix=YAML < %t.yaml
// RUN: quant-opt %s --rtn-quantize="group-size=4 progress=none" -o /dev/null 2>&1 | count 0

// Each quantized layer is a remark of category lowbit.
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  // CHECK: [[#@LINE+1]]:8: remark: [Passed] fc | Category:lowbit:quantize | Function=main | {{.*}}bits_per_weight={{.*}} method=rtn, relative_error=
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
// YAML: --- !Passed
// YAML: Pass: {{ *}}'lowbit:quantize'
// YAML: Name: {{ *}}fc
// YAML: Function: {{ *}}main
// YAML: method: {{ *}}rtn
// YAML: bits_per_weight:
