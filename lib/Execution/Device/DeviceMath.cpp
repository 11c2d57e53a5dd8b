//===- DeviceMath.cpp - Elementary functions on a GPU ---------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A GPU has no library of functions, only fast and coarse approximations. What
// models use in every layer (exp, tanh, erf) becomes the polynomials in f32
// that the host has too. The rest is rare: it is computed in f64 from
// exponential, logarithm, sine and arc tangent by reduction of the range and
// power series, so that the result in f32 is right to the last place or two.
//
//===----------------------------------------------------------------------===//

#include "DeviceStages.h"
#include "WideMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/TypeSwitch.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

static bool isNative(Operation *op) {
  return isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::FloorOp,
             math::TruncOp, math::RoundOp, math::RoundEvenOp, math::FmaOp,
             math::CopySignOp, math::SqrtOp, math::CountLeadingZerosOp,
             math::CountTrailingZerosOp, math::CtPopOp, math::IsNaNOp,
             math::IsInfOp, math::IsFiniteOp, math::IsNormalOp>(op);
}

/// Whether upstream's polynomial in f32 serves, and is worth it.
static bool isFrequent(StringRef name) {
  return llvm::is_contained({"math.exp", "math.tanh", "math.erf", "math.erfc"},
                            name);
}

static bool isSmallFloat(Type type) {
  return isa<FloatType>(type) && type.getIntOrFloatBitWidth() < 32;
}

namespace {

/// op(f16 or bf16) -> truncf(op(extf))
struct WidenSmallFloats : RewritePattern {
  explicit WidenSmallFloats(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), 2, context) {}
  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    bool isFunction = isa<math::MathDialect>(op->getDialect()) ||
                      isa<arith::MaxNumFOp, arith::MinNumFOp, arith::MaximumFOp,
                          arith::MinimumFOp>(op);
    if (!isFunction || op->getNumResults() != 1 ||
        !llvm::any_of(op->getOperandTypes(), isSmallFloat))
      return rewriter.notifyMatchFailure(op, "no small floats");
    Location loc = op->getLoc();
    Type f32 = rewriter.getF32Type();
    OperationState wide(loc, op->getName());
    wide.addAttributes(op->getAttrs());
    for (Value operand : op->getOperands())
      wide.operands.push_back(
          isSmallFloat(operand.getType())
              ? arith::ExtFOp::create(rewriter, loc, f32, operand).getResult()
              : operand);
    Type type = op->getResult(0).getType();
    wide.addTypes(isSmallFloat(type) ? f32 : type);
    Value result = rewriter.create(wide)->getResult(0);
    if (result.getType() != type)
      result = arith::TruncFOp::create(rewriter, loc, type, result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// A rare function of f32, or any of f64 -> the same in f64
struct ComputeInF64 : RewritePattern {
  explicit ComputeInF64(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}
  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    if (!hasWideForm(op))
      return rewriter.notifyMatchFailure(op, "not such a function");
    Type type = op->getResult(0).getType();
    if (!type.isF64() && !type.isF32())
      return rewriter.notifyMatchFailure(op, "not of f32 or f64");
    if (type.isF32() && isFrequent(op->getName().getStringRef()))
      return rewriter.notifyMatchFailure(op, "has a polynomial in f32");
    Location loc = op->getLoc();
    Type f64 = rewriter.getF64Type();
    SmallVector<Value> operands;
    for (Value operand : op->getOperands()) {
      Type from = operand.getType();
      if (from.isF32())
        operand = arith::ExtFOp::create(rewriter, loc, f64, operand);
      else if (from.isInteger())
        operand = arith::SIToFPOp::create(rewriter, loc, f64, operand);
      operands.push_back(operand);
    }
    Value result = buildWide(rewriter, op, operands);
    if (!type.isF64())
      result = arith::TruncFOp::create(rewriter, loc, type, result);
    rewriter.replaceOp(op, result);
    return success();
  }
};

/// What the hardware has -> an intrinsic of LLVM. Conversions to NVVM would
/// call a library for some of them.
struct CallIntrinsic : RewritePattern {
  explicit CallIntrinsic(MLIRContext *context)
      : RewritePattern(MatchAnyOpTypeTag(), 1, context) {}
  LogicalResult matchAndRewrite(Operation *op,
                                PatternRewriter &rewriter) const override {
    StringRef name =
        llvm::TypeSwitch<Operation *, StringRef>(op)
            .Case([](math::AbsFOp) { return "llvm.fabs"; })
            .Case([](math::CeilOp) { return "llvm.ceil"; })
            .Case([](math::FloorOp) { return "llvm.floor"; })
            .Case([](math::TruncOp) { return "llvm.trunc"; })
            .Case([](math::RoundOp) { return "llvm.round"; })
            .Case([](math::RoundEvenOp) { return "llvm.roundeven"; })
            .Case([](math::FmaOp) { return "llvm.fma"; })
            .Case([](math::CopySignOp) { return "llvm.copysign"; })
            .Case([](math::SqrtOp) { return "llvm.sqrt"; })
            .Case([](arith::MaxNumFOp) { return "llvm.maxnum"; })
            .Case([](arith::MinNumFOp) { return "llvm.minnum"; })
            .Case([](arith::MaximumFOp) { return "llvm.maximum"; })
            .Case([](arith::MinimumFOp) { return "llvm.minimum"; })
            .Default(StringRef());
    if (name.empty())
      return rewriter.notifyMatchFailure(op, "has no intrinsic");
    Type type = op->getResult(0).getType();
    if (!type.isF64() && !type.isF32())
      return rewriter.notifyMatchFailure(op, "not of f32 or f64");
    rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
        op, type, rewriter.getStringAttr(name), op->getOperands());
    return success();
  }
};

