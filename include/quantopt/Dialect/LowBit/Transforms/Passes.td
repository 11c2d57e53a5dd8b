//===----------------------------------------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_TD
#define QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def LowBitAttachData : Pass<"lowbit-attach-data", "::mlir::ModuleOp"> {
  let summary = "Give a module weights and calibration samples from files";
  let description = [{
    1. Every `dense_resource` without data gets the tensor of that name from
       `weights` (safetensors, memory-mapped: nothing is copied). With `replace`
       so does every one that has data, if the file has a tensor of its name:
       the same graph with other weights.
    2. Every argument of the entry function with `lowbit.parameter = "name"`
       becomes a constant with the tensor of that name.
    3. The arrays of `calibration` (.npy, .npz, .safetensors; `arg0`, `arg1`, ...
       of shape [samples, argument shape]) are attached to the arguments of the
       entry function as `lowbit.calibration`.

    Types and sizes are checked; the first that does not fit stops the pass with
    an error that names it.
  }];
  let options = [
    Option<"weights", "weights", "std::string", /*default=*/"",
           "safetensors file with the tensors by resource key">,
    Option<"replace", "replace", "bool", /*default=*/"false",
           "give the resources that the file names its data even if they have "
           "some, and leave the others">,
    Option<"calibration", "calibration", "std::string", /*default=*/"",
           "file with calibration samples by argument">,
    Option<"entry", "entry", "std::string", /*default=*/"\"main\"",
           "name of the entry function">,
  ];
}

def LowBitFindLinears : Pass<"lowbit-find-linears", "::mlir::ModuleOp"> {
  let summary = "Recognise the linear layers of an imported graph";
  let description = [{
    1. Takes every contraction over constant data: linalg.matmul, batch_matmul,
       vecmat, matvec, dot, generic contractions of any rank, 1x1 convolutions.
    2. Follows the constant operand through transposes, reshapes and broadcasts,
       so that any spelling is seen as a [N, K] matrix; one that is stored
       otherwise is transposed once, at compile time.
    3. Rewrites it to `lowbit.linear`, named after the weight's resource (less a
       final `.weight`), else `linear.<ordinal>`. An initial value other than
       zero becomes an addition.
    4. Experts become linears of their own, `<name>.<expert>`, a chain of routed
       ones over one input: where the constant has a matrix for each entry of a
       batch, and where an index picks one for each row (`weight[ids]`). Each
       weight is a part of the constant as it lies there, or transposed once.
       (test/Dialect/LowBit/Transforms/find-linears-experts.mlir)
    5. A contraction that is no linear with a constant weight stays, and carries
       the reason as `lowbit.refused`.

    Runs before any fusion: fused graphs hide linears.

    Example (test/Dialect/LowBit/Transforms/find-linears.mlir):
    ```mlir
    %t = linalg.transpose ins(%w : tensor<8x4xf32>) outs(%e) permutation = [1, 0]
    %y = linalg.matmul ins(%x, %t) outs(%zero) -> tensor<2x8xf32>
    // ==>
    %y = lowbit.linear %x, %w {name = "fc"}
        : (tensor<2x4xf32>, tensor<8x4xf32>) -> tensor<2x8xf32>
    ```
  }];
  let dependentDialects = ["::quantopt::lowbit::LowBitDialect"];
  let statistics = [
    Statistic<"numLinears", "linears", "Contractions rewritten to lowbit.linear">,
    Statistic<"numRefused", "refused", "Contractions left with a reason">,
  ];
}

/// An option of one layer: any text, read by the table of LayerOptions.cpp.
/// Empty is "not given".
class LayerOption<string member, string name, string text>
    : Option<member, name, "::quantopt::lowbit::OptionText", /*default=*/"",
             text>;

