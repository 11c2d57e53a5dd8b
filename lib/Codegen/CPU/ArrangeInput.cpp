//===- ArrangeInput.cpp - x as it is multiplied ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A row of x becomes a row of the workspace (InputLayout). As I8, a segment has
// the scale max |x| / 127 and bytes rounded to nearest even.
//
//===----------------------------------------------------------------------===//

#include "CodeDecoder.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

namespace {
class Arrange {
public:
  Arrange(KernelBuilder &builder, const LinearProblem &problem,
          const Segments &segments)
      : b(builder), problem(problem), segments(segments),
        layout(segments, problem.products.compute),
        lanes(std::min(VectorTarget(problem.target).lanes(), segments.length)),
        floats(b.vector(lanes, b.getF32Type())) {}

  /// Segment `index` (i64); `columns` of its `padded` columns are of x.
  void segment(Value x, Value out, Value index, int64_t columns,
               int64_t padded);

private:
  Value load(Value x, Value column, Value rest);
  void quantize(Value x, Value out, Value index, Value rest, int64_t padded);
  void copy(Value x, Value out, Value index, Value rest, int64_t padded);
  Value at(Value out, int64_t base, Value index) {
    return b.advance(b.advance(out, b.mul(index, 4)), base);
  }

  KernelBuilder &b;
  const LinearProblem &problem;
  const Segments &segments;
  InputLayout layout;
  int64_t lanes;
  VectorType floats;
};
} // namespace

/// `lanes` columns from `column` on; `rest` is null or says how many of the
/// segment's columns there are.
Value Arrange::load(Value x, Value column, Value rest) {
  int64_t bytes = bitWidth(problem.x) / 8;
  Value address = b.advance(x, b.mul(column, bytes));
  if (!rest)
    return b.loadFloats(problem.x, lanes, address);
  Value left = arith::SubIOp::create(b, rest, column);
  Value mask = b.maskBelow(left, lanes);
  return b.widen(
      b.loadMasked(b.vector(lanes, b.floatType(problem.x)), address, mask));
}

void Arrange::quantize(Value x, Value out, Value index, Value rest,
                       int64_t padded) {
  Value end = b.constant(padded);
  VectorType ints = b.vector(lanes, b.getI32Type());
  // Floats without their sign are ordered as their bits are, NaN above all: a
  // maximum of integers keeps it, and takes a fifth of the instructions.
  Value largest =
      b.loop(end, lanes, b.splatInt(ints, 0), [&](Value i, ValueRange max) {
        Value size = LLVM::FAbsOp::create(b, load(x, i, rest));
        Value larger = arith::MaxSIOp::create(b, max[0], b.bitcast(ints, size));
        return Values{larger};
      })[0];
  Value amax =
      b.bitcast(b.getF32Type(),
                LLVM::vector_reduce_smax::create(b, b.getI32Type(), largest));
  Value scale = b.mulFloat(amax, b.number(1 / 127.0));
  b.store(scale, at(out, 0, index));
  // Next to nothing is nothing, and its inverse stays finite.
  Value isZero = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, amax,
                                       b.number(1e-30));
  Value quotient = arith::DivFOp::create(b, b.number(127), amax);
  Value inverse =
      b.splat(arith::SelectOp::create(b, isZero, quotient, b.number(0)), lanes);
  Value words =
      b.advance(b.advance(out, b.mul(index, segments.length)), layout.words);
  Value sums =
      b.loop(end, lanes, b.splatInt(ints, 0), [&](Value i, ValueRange sum) {
        Value scaled = b.mulFloat(load(x, i, rest), inverse);
        Value q = arith::FPToSIOp::create(b, ints,
                                          LLVM::RoundEvenOp::create(b, scaled));
        Value bytes =
            arith::TruncIOp::create(b, b.vector(lanes, b.getI8Type()), q);
        b.store(bytes, b.advance(words, i));
        return Values{b.add(sum[0], q)};
      })[0];
  Value sum = LLVM::vector_reduce_add::create(b, b.getI32Type(), sums);
  b.store(sum, at(out, layout.sums, index));
  b.store(b.mulFloat(b.toFloat(sum), scale), at(out, layout.realSums, index));
}

