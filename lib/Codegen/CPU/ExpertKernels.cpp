//===- ExpertKernels.cpp - The function of the experts of a mixture -------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Rows of x are arranged in the order of their experts, so that those of one
// are neighbours, as tiles want them; the results go to where the rows came
// from. Only experts that got rows are work. Threads share their panels of
// rows of W, the experts of one panel together, so that each thread has as much
// to do whichever experts were chosen.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

namespace {
class ExpertFunction {
public:
  ExpertFunction(ModuleOp module, const LinearProblem &problem,
                 func::FuncOp function)
      : b(function.getLoc(), function.getContext()), module(module),
        problem(problem), weight(problem.weights[0]), function(function),
        lanes(VectorTarget(problem.target).lanes()),
        choice(chooseTiles(problem, ShapedType::kDynamic)) {
    b.setInsertionPointToEnd(&function.getBody().front());
  }

  void emit();

private:
  void takeArguments();
  void sortRows();
  void forRoutedRows(function_ref<void(Value row, Value expert)> body);
  /// A panel for `count` rows of x that are arranged from `begin` on.
  void panel(const WeightPlanes &planes, Value begin, Value count, Value first,
             bool masked);

  Value element(Value array, Value index) {
    return b.advance(array, b.mul(index, 8));
  }
  Value loadElement(Value array, Value index) {
    return b.load(b.getI64Type(), element(array, index));
  }

  KernelBuilder b;
  ModuleOp module;
  const LinearProblem &problem;
  const LinearWeight &weight;
  func::FuncOp function;
  const int64_t lanes;
  const TileChoice choice;

  Value x, workspace, routing, y, rows;
  WeightPlanes planes; ///< of the first expert
  /// Numbers of rows of x, in the order of their experts.
  Value order;
  /// Experts that got rows, and where the rows of each begin; in front of the
  /// end of the last.
  Value chosen, begins, numChosen;
};
} // namespace

void ExpertFunction::takeArguments() {
  auto next = function.args_begin();
  rows = b.sizeOf(*next, 0);
  x = b.pointerTo(*next++);
  workspace = b.pointerTo(*next++);
  routing = b.pointerTo(*next++);
  planes = WeightPlanes::take(b, weight, next);
  y = b.pointerTo(*next++);
  order = b.advance(workspace, b.mul(rows, inputRowBytes(problem)));
}

/// Rows that go to one of these experts, which is counted from the first.
void ExpertFunction::forRoutedRows(
    function_ref<void(Value row, Value expert)> body) {
  b.loop(rows, 1, {}, [&](Value row, ValueRange) {
    Value expert =
        b.sub(loadElement(routing, row), b.constant(problem.experts.first));
    b.when(b.below(expert, b.constant(problem.experts.count)),
           [&] { body(row, expert); });
    return Values();
  });
}

/// Sorting by counting.
void ExpertFunction::sortRows() {
  int64_t count = problem.experts.count;
  auto array = [&](int64_t size) {
    return LLVM::AllocaOp::create(b, b.pointerType(), b.getI64Type(),
                                  b.word(size));
  };
  Value zero = b.constant(0), one = b.constant(1);
  Value places = array(count); // rows of each, then where its next row goes
  chosen = array(count);
  begins = array(count + 1);
  b.loop(b.constant(count), 1, {}, [&](Value expert, ValueRange) {
    b.store(zero, element(places, expert));
    return Values();
  });
  forRoutedRows([&](Value, Value expert) {
    b.store(b.add(loadElement(places, expert), one), element(places, expert));
  });
  Values ends = b.loop(b.constant(count), 1, {zero, zero},
                       [&](Value expert, ValueRange carried) {
                         Value begin = carried[0], index = carried[1];
                         Value size = loadElement(places, expert);
                         b.store(begin, element(places, expert));
                         b.store(begin, element(begins, index));
                         b.store(expert, element(chosen, index));
                         Value more = arith::ExtUIOp::create(
                             b, b.getI64Type(), b.less(zero, size));
                         return Values{b.add(begin, size), b.add(index, more)};
                       });
  numChosen = ends[1];
  b.store(ends[0], element(begins, numChosen));
  forRoutedRows([&](Value row, Value expert) {
    Value place = loadElement(places, expert);
    b.store(row, element(order, place));
    b.store(b.add(place, one), element(places, expert));
  });
}

void ExpertFunction::panel(const WeightPlanes &planes, Value begin, Value count,
                           Value first, bool masked) {
  int64_t vectors = masked ? 1 : choice.vectors;
  Value column = b.mul(first, lanes);
  Value all = b.constant(std::numeric_limits<int64_t>::max());
  forTiles(b, choice, count, {b.constant(0), all},
           [&](Value row, const RowTiles &tiles) {
             TileShape shape{tiles.rows, vectors, tiles.split,
                             choice.prefetches, masked};
             shape.scattered = true;
             shape.matrix = tiles.matrix;
             Value place = b.add(begin, row);
             Values arguments = {
                 b.advance(workspace, b.mul(place, inputRowBytes(problem)))};
             planes.appendFrom(b, problem, weight, first, arguments);
             arguments.push_back(
                 b.advance(y, b.mul(column, bitWidth(problem.y) / 8)));
             arguments.push_back(element(order, place));
             if (masked)
               arguments.push_back(b.sub(b.constant(weight.n), column));
             func::CallOp::create(b, emitTile(module, problem, weight, shape),
                                  arguments);
           });
}

void ExpertFunction::emit() {
  takeArguments();
  sortRows();
  arrangeRows(b, module, problem, x, workspace, loadElement(begins, numChosen),
              [&](Value place) { return loadElement(order, place); });
  Panels panels(problem, weight, choice);
  b.parallel(b.mul(numChosen, panels.count()), [&](Value unit) {
    Value index = b.div(unit, numChosen);
    Value which = b.sub(unit, b.mul(index, numChosen));
    Value begin = loadElement(begins, which);
    Value end = loadElement(begins, b.add(which, b.constant(1)));
    WeightPlanes own =
        planes.ofExpert(b, problem, weight, loadElement(chosen, which));
    panels.visit(b, index, [&](Value first, bool masked) {
      panel(own, begin, b.sub(end, begin), first, masked);
    });
  });
  func::ReturnOp::create(b);
}

void cpu::emitExperts(ModuleOp module, const LinearProblem &problem,
                      func::FuncOp function) {
  ExpertFunction(module, problem, function).emit();
}