class QuantizePass<string arg> : Pass<arg, "::mlir::ModuleOp"> {
  let dependentDialects = [
    "::quantopt::lowbit::LowBitDialect", "::mlir::arith::ArithDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"
  ];
  // Defaults stand in parentheses.
  list<Option> schemeOptions = [
    LayerOption<"table", "table",
                "what codes stand for instead of equal steps: nf4, fp4, iq4_nl "
                "or e2m1 (4 bits, no zero point); or a whole format: mxfp4 (e2m1, "
                "group-size=32 scale-type=e8m0) or nvfp4 (e2m1, group-size=16, "
                "e4m3 scales of one f32 factor) (none)">,
    LayerOption<"doubleQuant", "double-quant",
                "with a table: scales as bytes of bitsandbytes' nested "
                "quantization (false)">,
    LayerOption<"bits", "bits", "bits of a code, 2 to 8 (4)">,
    LayerOption<"groupSize", "group-size",
                "weights that share a scale: a number, 'channel' or 'tensor' "
                "(64)">,
    LayerOption<"symmetric", "symmetric",
                "no zero point (the same as zero=none)">,
    LayerOption<"zero", "zero",
                "what stands beside the scale: integer, float or none "
                "(integer)">,
    LayerOption<"scaleType", "scale-type",
                "type of scales and float zeros: f16, bf16 or f32; of scales "
                "alone e8m0 (powers of two) or e4m3 (f16)">,
    LayerOption<"fullRange", "full-range",
                "without zero point only: the scale may be negative (true)">,
    LayerOption<"search", "search",
                "how scales are chosen: none (from the extremes), lsq (13 "
                "ranges, least squares), grid (25 ranges), clip (10 ranges, as "
                "they are) (lsq)">,
  ];
  list<Option> rtnOptions = [
    LayerOption<"flat", "flat",
                "groups run over the flattened weight, across the ends of rows "
                "(false)">,
    LayerOption<"importance", "importance",
                "rounding to nearest: what the error of a weight counts when "
                "scales are chosen: none (all the same), inputs (the mean "
                "square of its input on the calibration data) or outputs (what "
                "it does to its group's part of the output) (none)">,
  ];
  list<Option> scalingOptions = [
    LayerOption<"scaling", "scaling",
                "none, or awq: scale inputs against weights first, as "
                "lowbit-awq-scale does (none)">,
  ];
  list<Option> gptqOptions = [
    LayerOption<"actOrder", "act-order",
                "order of the columns: none, static or gar (static)">,
    LayerOption<"levelTokens", "level-tokens",
                "from 0, a calibration token counts with the square of its "
                "size, to 1, all count the same; .5 keeps attention sinks from "
                "ruling H (0)">,
    LayerOption<"damp", "damp",
                "added to the diagonal of H, in units of its mean (0.01); auto: half "
                "the inputs of the layer over the calibration tokens">,
    LayerOption<"blockSize", "block-size",
                "columns between two updates of the rest (128)">,
    LayerOption<"refine", "refine",
                "rounds after GPTQ of codes and scales found anew group by group, "
                "of a least-squares fit of the scales, and of coordinate descent "
                "on the codes (0)">,
    LayerOption<"asymmetric", "asymmetric",
                "every sample runs a second time with the float weights, and a "
                "layer makes up for what has drifted before it: off, auto (as far "
                "as the second half of the samples confirms what the first half "
                "says) or on (off)">,
    LayerOption<"minTokens", "min-tokens",
                "a layer that fewer calibration tokens reach is rounded to "
                "nearest, weighted by its inputs (1)">,
  ];
  list<Option> runOptions = [
    ListOption<"skip", "skip", "std::string",
               "regular expressions; a layer whose name matches one is left">,
    ListOption<"only", "only", "std::string",
               "regular expressions; only layers that match one are taken">,
    Option<"tied", "tied", "std::string", /*default=*/"\"skip\"",
           "a weight that is an embedding too: skip, or quantize, for both "
           "(lowbit.lookup); where something else reads it, a float copy stays">,
    LayerOption<"embeddings", "embeddings",
                "a table whose rows are only looked up: keep, or quantize, which "
                "rounds to nearest whatever the method (keep)">,
    Option<"entry", "entry", "std::string", /*default=*/"\"main\"",
           "name of the entry function">,
    Option<"calibration", "calibration", "std::string", /*default=*/"",
           "file with samples (.npy, .npz, .safetensors), or none; read only if "
           "a layer needs data">,
    Option<"samples", "samples", "::quantopt::lowbit::OptionText",
           /*default=*/"", "use only the first samples (0: all)">,
    Option<"threads", "threads", "unsigned", /*default=*/"0",
           "threads to use (0: one per core); the result does not depend on it">,
    Option<"recipe", "recipe", "std::string", /*default=*/"",
           "YAML file that says what is done with which layers">,
    Option<"dryRun", "dry-run", "bool", /*default=*/"false",
           "quantize nothing; say what would be done with every layer, and what "
           "size, time and memory to expect, from a small part of the run">,
    Option<"drift", "drift", "bool", /*default=*/"false",
           "report how far the output of each layer moves from the float "
           "model's, which runs beside for it (as asymmetric=auto lets it)">,
    Option<"checkpoint", "checkpoint", "std::string", /*default=*/"",
           "folder to keep solved layers in; a run that was killed goes on from "
           "there when it is started again">,
    Option<"report", "report", "std::string", /*default=*/"",
           "write the table of layers to this file: as a page to look at if it "
           "ends in .html, else as JSON">,
    Option<"progress", "progress", "std::string", /*default=*/"\"auto\"",
           "auto (bar on a terminal, else lines, then the table), plain or none">,
  ];
}

