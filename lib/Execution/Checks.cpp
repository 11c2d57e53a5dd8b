//===- Checks.cpp - What a graph asserts about its inputs -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An assertion must not abort the process, and a gather must not read outside
// its table. Both report to the run that is under way; the run then fails once
// the graph is through.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// True if `index` is made of loop positions and constants alone, so that
/// whoever wrote the op knew its range.
static bool isStructural(Value index) {
  Operation *op = index.getDefiningOp();
  if (!op)
    return false;
  if (isa<linalg::IndexOp>(op) || op->hasTrait<OpTrait::ConstantLike>())
    return true;
  return isa<arith::ArithDialect>(op->getDialect()) &&
         llvm::all_of(op->getOperands(), isStructural);
}

namespace {
class Checks {
public:
  explicit Checks(Compilation &compilation) : compilation(compilation) {}

  /// At run time: if `holds` is false the run fails with `message`.
  void require(OpBuilder &builder, Location loc, Value holds,
               std::string message) {
    int64_t id = compilation.checks.size();
    compilation.checks.push_back({std::move(message), loc});
    Value yes = arith::ConstantIntOp::create(builder, loc, 1, 1);
    Value fails = arith::XOrIOp::create(builder, loc, holds, yes);
    auto branch = scf::IfOp::create(builder, loc, fails,
                                    /*withElseRegion=*/false);
    OpBuilder inside = branch.getThenBodyBuilder();
    Value idValue = arith::ConstantIntOp::create(inside, loc, id, 64);
    func::CallOp::create(inside, loc, reporter(), idValue);
  }

private:
  func::FuncOp reporter() {
    if (!function) {
      OpBuilder builder(compilation.module.getBodyRegion());
      function = func::FuncOp::create(
          builder, compilation.module.getLoc(), "quantoptReportCheck",
          builder.getFunctionType(builder.getI64Type(), {}));
      function.setPrivate();
    }
    return function;
  }

  Compilation &compilation;
  func::FuncOp function;
};
} // namespace

LogicalResult execution::lowerChecks(Compilation &compilation) {
  Checks checks(compilation);
  SmallVector<cf::AssertOp> asserts;
  SmallVector<tensor::ExtractOp> reads;
  compilation.entry.walk([&](Operation *op) {
    if (auto assertion = dyn_cast<cf::AssertOp>(op))
      asserts.push_back(assertion);
    else if (auto read = dyn_cast<tensor::ExtractOp>(op))
      reads.push_back(read);
  });
  for (tensor::ExtractOp read : reads) {
    OpBuilder builder(read);
    Location loc = read.getLoc();
    for (auto [dim, index] : llvm::enumerate(read.getIndices())) {
      if (isStructural(index))
        continue;
      Value size = tensor::DimOp::create(builder, loc, read.getTensor(), dim);
      Value inside = arith::CmpIOp::create(
          builder, loc, arith::CmpIPredicate::ult, index, size);
      checks.require(builder, loc, inside,
                     "index out of range in dimension " + std::to_string(dim) +
                         " of a tensor that is gathered from");
      Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
      Value safe = arith::SelectOp::create(builder, loc, inside, index, zero);
      read.getIndicesMutable()[dim].set(safe);
    }
  }
  for (cf::AssertOp assertion : asserts) {
    OpBuilder builder(assertion);
    checks.require(builder, assertion.getLoc(), assertion.getArg(),
                   assertion.getMsg().str());
    assertion.erase();
  }
  return success();
}