/// remf(x, y) -> x - y trunc(x / y), exact for quotients below 2^52
struct ExpandRemainder : OpRewritePattern<arith::RemFOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(arith::RemFOp op,
                                PatternRewriter &rewriter) const override {
    auto type = dyn_cast<FloatType>(op.getType());
    if (!type || type.getWidth() >= 64)
      return rewriter.notifyMatchFailure(op, "not of f32 or less");
    Location loc = op.getLoc();
    auto widen = [&](Value value) -> Value {
      return arith::ExtFOp::create(rewriter, loc, rewriter.getF64Type(), value);
    };
    Value rest = buildWideRemainder(rewriter, loc, widen(op.getLhs()),
                                    widen(op.getRhs()));
    rewriter.replaceOpWithNewOp<arith::TruncFOp>(op, type, rest);
    return success();
  }
};

/// rsqrt(x) -> 1 / sqrt(x), each rounded as IEEE says
struct ExpandRsqrt : OpRewritePattern<math::RsqrtOp> {
  using OpRewritePattern::OpRewritePattern;
  LogicalResult matchAndRewrite(math::RsqrtOp op,
                                PatternRewriter &rewriter) const override {
    auto type = dyn_cast<FloatType>(op.getType());
    if (!type || isSmallFloat(type))
      return rewriter.notifyMatchFailure(op, "not of f32 or f64");
    Location loc = op.getLoc();
    Value one = arith::ConstantOp::create(rewriter, loc,
                                          rewriter.getFloatAttr(type, 1));
    Value root = math::SqrtOp::create(rewriter, loc, op.getOperand());
    rewriter.replaceOpWithNewOp<arith::DivFOp>(op, one, root);
    return success();
  }
};

} // namespace

LogicalResult execution::expandDeviceMath(Operation *kernels) {
  RewritePatternSet patterns(kernels->getContext());
  // Powers of a known small integer are products.
  math::populateExpansionPatterns(patterns, {"fpowi"});
  populateMathPolynomialApproximationPatterns(patterns, isFrequent);
  patterns.add<WidenSmallFloats, ComputeInF64, CallIntrinsic, ExpandRemainder,
               ExpandRsqrt>(kernels->getContext());
  if (failed(applyPatternsGreedily(kernels, std::move(patterns))))
    return failure();
  WalkResult rest = kernels->walk([](Operation *op) -> WalkResult {
    bool isFunction = isa_and_nonnull<math::MathDialect>(op->getDialect());
    if (!isa<arith::RemFOp>(op) && (!isFunction || isNative(op)))
      return WalkResult::advance();
    return op->emitError("cannot be run on the GPU: '")
           << op->getName() << "' of " << op->getResult(0).getType()
           << " is not supported";
  });
  return failure(rest.wasInterrupted());
}