def RtnQuantize : QuantizePass<"rtn-quantize"> {
  let summary = "Quantize linear layers by rounding to nearest";
  let description = [{
    With `embeddings=quantize` it takes embedding tables too, as all quantizers do
    (test/Dialect/LowBit/Transforms/quantize-embeddings.mlir).

    Needs no data, unless `importance=inputs` weights the search of scales by
    the inputs of each layer on calibration samples. A raw imported module is
    searched for linears first (`lowbit-find-linears`). Scales are rounded to
    their storage type before the codes are chosen.

    Example (test/Dialect/LowBit/Transforms/rtn-quantize.mlir):
    ```mlir
    %y = lowbit.linear %x, %w {name = "fc"}
        : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
    // ==>
    %q = lowbit.weight "fc" {codes = ..., scales = ..., zeros = ...}
        : !lowbit.weight<8x64xf32, #lowbit.affine<bits = 4, group = 64, integer_zero, scale = f16>>
    %y = lowbit.linear %x, %q {name = "fc"} : ...
    ```
  }];
  let options = schemeOptions # scalingOptions # rtnOptions # runOptions;
}

def Nf4Quantize : QuantizePass<"nf4-quantize"> {
  let summary = "Quantize linear layers to NF4 or FP4 as bitsandbytes does";
  let description = [{
    rtn-quantize with other defaults: `table=nf4 scale-type=f32 search=none
    flat=true` and blocks (`group-size`) of 64. So codes, absmax (`scales`) and,
    with `double-quant`, the nested absmax and its offset are those of the
    package bitsandbytes 0.50 on a CPU, bit for bit, for table=nf4 and fp4. (Its
    bytes hold two codes the other way round; of more than 32768 blocks it takes
    the mean by as many threads as there are, here it is that of one thread.)
    Needs no data. With `search=lsq` better scales go into the same format.

    Blocks run over the flattened weight. Where K is a multiple of the block
    that is the same as groups in a row, and the scheme says `group`, else `flat`.

    Example (test/Dialect/LowBit/Transforms/nf4-quantize.mlir):
    ```mlir
    %y = lowbit.linear %x, %w {name = "fc"}
        : (tensor<2x64xf32>, tensor<8x64xf32>) -> tensor<2x8xf32>
    // ==>
    %q = lowbit.weight "fc" {codes = ..., scales = ...}
        : !lowbit.weight<8x64xf32, #lowbit.codebook<nf4, group = 64, scale = f32>>
    %y = lowbit.linear %x, %q {name = "fc"} : ...
    ```
  }];
  let options = schemeOptions # rtnOptions # runOptions;
}

