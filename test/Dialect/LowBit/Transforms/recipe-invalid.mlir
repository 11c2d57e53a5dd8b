// What is wrong with a recipe is said with its line, its column and what is
// expected there.
// RUN: split-file %s %t
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/no-such.yaml" 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: error: option recipe={{.+}}no-such.yaml: cannot be read: No such file or directory
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/syntax.yaml" 2>&1 | FileCheck %s --check-prefix=SYNTAX
// SYNTAX: syntax.yaml:{{.+}}: error: not YAML:
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/empty.yaml" 2>&1 | FileCheck %s --check-prefix=EMPTY
// EMPTY: empty.yaml:{{.+}}: error: expected a map with 'defaults' and 'layers'
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/part.yaml" 2>&1 | FileCheck %s --check-prefix=PART
// PART: part.yaml:3:1: error: unknown key 'layer': expected 'defaults' or 'layers'
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/key.yaml" 2>&1 | FileCheck %s --check-prefix=KEY
// KEY: key.yaml:3:5: error: unknown key 'bit': expected match, skip, method, {{.+}}, group-size, {{.+}}, min-tokens
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/value.yaml" 2>&1 | FileCheck %s --check-prefix=VALUE
// VALUE: value.yaml:3:11: error: value of 'bits': expected a number from 2 to 8
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/list.yaml" 2>&1 | FileCheck %s --check-prefix=LIST
// LIST: list.yaml:2:10: error: value of 'bits': expected a number from 2 to 8
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/regex.yaml" 2>&1 | FileCheck %s --check-prefix=REGEX
// REGEX: regex.yaml:2:17: error: value of 'match': not a regular expression
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/nomatch.yaml" 2>&1 | FileCheck %s --check-prefix=NOMATCH
// NOMATCH: nomatch.yaml:2:5: error: this rule has no 'match'
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/rules.yaml" 2>&1 | FileCheck %s --check-prefix=RULES
// RULES: rules.yaml:2:3: error: value of 'layers': expected a list of rules
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/rule.yaml" 2>&1 | FileCheck %s --check-prefix=RULE
// RULE: rule.yaml:2:5: error: expected a rule: a map with 'match' and options
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/skip.yaml" 2>&1 | FileCheck %s --check-prefix=SKIP
// SKIP: skip.yaml:3:11: error: value of 'skip': expected 'true' or 'false'
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/twice.yaml" 2>&1 | FileCheck %s --check-prefix=TWICE
// TWICE: twice.yaml:3:3: error: key 'bits' stands here twice
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/none.yaml" 2>&1 | FileCheck %s --check-prefix=NONE
// NONE: none.yaml:2:3: error: key 'bits' has no value
// RUN: not quant-opt %t/model.mlir --rtn-quantize="recipe=%t/documents.yaml" 2>&1 | FileCheck %s --check-prefix=DOCUMENTS
// DOCUMENTS: documents.yaml:{{.+}}: error: expected one document, found another

//--- syntax.yaml
layers: [
//--- empty.yaml
//--- part.yaml
defaults:
  bits: 4
layer:
  - match: fc
//--- key.yaml
layers:
  - match: fc
    bit: 4
//--- value.yaml
layers:
  - match: fc
    bits: 9
//--- list.yaml
defaults:
  bits: [4]
//--- regex.yaml
layers:
  - match: [fc, "a("]
//--- nomatch.yaml
layers:
  - bits: 4
//--- rules.yaml
layers:
  match: fc
//--- rule.yaml
layers:
  - fc
//--- skip.yaml
layers:
  - match: fc
    skip: maybe
//--- twice.yaml
defaults:
  bits: 4
  bits: 5
//--- none.yaml
defaults:
  bits:
  zero: none
//--- documents.yaml
defaults:
  bits: 4
---
defaults:
  bits: 5
//--- model.mlir
func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
