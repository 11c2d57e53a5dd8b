//===- FinishedTile.cpp - Tiles with what follows them --------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tiles of all weights go to buffers on the stack, which are in the first
// cache when the epilogue reads them. So the tiles need all registers for their
// sums alone, and know nothing of epilogues.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "mlir/IR/IRMapping.h"
#include "llvm/Support/xxhash.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

std::string cpu::epilogueName(const Epilogue &epilogue) {
  std::string text;
  llvm::raw_string_ostream os(text);
  (*epilogue.body)->print(os);
  for (const Epilogue::Operand &operand : epilogue.operands)
    os << operand.hasRows << operand.hasColumns;
  return llvm::utohexstr(llvm::xxh3_64bits(text), /*LowerCase=*/true);
}

/// `body` for vectors of `lanes` elements.
static Value applyToVectors(KernelBuilder &b, func::FuncOp body,
                            ValueRange arguments, int64_t lanes) {
  Block &block = body.getBody().front();
  IRMapping mapping;
  mapping.map(block.getArguments(), arguments);
  for (Operation &op : block.without_terminator()) {
    Operation *copy = b.clone(op, mapping);
    for (auto [scalar, result] : llvm::zip(op.getResults(), copy->getResults()))
      result.setType(b.vector(lanes, scalar.getType()));
    if (auto constant = dyn_cast<arith::ConstantOp>(copy))
      constant.setValueAttr(DenseElementsAttr::get(
          cast<VectorType>(constant.getType()), constant.getValue()));
  }
  return mapping.lookup(block.getTerminator()->getOperand(0));
}

namespace {
class FinishedTile {
public:
  FinishedTile(KernelBuilder &builder, ModuleOp module, func::FuncOp function,
               const LinearProblem &problem, const Epilogue &epilogue,
               const TileShape &shape)
      : b(builder), module(module), problem(problem), epilogue(epilogue),
        shape(shape), lanes(VectorTarget(problem.target).lanes()),
        n(problem.weights[epilogue.weights[0]].n),
        rowLength(shape.vectors * lanes), next(function.args_begin()) {}

  void emit();

private:
  Value multiply(const LinearWeight &weight, Value input);
  Value loadOperand(const Epilogue::Operand &operand, Value address, Value row,
                    int64_t vector, Value mask);

  KernelBuilder &b;
  ModuleOp module;
  const LinearProblem &problem;
  const Epilogue &epilogue;
  const TileShape &shape;
  const int64_t lanes, n, rowLength;
  Block::args_iterator next;
};
} // namespace

/// Computes the tile of a weight, whose planes are the next arguments.
Value FinishedTile::multiply(const LinearWeight &weight, Value input) {
  TileShape whole = shape;
  whole.masked = false; // planes are padded to whole vectors
  whole.toBuffer = true;
  Values arguments = {input, *next++, *next++};
  if (weight.scheme.zero != ZeroKind::Symmetric)
    arguments.push_back(*next++);
  Value buffer = LLVM::AllocaOp::create(
      b, b.pointerType(), b.vector(lanes, b.getF32Type()),
      b.word(shape.rows * shape.vectors), lanes * 4);
  arguments.push_back(buffer);
  func::CallOp::create(b, emitTile(module, problem, weight, whole), arguments);
  return buffer;
}

Value FinishedTile::loadOperand(const Epilogue::Operand &operand, Value address,
                                Value row, int64_t vector, Value mask) {
  int64_t bytes = bitWidth(operand.type) / 8;
  Type element = b.floatType(operand.type);
  if (operand.hasRows)
    address =
        b.advance(address, b.mul(row, (operand.hasColumns ? n : 1) * bytes));
  if (!operand.hasColumns)
    return b.splat(b.load(element, address), lanes);
  address = b.advance(address, vector * lanes * bytes);
  VectorType type = b.vector(lanes, element);
  return mask ? b.loadMasked(type, address, mask) : b.load(type, address);
}

void FinishedTile::emit() {
  Value input = *next++;
  Values buffers;
  for (unsigned weight : epilogue.weights)
    buffers.push_back(multiply(problem.weights[weight], input));
  Values operands;
  for (size_t i = 0; i < epilogue.operands.size(); ++i)
    operands.push_back(*next++);
  Value y = *next++;
  int64_t yBytes = bitWidth(epilogue.y) / 8;
  Values masks(shape.vectors);
  if (shape.masked)
    for (int64_t vector = 0; vector < shape.vectors; ++vector) {
      Value left = arith::SubIOp::create(b, *next, b.constant(vector * lanes));
      masks[vector] = b.maskBelow(left, lanes);
    }
  b.loop(b.constant(shape.rows), 1, {}, [&](Value row, ValueRange) {
    for (int64_t vector = 0; vector < shape.vectors; ++vector) {
      Values arguments;
      for (Value buffer : buffers)
        arguments.push_back(b.narrow(
            problem.y, b.load(b.vector(lanes, b.getF32Type()),
                              b.advance(buffer, b.mul(row, rowLength * 4)),
                              vector * lanes * 4)));
      for (auto [operand, address] : llvm::zip(epilogue.operands, operands))
        arguments.push_back(
            loadOperand(operand, address, row, vector, masks[vector]));
      Value result = applyToVectors(b, **epilogue.body, arguments, lanes);
      Value to = b.advance(b.advance(y, b.mul(row, n * yBytes)),
                           vector * lanes * yBytes);
      if (masks[vector])
        b.storeMasked(result, to, masks[vector]);
      else
        b.store(result, to);
    }
    return Values();
  });
  func::ReturnOp::create(b);
}

func::FuncOp cpu::emitFinishedTile(ModuleOp module,
                                   const LinearProblem &problem,
                                   const Epilogue &epilogue,
                                   const TileShape &shape) {
  unsigned pointers = 2 + epilogue.operands.size(); // x and y
  std::string name = ("lowbit_finish_" + isaName(problem.target.isa) + "_" +
                      computeName(problem.products.compute) + "_" +
                      Twine(segmentLength(problem, problem.weights[0].scheme)))
                         .str();
  for (unsigned index : epilogue.weights) {
    const LinearWeight &weight = problem.weights[index];
    name += schemeName(weight.scheme) + "_";
    pointers += weight.scheme.zero == ZeroKind::Symmetric ? 2 : 3;
  }
  const LinearWeight &first = problem.weights[epilogue.weights[0]];
  name += (Twine(shape.rows) + "x" + Twine(shape.vectors) + "_" +
           Twine(first.n) + "_" + Twine(problem.k) +
           (shape.prefetches ? "p" : "") + (shape.matrix ? "a" : "") +
           (shape.masked ? "_m_" : "_") + epilogueName(epilogue))
              .str();
  if (auto found = module.lookupSymbol<func::FuncOp>(name))
    return found;
  func::FuncOp function = startFunction(module, name, pointers, shape.masked);
  KernelBuilder b(function.getLoc(), function.getContext());
  b.setInsertionPointToEnd(&function.getBody().front());
  FinishedTile(b, module, function, problem, epilogue, shape).emit();
  return function;
}
