//===- WeightDecoder.h - Packed codes to A fragments ------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What a lane does with its part of a 16 x 64 block (FragmentOrder.h): load the
// words, load the scales and offsets of its two rows, and make the four A
// registers of each mma step.
//
// An integer code becomes a float by putting its bits into the mantissa of a
// power of two and subtracting that power together with the zero point; a code
// of a table by permuting the bytes of the table.
//
// Scales are applied either to the sums of a block, in f32 (exact codes go
// through the tensor cores; all k of a block must have one scale), or to the
// weights, rounded to the type that is multiplied.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CODEGEN_GPU_WEIGHTDECODER_H
#define QUANTOPT_LIB_CODEGEN_GPU_WEIGHTDECODER_H

#include "KernelBuilder.h"

#include "quantopt/Packing/FragmentOrder.h"

namespace quantopt::kernels {

/// Bytes of 16 x 64 weights in Operand::Dense.
inline constexpr int64_t kDenseBlockBytes =
    2 * fragment::kBlockRows * fragment::kBlockK;

/// Where scales are applied; nowhere to weights that are dequantized already
/// (Operand::Dense).
enum class Scaling { Sums, Weights, None };

class WeightDecoder {
public:
  /// `reused`: other blocks of threads read the same weights later.
  WeightDecoder(KernelBuilder &builder, const LinearProblem &problem,
                Scaling scaling, bool reused);

  /// From now on the weights of this expert; null: there is one matrix only.
  void select(Value expert) { this->expert = expert; }

  /// Whether groups begin inside a lane's run of 16 k, so that each k needs a
  /// scale of its own: many instructions.
  static bool isDifficult(const LinearProblem &problem);

  /// Whether a block has one scale a row.
  static bool canScaleSums(const LinearProblem &problem);

  /// Words that are loaded for a block: codes, then scales and offsets.
  unsigned numWords() const { return codeWords + parameterWords; }
  /// Loads them, for tile `rowTile` and block `column` of the tile (both i32,
  /// of existing places); zeros where the condition is false.
  Values load(Value rowTile, Value column, Value condition);

  /// The same in two parts. Codes may be copied to shared memory before: the
  /// bytes of a block, from its address in global memory to an offset.
  Values loadCodes(Value rowTile, Value column, Value condition);
  Values loadParameters(Value rowTile, Value column, Value condition);
  int64_t codeBytesOfBlock() const;
  Value codeAddress(Value rowTile, Value column, Value offset = Value());
  Values loadSharedCodes(Value offset);
  unsigned numParameterWords() const { return parameterWords; }

  /// What a block's loaded words say about its rows.
  struct Block {
    Values codes;
    /// Zero points as they are subtracted, by row (0, 1) and element of k.
    llvm::SmallVector<Value> zeros[2];
    /// Scales and offsets: pairs for weights, f32 for sums.
    llvm::SmallVector<Value> scales[2], offsets[2];
  };
  Block open(ValueRange words);

  /// The A registers of mma step 0 to 3.
  Values fragment(const Block &block, unsigned step);

  /// With Scaling::Sums: `total` + scale * `sums` + offset * `inputs`, d
  /// fragments of one tile. `inputs` are the sums of the activations, needed
  /// where needsInputSums() says so.
  Values addScaled(const Block &block, ValueRange total, ValueRange sums,
                   ValueRange inputs);
  bool needsInputSums() const;
  /// An A operand of ones.
  Values ones();

private:
  const LinearProblem &problem;
  const Scheme &scheme;
  KernelBuilder &b;
  FloatKind kind;
  Scaling scaling;
  bool reused;
  Value expert;
  fragment::Pieces pieces;
  unsigned codeWords, parameterWords;
  int64_t group, groups;
  /// Groups may begin anywhere: a scale for each k.
  bool perElement;

  /// Bits of the mantissa of what is multiplied.
  unsigned mantissaBits() const { return kind == FloatKind::F16 ? 10 : 7; }
  /// The zero point, where it is the same for all codes.
  double center() const { return 1u << (scheme.bits - 1); }
  bool isMinimum() const { return scheme.zero == ZeroKind::Minimum; }
  bool isTable() const { return scheme.table != CodeTable::Linear; }

  /// Words that hold two scales or minima.
  unsigned wordsPerPair() const {
    return scheme.scaleType == ScaleKind::F32 ? 2 : 1;
  }
  unsigned wordsPerElement() const;
  /// Calls `load(offset, count)` for the words of a lane, in the order of the
  /// codes' words; offsets are from the begin of the block.
  void forCodes(llvm::function_ref<void(Value, unsigned)> load);
  /// Address of the planes of the expert.
  Value plane(Operand operand, int64_t bytes);
  Value groupIndex(Value column, unsigned element);
  /// f32 of row 0 or 1.
  Value number(ValueRange words, unsigned row);
  /// Scales of elements `first` and `second` of row 0 or 1, to multiply with.
  Value scalePair(ValueRange first, ValueRange second, unsigned row);
  Value offsetPair(ValueRange first, ValueRange second, unsigned row);
  Value centredMinimum(ValueRange words, unsigned row);

  /// Index in Block's vectors of what a pair needs.
  unsigned pairIndex(unsigned pair) const;
  Value wordOf(const Block &block, const fragment::Piece &piece, unsigned pair);
  /// Codes in the mantissas of a power of two, `shift` bits up.
  Value embed(const Block &block, unsigned pair, unsigned &shift);
  Value zeroConstant(const Block &block, unsigned pair, unsigned shift);
  Value integers(const Block &block, unsigned pair);
  Value wideIntegers(const Block &block, unsigned pair);
  Values tableValues(const Block &block, unsigned step);
};

} // namespace quantopt::kernels

#endif // QUANTOPT_LIB_CODEGEN_GPU_WEIGHTDECODER_H