void Arrange::copy(Value x, Value out, Value index, Value rest,
                   int64_t padded) {
  bool asPairs = problem.products.compute == Compute::BF16;
  int64_t bytes = asPairs ? 2 : 4;
  Value words = b.advance(b.advance(out, b.mul(index, segments.length * bytes)),
                          layout.words);
  SmallVector<int32_t> order;
  for (int64_t i = 0; i < lanes; ++i)
    order.push_back(i / 4 * 4 + CodeDecoder::kPairOrder[i % 4]);
  Value sums = b.loop(b.constant(padded), lanes, b.splatFloat(floats, 0),
                      [&](Value i, ValueRange sum) {
                        Value value = load(x, i, rest);
                        Value stored = value;
                        if (asPairs) {
                          Value rounded = b.narrow(FloatKind::BF16, value);
                          value = b.widen(rounded);
                          stored = LLVM::ShuffleVectorOp::create(
                              b, rounded, rounded, order);
                        }
                        b.store(stored, b.advance(words, b.mul(i, bytes)));
                        return Values{b.addFloat(sum[0], value)};
                      })[0];
  Value total = LLVM::vector_reduce_fadd::create(
      b, b.getF32Type(), b.number(0), sums,
      LLVM::FastmathFlagsAttr::get(b.getContext(),
                                   LLVM::FastmathFlags::reassoc));
  b.store(total, at(out, layout.realSums, index));
}

void Arrange::segment(Value x, Value out, Value index, int64_t columns,
                      int64_t padded) {
  int64_t bytes = bitWidth(problem.x) / 8;
  Value from = b.advance(x, b.mul(index, segments.length * bytes));
  Value rest = columns == padded ? Value() : b.constant(columns);
  if (problem.products.compute == Compute::I8)
    quantize(from, out, index, rest, padded);
  else
    copy(from, out, index, rest, padded);
}

/// The function that fills a row of the workspace: (row of x, row of the
/// workspace).
static func::FuncOp emitArrange(ModuleOp module, const LinearProblem &problem) {
  Segments segments(problem, problem.weights[0].scheme);
  std::string name =
      ("lowbit_arrange_" + isaName(problem.target.isa) + "_" +
       computeName(problem.products.compute) + "_x" +
       Twine(bitWidth(problem.x)) + (problem.x == FloatKind::BF16 ? "b" : "") +
       "_" + Twine(problem.k) + "_" + Twine(segments.length))
          .str();
  if (auto found = module.lookupSymbol<func::FuncOp>(name))
    return found;
  func::FuncOp function = startFunction(module, name, 2, false);
  KernelBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToEnd(&function.getBody().front());
  Arrange arrange(b, problem, segments);
  Value x = function.getArgument(0), out = function.getArgument(1);
  int64_t full = segments.numFull(), length = segments.length;
  b.loop(b.constant(full), 1, {}, [&](Value index, ValueRange) {
    arrange.segment(x, out, index, length, length);
    return Values();
  });
  for (int64_t index = full; index < segments.count(); ++index) {
    int64_t columns = std::max<int64_t>(problem.k - index * length, 0);
    int64_t padded = segments.hasWholeBlocks()
                         ? segments.tailBlocks() * line::kBlockK
                         : length;
    arrange.segment(x, out, b.constant(index), columns, padded);
  }
  func::ReturnOp::create(b);
  return function;
}

/// Words of x below which one thread arranges them: a fork takes longer.
static constexpr int64_t kSerialInput = 1 << 13;

void cpu::arrangeRows(KernelBuilder &b, ModuleOp module,
                      const LinearProblem &problem, Value x, Value workspace,
                      Value rows, function_ref<Value(Value)> source) {
  func::FuncOp callee = emitArrange(module, problem);
  int64_t xBytes = problem.k * bitWidth(problem.x) / 8;
  int64_t rowBytes = inputRowBytes(problem);
  auto arrange = [&](Value row) {
    Value from = b.advance(x, b.mul(source(row), xBytes));
    Value to = b.advance(workspace, b.mul(row, rowBytes));
    func::CallOp::create(b, callee, ValueRange{from, to});
  };
  if (!ShapedType::isDynamic(problem.m) &&
      problem.m * problem.k <= kSerialInput)
    b.loop(rows, 1, {}, [&](Value row, ValueRange) {
      arrange(row);
      return Values();
    });
  else
    b.parallel(rows, arrange);
}
