//===- KernelParts.cpp - What kernels of a linear layer share -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

static StringRef nameOf(FloatKind kind) {
  switch (kind) {
  case FloatKind::F16:
    return "f16";
  case FloatKind::BF16:
    return "bf16";
  case FloatKind::F32:
    return "f32";
  }
  llvm_unreachable("a kind of float");
}

static std::string nameOf(const Scheme &scheme, int64_t k) {
  std::string name;
  switch (scheme.table) {
  case CodeTable::Linear:
    name = "w" + std::to_string(scheme.bits);
    break;
  case CodeTable::NF4:
    name = "nf4";
    break;
  case CodeTable::FP4:
    name = "fp4";
    break;
  case CodeTable::IQ4NL:
    name = "iq4nl";
    break;
  case CodeTable::E2M1:
    name = "e2m1";
    break;
  }
  name += "g" + std::to_string(scheme.groupLength(k));
  name += scheme.zero == ZeroKind::Symmetric ? "s"
          : scheme.zero == ZeroKind::Integer ? "z"
                                             : "m";
  name += scheme.scaleType == ScaleKind::F16    ? "_f16"
          : scheme.scaleType == ScaleKind::BF16 ? "_bf16"
                                                : "_f32";
  return name;
}

std::string kernels::kernelName(StringRef kind, const LinearProblem &problem,
                                ArrayRef<int64_t> shape) {
  std::string name = (kind + "_" + nameOf(problem.scheme, problem.k)).str();
  for (int64_t size : {problem.m, problem.n, problem.k})
    name += "_" + std::to_string(size);
  for (FloatKind type : {problem.x, problem.y, problem.compute})
    name += "_" + nameOf(type).str();
  if (problem.experts)
    name += "_experts_" + std::to_string(problem.experts);
  for (int64_t size : shape)
    name += "_" + std::to_string(size);
  return name;
}

std::string kernels::inputKernelName(StringRef kind,
                                     const LinearProblem &problem,
                                     int64_t tileTokens) {
  return llvm::formatv("{0}_{1}_{2}_{3}_{4}_{5}", kind, problem.m, problem.k,
                       nameOf(problem.x), nameOf(problem.compute), tileTokens);
}

SmallVector<Operand> kernels::weightOperands(const LinearProblem &problem,
                                             bool dense) {
  if (dense)
    return {Operand::Dense};
  SmallVector<Operand> operands = {Operand::Codes, Operand::Scales};
  if (problem.scheme.zero != ZeroKind::Symmetric)
    operands.push_back(Operand::Offsets);
  if (problem.experts)
    operands.push_back(Operand::Groups);
  return operands;
}

//===----------------------------------------------------------------------===//
// Rows of x and y
//===----------------------------------------------------------------------===//

kernels::TokenRows::TokenRows(KernelBuilder &builder,
                              const LinearProblem &problem, int64_t tokens)
    : b(builder), problem(problem), tokens(tokens) {
  if (!problem.experts) {
    first = b.mul(b.blockY(), tokens);
    return;
  }
  Value entry = b.advance(b.operand(Operand::Groups), b.blockY(), 12);
  auto word = [&](int64_t index) {
    return b.loadWords(b.advance(entry, b.constant(4 * index)), 1, Value())[0];
  };
  group = word(0);
  first = word(1);
  count = word(2);
}

Value kernels::TokenRows::any() {
  return count ? b.less(b.constant(0), count) : Value();
}

Value kernels::TokenRows::exists(Value token) {
  return count ? b.less(token, count) : b.less(b.add(first, token), problem.m);
}

Value kernels::TokenRows::row(Value token) {
  if (!count) {
    Value row = b.add(first, token);
    return b.select(b.less(row, problem.m), row, b.constant(0));
  }
  Value place = b.add(first, b.select(exists(token), token, b.constant(0)));
  Value rows = b.advance(b.operand(Operand::Groups),
                         b.constant(12 * maxGroups(problem, tokens)));
  return b.loadWords(b.advance(rows, place, 4), 1, Value())[0];
}

Values kernels::loadRun(KernelBuilder &b, const LinearProblem &problem,
                        Value row, Value column, Value condition) {
  int64_t bytes = bitWidth(problem.x) / 8;
  bool aligned = problem.k * bytes % 16 == 0 && problem.k % 16 == 0;
  Value address = b.advance(
      b.advance(b.operand(Operand::X), row, problem.k * bytes), column, bytes);
  Values words;
  if (aligned) {
    if (problem.k % kBlockK != 0)
      condition = b.both(condition, b.less(column, problem.k));
    for (int64_t at = 0; at < 16 * bytes; at += 16)
      words.append(
          b.loadWords(b.advance(address, b.constant(at)), 4, condition));
  } else {
    for (int64_t i = 0; i < 16; ++i) {
      Value exists = b.both(condition, b.less(b.add(column, i), problem.k));
      Value at = b.advance(address, b.constant(i * bytes));
      if (bytes == 4) {
        words.append(b.loadWords(at, 1, exists));
        continue;
      }
      Value half = b.loadSmall(at, 2, exists);
      if (i % 2 == 0)
        words.push_back(half);
      else
        words.back() = b.bitOr(words.back(), b.shiftLeft(half, 16));
    }
  }
  if (problem.x == problem.compute)
    return words;
  auto number = [&](unsigned i) {
    return bytes == 4 ? b.asFloat(words[i])
                      : b.unpack(words[i / 2], i % 2, problem.x);
  };
  Values pairs;
  for (unsigned i = 0; i < 16; i += 2)
    pairs.push_back(b.packPair(number(i), number(i + 1), problem.compute));
  return pairs;
}

void kernels::storeOutput(KernelBuilder &b, const LinearProblem &problem,
                          int64_t blockRows, Value inputRow, Value weightRow,
                          Value number) {
  Value exists;
  if (problem.n % blockRows != 0)
    exists = b.less(weightRow, problem.n);
  b.when(exists, [&] {
    int64_t bytes = bitWidth(problem.y) / 8;
    Value address =
        b.advance(b.operand(Operand::Y), inputRow, problem.n * bytes);
    b.storeNumber(b.advance(address, weightRow, bytes), number, problem.y);
  });
}
