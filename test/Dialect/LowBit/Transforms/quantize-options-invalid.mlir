// Each unknown value is refused with those that are taken.
// RUN: not quant-opt %s --rtn-quantize="zero=half" 2>&1 | FileCheck %s --check-prefix=ZERO
// ZERO: error: option zero=half: expected 'integer', 'float' or 'none'
// RUN: not quant-opt %s --rtn-quantize="group-size=many" 2>&1 | FileCheck %s --check-prefix=GROUP
// GROUP: error: option group-size=many: expected a number of at least 1, 'channel' or 'tensor'
// RUN: not quant-opt %s --rtn-quantize="bits=1" 2>&1 | FileCheck %s --check-prefix=BITS
// BITS: error: option bits=1: expected a number from 2 to 8
// RUN: not quant-opt %s --rtn-quantize="scale-type=f64" 2>&1 | FileCheck %s --check-prefix=SCALE
// SCALE: error: option scale-type=f64: expected 'f16', 'bf16', 'f32', 'e8m0' or 'e4m3'
// RUN: not quant-opt %s --rtn-quantize="table=nf5" 2>&1 | FileCheck %s --check-prefix=TABLE
// TABLE: error: option table=nf5: expected 'none', 'nf4', 'fp4', 'iq4_nl', 'e2m1', 'mxfp4' or 'nvfp4'
// RUN: not quant-opt %s --gptq-quantize="table=nf4 bits=3" 2>&1 | FileCheck %s --check-prefix=TABLE-BITS
// TABLE-BITS: error: {{.*}}a code table has 4 bits, not 3
// RUN: not quant-opt %s --rtn-quantize="double-quant" 2>&1 | FileCheck %s --check-prefix=DOUBLE
// DOUBLE: error: {{.*}}nested scales go with a code table only
// RUN: not quant-opt %s --rtn-quantize="search=long" 2>&1 | FileCheck %s --check-prefix=SEARCH
// SEARCH: error: option search=long: expected 'none', 'lsq', 'grid' or 'clip'
// RUN: not quant-opt %s --rtn-quantize="skip=a(" 2>&1 | FileCheck %s --check-prefix=SKIP
// SKIP: error: option skip=a(: not a regular expression
// RUN: not quant-opt %s --gptq-quantize="embeddings=yes" 2>&1 | FileCheck %s --check-prefix=EMBEDDINGS
// EMBEDDINGS: error: option embeddings=yes: expected 'keep' or 'quantize'
// RUN: not quant-opt %s --rtn-quantize="tied=maybe" 2>&1 | FileCheck %s --check-prefix=TIED
// TIED: error: option tied=maybe: expected 'skip' or 'quantize'
// RUN: not quant-opt %s --rtn-quantize="progress=loud" 2>&1 | FileCheck %s --check-prefix=PROGRESS
// PROGRESS: error: option progress=loud: expected 'auto', 'plain' or 'none'
// RUN: not quant-opt %s --rtn-quantize="entry=other" 2>&1 | FileCheck %s --check-prefix=ENTRY
// ENTRY: error: the module has no function 'other' - name its entry function with entry=NAME
// RUN: not quant-opt %s --rtn-quantize="report=%t.no-such-dir/r.json" 2>&1 | FileCheck %s --check-prefix=REPORT
// REPORT: error: option report={{.+}}: cannot be written: there is no directory
// RUN: not quant-opt %s --gptq-quantize="act-order=up" 2>&1 | FileCheck %s --check-prefix=ORDER
// ORDER: error: option act-order=up: expected 'none', 'static' or 'gar'
// RUN: not quant-opt %s --gptq-quantize="damp=-1" 2>&1 | FileCheck %s --check-prefix=DAMP
// DAMP: error: option damp=-1: expected a number from 0 to 1, or 'auto'
// RUN: not quant-opt %s --gptq-quantize="block-size=0" 2>&1 | FileCheck %s --check-prefix=BLOCK
// BLOCK: error: option block-size=0: expected a number of at least 1
// RUN: not quant-opt %s --gptq-quantize="min-tokens=0" 2>&1 | FileCheck %s --check-prefix=TOKENS
// TOKENS: error: option min-tokens=0: expected a number of at least 1
// RUN: not quant-opt %s --gptq-quantize="refine=many" 2>&1 | FileCheck %s --check-prefix=REFINE
// REFINE: error: option refine=many: expected a number from 0 to 100
// RUN: not quant-opt %s --rtn-quantize="importance=weights" 2>&1 | FileCheck %s --check-prefix=IMPORTANCE
// IMPORTANCE: error: option importance=weights: expected 'none', 'inputs' or 'outputs'
// RUN: not quant-opt %s --rtn-quantize="symmetric=perhaps" 2>&1 | FileCheck %s --check-prefix=SYMMETRIC
// SYMMETRIC: error: option symmetric=perhaps: expected 'true' or 'false'
// RUN: not quant-opt %s --gptq-quantize="samples=-1" 2>&1 | FileCheck %s --check-prefix=SAMPLES
// SAMPLES: error: option samples=-1: expected
// RUN: not quant-opt %s --gptq-quantize="calibration=%t.missing.npy" 2>&1 | FileCheck %s --check-prefix=FILE
// FILE: error: cannot read calibration samples: {{.*}}missing.npy
// RUN: not quant-opt %s --gptq-quantize="calibration=%s" 2>&1 | FileCheck %s --check-prefix=TYPE
// TYPE: error: cannot read calibration samples

func.func @main(%x: tensor<2x4xf32>) -> tensor<2x2xf32> {
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : tensor<2x4xf32>
  %y = lowbit.linear %x, %w {name = "fc"} : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x2xf32>
  return %y : tensor<2x2xf32>
}
