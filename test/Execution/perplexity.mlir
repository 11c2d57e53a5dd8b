// RUN: split-file %s %t
// RUN: quant-run %t/tokens.mlir --output=%t/tokens.npy
// RUN: quant-run %t/model.mlir --perplexity=%t/tokens.npy --against=%t/other.mlir --json=%t/report.json | FileCheck %s
// RUN: quant-run %t/model.mlir --perplexity=%t/tokens.npy --against=%t/other.mlir --target=emulator | FileCheck %s
// RUN: FileCheck %s --check-prefix=JSON < %t/report.json
// RUN: quant-run %t/model.mlir --perplexity=%t/tokens.npy --windows=1 | FileCheck %s --check-prefix=ONE
// RUN: not quant-run %t/tokens.mlir --perplexity=%t/tokens.npy 2>&1 | FileCheck %s --check-prefix=SHAPE

// A model that gives logits (0, log 3) for every position says 1/4, 3/4; the
// other one says 1/2, 1/2. Scored tokens: 1 1 0, then 0 1 1.
// mean loss = (2 log 4 + 4 log 4/3) / 6; KL = log(1/2) - (log(1/4) + log(3/4)) / 2

// CHECK: 2 windows, 6 predictions
// CHECK: negative log likelihood  0.653886
// CHECK: perplexity               1.9230
// CHECK: perplexity of the other  2.0000
// CHECK: KL divergence from it    0.143841
// CHECK: same top token           0.0000
// JSON-DAG: "kl_divergence": 0.14384
// JSON-DAG: "perplexity": 1.92299
// ONE: 1 windows, 3 predictions
// SHAPE: perplexity needs a model that takes tokens

//--- tokens.mlir
func.func @main() -> tensor<2x4xi32> {
  %t = arith.constant dense<[[0, 1, 1, 0], [1, 0, 1, 1]]> : tensor<2x4xi32>
  return %t : tensor<2x4xi32>
}

//--- model.mlir
func.func @main(%t: tensor<1x4xi64>) -> tensor<1x4x2xf32> {
  %l = arith.constant dense<[[[0.0, 1.0986123], [0.0, 1.0986123], [0.0, 1.0986123], [0.0, 1.0986123]]]> : tensor<1x4x2xf32>
  return %l : tensor<1x4x2xf32>
}

//--- other.mlir
func.func @main(%t: tensor<1x4xi64>) -> tensor<1x4x2xf32> {
  %l = arith.constant dense<0.0> : tensor<1x4x2xf32>
  return %l : tensor<1x4x2xf32>
}