def GptqQuantize : QuantizePass<"gptq-quantize"> {
  let summary = "Quantize linear layers by GPTQ on calibration data";
  let description = [{
    1. Finds the linears if the module is a raw import.
    2. Compiles the float module and runs it once on all calibration samples
       together; at each linear every sample waits.
    3. There H = X^T X is accumulated, the layer is quantized (Frantar et al.,
       arXiv:2210.17323, with static act-order and least-squares scales), and the
       samples go on with the quantized weight: each layer sees the inputs that
       the quantized layers before it produce.
    4. Linears that read the same input share H and its factorisation.

    Calibration samples come from `calibration=FILE`, else from the
    `lowbit.calibration` attributes of the entry function's arguments;
    `calibration=none` quantizes without data (GPTQ with H = I, which is rounding
    to nearest) and says so in the report.

    Example (test/Dialect/LowBit/Transforms/gptq-quantize.mlir): as for
    rtn-quantize; only the codes differ.
  }];
  let options = schemeOptions # scalingOptions # gptqOptions # runOptions;
}

def LowBitQuantize : QuantizePass<"lowbit-quantize"> {
  let summary = "Quantize linear layers by a preset, a recipe, or both";
  let description = [{
    The same run as rtn-quantize and gptq-quantize; only what is done where the
    options say nothing comes from `preset`:

    - `fast`: rounding to nearest, scales searched by least squares and weighted
      by the inputs of one sample; without data, not weighted.
    - `balanced`: GPTQ on all samples, with a wider search, damping by their
      number, tokens of great size held back and a round of refinement.
    - `best`: the same with two rounds, and with the float model run beside, so
      that each layer makes up for what has drifted before it.

    `recipe` is a YAML file with options of layers by name:
    ```yaml
    defaults:                    # of all layers
      group-size: 128
    layers:                      # the first rule that matches counts
      - match: "lm_head|embed"   # regular expression on names, or a list of them
        skip: true
      - match: "down_proj$"
        bits: 8                  # the rest is as for all layers
        group-size: channel
      - match: ["q_proj$", "k_proj$"]
        method: rtn
    ```
    Its keys are the options of the pass from `method` and `bits` to
    `min-tokens`, with the same meaning. What is said later in this list counts:
    the preset, `defaults`, the options of the pass, the rule. Every quantizer
    pass takes a recipe.

    Example (test/Dialect/LowBit/Transforms/lowbit-quantize.mlir): as for
    rtn-quantize; only the codes differ.
  }];
  let options = [
    Option<"preset", "preset", "std::string", /*default=*/"\"balanced\"",
           "fast, balanced or best: what the options below are if they are not "
           "given">,
    LayerOption<"method", "method",
                "rtn (rounding to nearest) or gptq">,
  ] # schemeOptions # scalingOptions # rtnOptions # gptqOptions # runOptions;
}

def LowBitAwqScale : QuantizePass<"lowbit-awq-scale"> {
  let summary = "Scale linear layers by the magnitude of their inputs (AWQ)";
  let description = [{
    Float module in, float module out: it computes the same function, and
    rounding its weights does less harm. Any quantizer may follow.

    1. Finds the linears if the module is a raw import, and merges equal ops.
    2. Runs the float module once on all calibration samples. For the linears
       that read one input it searches scales s per channel on a grid (Lin et
       al., arXiv:2306.00978): the mean magnitude of the input to the power of
       0, .05, ... .95, also divided by a power of the weights' own magnitude.
       The squared error of all their outputs decides, with weights rounded to
       nearest by the scheme that the options give.
    3. The columns of the weights are multiplied by s. 1/s is traced back through
       reshapes, transposes, slices and elementwise ops to what takes it up: the
       gain of a norm (also 1 + w), a multiplication by a constant, the rows of
       an earlier linear with its bias; through attention too, where every head
       has values of its own. Nobody else may read what changes.
    4. Where nothing takes it up, a multiplication is inserted, if the scales
       take away a tenth of the error, else the scales are dropped. The report
       says which, as `placed`. Experts, and layers whose weight is used
       elsewhere too, are left as they are.

    Example (test/Dialect/LowBit/Transforms/awq-scale.mlir):
    ```mlir
    %n = linalg.generic ... ins(%x, %gain) { arith.mulf }
    %q = lowbit.linear %n, %wq {name = "q"} : ...
    %k = lowbit.linear %n, %wk {name = "k"} : ...
    // ==> the same ops; in %gain, %wq and %wk channel i is scaled
    ```
  }];
  let options = schemeOptions # runOptions;
}

