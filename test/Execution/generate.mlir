// The next token is the sum of all before it, modulo 16. Two sequences, caches
// for 8 tokens, prompts read two tokens at a time.

// RUN: quant-run %s --generate=1,2 --max-tokens=4 2> %t.err | FileCheck %s --check-prefix=ONE --implicit-check-not={{.}}
// RUN: FileCheck %s --check-prefix=SPEED < %t.err
// ONE:      {{^}}3
// ONE-NEXT: {{^}}6
// ONE-NEXT: {{^}}12
// ONE-NEXT: {{^}}8
// SPEED: prompt: 2 tokens in {{.*}} tokens/s); decode: 3 tokens in {{.*}} tokens/s)

// Prompts of different lengths, more than go at once: each is as it is alone.
// RUN: quant-run %s --generate='1,2;3,4,5;7' --max-tokens=3 2>&1 | FileCheck %s --check-prefix=SEVERAL
// SEVERAL:      0 3
// SEVERAL-NEXT: 1 12
// SEVERAL-NEXT: 0 6
// SEVERAL-NEXT: 1 8
// SEVERAL-NEXT: 0 12
// SEVERAL-NEXT: 1 0
// SEVERAL-NEXT: 2 7
// SEVERAL-NEXT: 2 14
// SEVERAL-NEXT: 2 12

// RUN: quant-run %s --generate='1,2;1,2,3,4,5,6,7' --stop=9,6 --json=%t.json 2>&1 | FileCheck %s --check-prefix=FULL
// RUN: FileCheck %s --check-prefix=JSON < %t.json
// FULL: the caches are full: a model imported with a larger --cache-length could go on
// JSON:      "ended_by": "stop"
// JSON-NEXT: "tokens": [
// JSON-NEXT:   3,
// JSON-NEXT:   6
// JSON-NEXT: ]
// JSON:      "ended_by": "cache full"
// JSON-NEXT: "tokens": [
// JSON-NEXT:   12,
// JSON-NEXT:   8
// JSON-NEXT: ]

// A seed always draws the same, and prompt i as one alone with seed + i.
// RUN: quant-run %s --generate=1,2 --temperature=9 --seed=5 --max-tokens=6 2> %t.err > %t.5
// RUN: quant-run %s --generate=1,2 --temperature=9 --seed=6 --max-tokens=6 2> %t.err > %t.6
// RUN: not cmp %t.5 %t.6
// RUN: quant-run %s --generate='1,2;1,2' --temperature=9 --seed=5 --max-tokens=6 2> %t.err > %t.both
// RUN: sed -n 's/^0 //p' %t.both | diff %t.5 -
// RUN: sed -n 's/^1 //p' %t.both | diff %t.6 -
// The likeliest of one is the likeliest.
// RUN: quant-run %s --generate=1,2 --temperature=9 --seed=5 --top-k=1 --max-tokens=4 2> %t.err | FileCheck %s --check-prefix=ONE

// RUN: not quant-run %s --generate=1,2,3,4,5,6,7,8,9 2>&1 | FileCheck %s --check-prefix=LONG
// LONG: error: prompt 0 has 9 tokens, and the model's caches hold 8 - import it with a larger --cache-length
// RUN: not quant-run %s --generate='1;16' 2>&1 | FileCheck %s --check-prefix=TOKEN
// TOKEN: error: token 16 of prompt 1 is outside the model's vocabulary of 16
// RUN: not quant-run %s --generate='1;' 2>&1 | FileCheck %s --check-prefix=WORD
// RUN: not quant-run %s --generate=one 2>&1 | FileCheck %s --check-prefix=WORD
// WORD: is not a token: a prompt is numbers separated by commas, or an .npy file; python -m quantopt generate takes text
// RUN: not quant-run %s --generate=1 --max-tokens=0 2>&1 | FileCheck %s --check-prefix=MAX
// MAX: error: --max-tokens must be at least 1
// RUN: not quant-run %s --generate=1 --top-p=0 2>&1 | FileCheck %s --check-prefix=TOPP
// TOPP: error: --top-p must be above 0 and at most 1
// RUN: not quant-run %s --generate=1 --top-k=-1 2>&1 | FileCheck %s --check-prefix=TOPK
// TOPK: error: --top-k must be 0 or more
// RUN: not quant-run %s --generate=1 --temperature=-1 2>&1 | FileCheck %s --check-prefix=COLD
// COLD: error: --temperature must be 0 or more

