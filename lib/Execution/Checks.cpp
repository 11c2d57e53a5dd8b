//===- Checks.cpp - What a graph asserts about its inputs -----------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// An assertion must not abort the process, and nothing may be read or written
// outside a tensor. Both report to the run that is under way; the run then
// fails once the graph is through.
//
//===----------------------------------------------------------------------===//

#include "Stages.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

/// True if `index` is made of loop positions, constants and what is bounded by
/// them alone, so that whoever wrote the op knew its range.
static bool isStructural(Value index) {
  Operation *op = index.getDefiningOp();
  if (!op)
    return false;
  if (isa<linalg::IndexOp>(op) || op->hasTrait<OpTrait::ConstantLike>())
    return true;
  if (isa<arith::MinUIOp>(op))
    return llvm::any_of(op->getOperands(), isStructural);
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

/// Keeps the indices of `op` that depend on data inside `tensor`; `verb` says
/// what is done there.
template <typename Op>
static void checkIndices(Checks &checks, Op op, Value tensor, StringRef verb) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  for (auto [dim, index] : llvm::enumerate(op.getIndices())) {
    if (isStructural(index))
      continue;
    Value size = tensor::DimOp::create(builder, loc, tensor, dim);
    Value inside = arith::CmpIOp::create(
        builder, loc, arith::CmpIPredicate::ult, index, size);
    checks.require(builder, loc, inside,
                   ("index out of range in dimension " + Twine(dim) +
                    " of a tensor that is " + verb)
                       .str());
    Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
    Value safe = arith::SelectOp::create(builder, loc, inside, index, zero);
    op.getIndicesMutable()[dim].set(safe);
  }
}

/// Keeps the slices of `op` whose place depends on data inside a tensor that is
/// `tensor` in size.
static void checkSlice(Checks &checks, OffsetSizeAndStrideOpInterface op,
                       Value tensor) {
  OpBuilder builder(op);
  Location loc = op.getLoc();
  auto constant = [&](int64_t value) -> Value {
    return arith::ConstantIndexOp::create(builder, loc, value);
  };
  SmallVector<OpFoldResult> offsets = op.getMixedOffsets();
  unsigned operand = op.getOffsetSizeAndStrideStartOperandIndex();
  for (auto [dim, mixed] : llvm::enumerate(offsets)) {
    auto offset = dyn_cast<Value>(mixed);
    if (!offset)
      continue;
    OpOperand &use = op->getOpOperand(operand++);
    if (isStructural(offset))
      continue;
    // offset + (size - 1) * stride < size of the tensor, and no wrapping
    Value length =
        getValueOrCreateConstantIndexOp(builder, loc, op.getMixedSizes()[dim]);
    Value stride = getValueOrCreateConstantIndexOp(builder, loc,
                                                   op.getMixedStrides()[dim]);
    Value whole = tensor::DimOp::create(builder, loc, tensor, dim);
    Value steps = arith::SubIOp::create(builder, loc, length, constant(1));
    Value reach = arith::MulIOp::create(builder, loc, steps, stride);
    Value room = arith::SubIOp::create(builder, loc, whole, reach);
    Value inside = arith::AndIOp::create(
        builder, loc,
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::sge, offset,
                              constant(0)),
        arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::slt, offset,
                              room));
    checks.require(builder, loc, inside,
                   "slice out of range in dimension " + std::to_string(dim) +
                       " of a tensor");
    use.set(arith::SelectOp::create(builder, loc, inside, offset, constant(0)));
  }
}

LogicalResult execution::lowerChecks(Compilation &compilation) {
  Checks checks(compilation);
  SmallVector<cf::AssertOp> asserts;
  SmallVector<tensor::ExtractOp> reads;
  SmallVector<tensor::InsertOp> writes;
  SmallVector<tensor::InsertSliceOp> updates;
  SmallVector<tensor::ExtractSliceOp> slices;
  compilation.entry.walk([&](Operation *op) {
    if (auto assertion = dyn_cast<cf::AssertOp>(op))
      asserts.push_back(assertion);
    else if (auto read = dyn_cast<tensor::ExtractOp>(op))
      reads.push_back(read);
    else if (auto write = dyn_cast<tensor::InsertOp>(op))
      writes.push_back(write);
    else if (auto update = dyn_cast<tensor::InsertSliceOp>(op))
      updates.push_back(update);
    else if (auto slice = dyn_cast<tensor::ExtractSliceOp>(op))
      slices.push_back(slice);
  });
  for (tensor::InsertSliceOp update : updates)
    checkSlice(checks, update, update.getDest());
  for (tensor::ExtractSliceOp slice : slices)
    checkSlice(checks, slice, slice.getSource());
  for (tensor::ExtractOp read : reads)
    checkIndices(checks, read, read.getTensor(), "gathered from");
  for (tensor::InsertOp write : writes)
    checkIndices(checks, write, write.getDest(), "written to");
  for (cf::AssertOp assertion : asserts) {
    OpBuilder builder(assertion);
    checks.require(builder, assertion.getLoc(), assertion.getArg(),
                   assertion.getMsg().str());
    assertion.erase();
  }
  return success();
}