def AwqQuantize : QuantizePass<"awq-quantize"> {
  let summary = "Quantize linear layers by AWQ on calibration data";
  let description = [{
    1. Scales the module as lowbit-awq-scale does.
    2. Runs it on the calibration samples again and rounds each weight to
       nearest, after a search of the range of each group on the inputs that the
       quantized layers before it produce. The error of the group's part of the
       output decides (`importance=outputs` if not given). `search=clip` is the
       clipping of the paper; lsq and grid try narrower ranges too, and fit the
       scale to the codes.

    Other quantizers do the first step too if they get `scaling=awq`. A dry run
    does not, and its estimate of the time leaves it out.

    Example (test/Dialect/LowBit/Transforms/awq-quantize.mlir): as for
    rtn-quantize; only the codes differ.
  }];
  let options = schemeOptions # rtnOptions # runOptions;
}

def LowBitPack : Pass<"lowbit-pack", "::mlir::ModuleOp"> {
  let summary = "Lay out quantized weights for the kernels of a target";
  let description = [{
    1. A weight whose scheme the layout does not take gets one with the same
       values, bit for bit: scales per tensor are copied to every channel, nested
       ones are multiplied out to f32, those of 8 bits become f16 or bf16.
       Groups that run on across rows are an error.
    2. Its planes are brought into the order in which the kernels read them, and
       the layout into its type. `nvptx` serves all kernels for tensor cores,
       `cpu` all that multiply bytes (planned).

    lowbit-unpack is the inverse. Linears of packed weights are run and lowered
    like any other.

    Example (test/Dialect/LowBit/Transforms/lowbit-pack.mlir):
    ```mlir
    %q = lowbit.weight "fc" {...} : !lowbit.weight<576x1536xf32, #lowbit.codebook<nf4, group = 64, scale = f32, nested = dynamic>>
    // ==>
    %q = lowbit.weight "fc" {...} : !lowbit.weight<576x1536xf32, #lowbit.codebook<nf4, group = 64, scale = f32>, #lowbit.layout<nvptx>>
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"nvptx\"",
           "whose kernels: nvptx or cpu">,
  ];
}

def LowBitUnpack : Pass<"lowbit-unpack", "::mlir::ModuleOp"> {
  let summary = "Lay out quantized weights as their schemes say";
  let description = [{
    The planes of each weight that lowbit-pack has packed become dense again. The
    scheme stays the one that it was packed in.

    Example (test/Dialect/LowBit/Transforms/lowbit-unpack.mlir).
  }];
}

def LowBitToLinalg : Pass<"lowbit-to-linalg", "::mlir::ModuleOp"> {
  let summary = "Lower lowbit to upstream dialects: dequantize, then contract";
  let description = [{
    The meaning of the dialect, and the way out to other compilers: each
    quantized weight becomes IR that computes the float matrix from its planes,
    each linear a contraction with f32 sums, each look-up the dequantization of
    the rows that it asks for. Discardable `lowbit.*` attributes
    are removed, so that the result parses without this dialect.

    Example (test/Dialect/LowBit/Transforms/lowbit-to-linalg.mlir).
  }];
  let dependentDialects = [
    "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
    "::mlir::tensor::TensorDialect"
  ];
}

#endif // QUANTOPT_DIALECT_LOWBIT_TRANSFORMS_PASSES_TD