func.func @prefill(%tokens: tensor<2x2xi64>, %positions: tensor<2xi64>, %last: tensor<2xi64>,
                   %cache: tensor<2x1x8xf32> {lowbit.in_place = 1 : i64}) -> (tensor<2x16xf32>, tensor<2x1x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %empty = tensor.empty() : tensor<2x2xf32>
  %values = linalg.generic {indexing_maps = [affine_map<(b, t) -> (b, t)>, affine_map<(b, t) -> (b, t)>],
                            iterator_types = ["parallel", "parallel"]}
      ins(%tokens : tensor<2x2xi64>) outs(%empty : tensor<2x2xf32>) {
  ^bb0(%token: i64, %out: f32):
    %value = arith.sitofp %token : i64 to f32
    linalg.yield %value : f32
  } -> tensor<2x2xf32>
  %p0 = tensor.extract %positions[%c0] : tensor<2xi64>
  %p1 = tensor.extract %positions[%c1] : tensor<2xi64>
  %at0 = arith.index_cast %p0 : i64 to index
  %at1 = arith.index_cast %p1 : i64 to index
  %row0 = tensor.extract_slice %values[0, 0] [1, 2] [1, 1] : tensor<2x2xf32> to tensor<1x2xf32>
  %row1 = tensor.extract_slice %values[1, 0] [1, 2] [1, 1] : tensor<2x2xf32> to tensor<1x2xf32>
  %cache0 = tensor.insert_slice %row0 into %cache[0, 0, %at0] [1, 1, 2] [1, 1, 1] : tensor<1x2xf32> into tensor<2x1x8xf32>
  %cache1 = tensor.insert_slice %row1 into %cache0[1, 0, %at1] [1, 1, 2] [1, 1, 1] : tensor<1x2xf32> into tensor<2x1x8xf32>
  %ends = linalg.add ins(%positions, %last : tensor<2xi64>, tensor<2xi64>) outs(%last : tensor<2xi64>) -> tensor<2xi64>
  %logits = func.call @logits(%cache1, %ends) : (tensor<2x1x8xf32>, tensor<2xi64>) -> tensor<2x16xf32>
  return %logits, %cache1 : tensor<2x16xf32>, tensor<2x1x8xf32>
}

func.func @decode(%tokens: tensor<2x1xi64>, %positions: tensor<2xi64>,
                  %cache: tensor<2x1x8xf32> {lowbit.in_place = 1 : i64}) -> (tensor<2x16xf32>, tensor<2x1x8xf32>) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %t0 = tensor.extract %tokens[%c0, %c0] : tensor<2x1xi64>
  %t1 = tensor.extract %tokens[%c1, %c0] : tensor<2x1xi64>
  %v0 = arith.sitofp %t0 : i64 to f32
  %v1 = arith.sitofp %t1 : i64 to f32
  %p0 = tensor.extract %positions[%c0] : tensor<2xi64>
  %p1 = tensor.extract %positions[%c1] : tensor<2xi64>
  %at0 = arith.index_cast %p0 : i64 to index
  %at1 = arith.index_cast %p1 : i64 to index
  %cache0 = tensor.insert %v0 into %cache[%c0, %c0, %at0] : tensor<2x1x8xf32>
  %cache1 = tensor.insert %v1 into %cache0[%c1, %c0, %at1] : tensor<2x1x8xf32>
  %logits = func.call @logits(%cache1, %positions) : (tensor<2x1x8xf32>, tensor<2xi64>) -> tensor<2x16xf32>
  return %logits, %cache1 : tensor<2x16xf32>, tensor<2x1x8xf32>
}

// The nearer to the sum, the likelier.
func.func private @logits(%cache: tensor<2x1x8xf32>, %ends: tensor<2xi64>) -> tensor<2x16xf32> {
  %zero = arith.constant 0.0 : f32
  %modulus = arith.constant 16.0 : f32
  %none = tensor.empty() : tensor<2xf32>
  %start = linalg.fill ins(%zero : f32) outs(%none : tensor<2xf32>) -> tensor<2xf32>
  %sums = linalg.generic {indexing_maps = [affine_map<(b, s) -> (b, 0, s)>, affine_map<(b, s) -> (b)>, affine_map<(b, s) -> (b)>],
                          iterator_types = ["parallel", "reduction"]}
      ins(%cache, %ends : tensor<2x1x8xf32>, tensor<2xi64>) outs(%start : tensor<2xf32>) {
  ^bb0(%value: f32, %end: i64, %sum: f32):
    %s = linalg.index 1 : index
    %place = arith.index_cast %s : index to i64
    %seen = arith.cmpi sle, %place, %end : i64
    %part = arith.select %seen, %value, %zero : f32
    %next = arith.addf %sum, %part : f32
    linalg.yield %next : f32
  } -> tensor<2xf32>
  %blank = tensor.empty() : tensor<2x16xf32>
  %logits = linalg.generic {indexing_maps = [affine_map<(b, v) -> (b)>, affine_map<(b, v) -> (b, v)>],
                            iterator_types = ["parallel", "parallel"]}
      ins(%sums : tensor<2xf32>) outs(%blank : tensor<2x16xf32>) {
  ^bb0(%sum: f32, %out: f32):
    %next = arith.remf %sum, %modulus : f32
    %v = linalg.index 1 : index
    %number = arith.index_cast %v : index to i64
    %token = arith.sitofp %number : i64 to f32
    %distance = arith.subf %token, %next : f32
    %square = arith.mulf %distance, %distance : f32
    %logit = arith.negf %square : f32
    linalg.yield %logit : f32
  } -> tensor<2x16xf32>
  return %logits : tensor<2x16xf32>
}
