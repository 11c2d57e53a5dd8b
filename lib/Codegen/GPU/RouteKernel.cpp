//===- RouteKernel.cpp - Rows of x by expert ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// One launch then multiplies the rows of all experts, each group with its own
// matrix. A sort by counting, in the order of the rows: it does not depend on
// timing. Rows are thousands and experts hundreds, so that one block of
// threads, one thread an expert, is enough.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;
using namespace quantopt::fragment;

static constexpr int64_t kThreads = 256;

int64_t kernels::maxGroups(const LinearProblem &problem, int64_t tokens) {
  // Every expert's last group may be short, and an expert without rows has
  // none.
  int64_t reached = std::min(problem.experts, problem.m);
  return problem.m / tokens + reached;
}

namespace {
class Route {
public:
  Route(KernelBuilder &builder, const LinearProblem &problem, int64_t tokens)
      : b(builder), problem(problem), tokens(tokens),
        groups(maxGroups(problem, tokens)) {}
  void emit();

private:
  /// Calls `body(expert)` for this thread's experts.
  void forExperts(llvm::function_ref<void(Value)> body);
  /// Runs over the rows of `expert`: counts from `begin`, with `body(row,
  /// count)` at each.
  Value forRows(Value expert, Value begin,
                llvm::function_ref<void(Value, Value)> body);
  Value numGroups(Value count) {
    return b.div(b.add(count, tokens - 1), tokens);
  }
  void storeGroup(Value group, Value expert, Value first, Value count);

  KernelBuilder &b;
  const LinearProblem &problem;
  int64_t tokens, groups;
};
} // namespace

void Route::forExperts(llvm::function_ref<void(Value)> body) {
  b.loop(b.thread(), b.constant(problem.experts), kThreads, {},
         [&](Value expert, ValueRange) -> Values {
           body(expert);
           return {};
         });
}

Value Route::forRows(Value expert, Value begin,
                     llvm::function_ref<void(Value, Value)> body) {
  Values number = b.loadWords(b.advance(b.operand(Operand::Experts), expert, 8),
                              2, Value());
  return b.loop(
      b.constant(0), b.constant(problem.m), 1, begin,
      [&](Value row, ValueRange count) -> Values {
        Values routed = b.loadWords(
            b.advance(b.operand(Operand::Routing), row, 8), 2, Value());
        Value isMine =
            b.both(b.same(routed[0], number[0]), b.same(routed[1], number[1]));
        b.when(isMine, [&] { body(row, count[0]); });
        return {b.select(isMine, b.add(count[0], 1), count[0])};
      })[0];
}

void Route::storeGroup(Value group, Value expert, Value first, Value count) {
  Value entry = b.advance(b.operand(Operand::Groups), group, 12);
  int64_t at = 0;
  for (Value word : {expert, first, count}) {
    b.storeWords(b.advance(entry, b.constant(at)), word);
    at += 4;
  }
}

void Route::emit() {
  forExperts([&](Value expert) {
    Value count = forRows(expert, b.constant(0), [](Value, Value) {});
    b.storeShared(b.mul(expert, 4), count);
  });
  b.barrier();
  Value rows = b.advance(b.operand(Operand::Groups), b.constant(12 * groups));
  // Rows and groups of the experts before `end`.
  auto before = [&](Value end) {
    return b.loop(b.constant(0), end, 1, {b.constant(0), b.constant(0)},
                  [&](Value other, ValueRange sums) -> Values {
                    Value count = b.loadShared(b.mul(other, 4), 1)[0];
                    return {b.add(sums[0], count),
                            b.add(sums[1], numGroups(count))};
                  });
  };
  forExperts([&](Value expert) {
    Values place = before(expert);
    forRows(expert, place[0], [&](Value row, Value at) {
      b.storeWords(b.advance(rows, at, 4), row);
    });
    Value count = b.loadShared(b.mul(expert, 4), 1)[0];
    b.loop(b.constant(0), numGroups(count), 1, {},
           [&](Value group, ValueRange) -> Values {
             Value done = b.mul(group, tokens);
             Value rest = b.sub(count, done);
             storeGroup(
                 b.add(place[1], group), expert, b.add(place[0], done),
                 b.select(b.less(rest, tokens), rest, b.constant(tokens)));
             return {};
           });
  });
  Value used = before(b.constant(problem.experts))[1];
  b.loop(b.add(used, b.thread()), b.constant(groups), kThreads, {},
         [&](Value group, ValueRange) -> Values {
           storeGroup(group, b.constant(0), b.constant(0), b.constant(0));
           return {};
         });
}

KernelLaunch kernels::emitRoute(mlir::gpu::GPUModuleOp module,
                                const LinearProblem &problem, int64_t tokens) {
  KernelLaunch launch;
  launch.kernel =
      llvm::formatv("route_{0}_{1}_{2}", problem.m, problem.experts, tokens);
  launch.block.x = kThreads;
  // Whole vectors: LLVM loads neighbours together.
  launch.sharedBytes = ceilDiv(problem.experts, 4) * 16;
  launch.operands = {Operand::Routing, Operand::Experts, Operand::Groups};
  if (module.lookupSymbol(launch.kernel))
    return launch;
  KernelBuilder builder(module, launch.kernel, problem, launch.operands,
                        kThreads, /*blocksPerProcessor=*/1);
  Route(builder, problem, tokens).emit();
  builder.finish();
  return launch;
}
