//===- KernelBuilder.cpp - Shorthand for the IR of CPU kernels ------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

Type KernelBuilder::pointerType() {
  return LLVM::LLVMPointerType::get(getContext());
}

Type KernelBuilder::floatType(FloatKind kind) {
  switch (kind) {
  case FloatKind::F16:
    return getF16Type();
  case FloatKind::BF16:
    return getBF16Type();
  case FloatKind::F32:
    return getF32Type();
  }
  llvm_unreachable("all kinds handled");
}

Value KernelBuilder::constant(int64_t value) {
  return arith::ConstantIntOp::create(*this, value, 64);
}
Value KernelBuilder::word(int64_t value) {
  return arith::ConstantIntOp::create(*this, value, 32);
}
Value KernelBuilder::number(double value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value KernelBuilder::splatInt(VectorType type, int64_t value) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(
                 type, getIntegerAttr(type.getElementType(), value)));
}
Value KernelBuilder::splatFloat(VectorType type, double value) {
  return arith::ConstantOp::create(
      *this,
      DenseElementsAttr::get(type, getFloatAttr(type.getElementType(), value)));
}
Value KernelBuilder::vectorOf(VectorType type, ArrayRef<int64_t> values) {
  SmallVector<Attribute> attrs;
  for (int64_t value : values)
    attrs.push_back(getIntegerAttr(type.getElementType(), value));
  return arith::ConstantOp::create(*this, DenseElementsAttr::get(type, attrs));
}
Value KernelBuilder::vectorOf(VectorType type, ArrayRef<float> values) {
  SmallVector<Attribute> attrs;
  for (float value : values)
    attrs.push_back(getFloatAttr(type.getElementType(), value));
  return arith::ConstantOp::create(*this, DenseElementsAttr::get(type, attrs));
}

Value KernelBuilder::splat(Value scalar, int64_t lanes) {
  VectorType type = vector(lanes, scalar.getType());
  Value one = LLVM::InsertElementOp::create(
      *this, LLVM::PoisonOp::create(*this, type), scalar, word(0));
  SmallVector<int32_t> zeros(lanes, 0);
  return LLVM::ShuffleVectorOp::create(*this, one, one, zeros);
}

Value KernelBuilder::add(Value a, Value b) {
  return arith::AddIOp::create(*this, a, b);
}
Value KernelBuilder::mul(Value a, Value b) {
  return arith::MulIOp::create(*this, a, b);
}
Value KernelBuilder::sub(Value a, Value b) {
  return arith::SubIOp::create(*this, a, b);
}
static Value constantLike(KernelBuilder &b, Value value, int64_t number) {
  if (auto type = dyn_cast<VectorType>(value.getType()))
    return b.splatInt(type, number);
  return arith::ConstantIntOp::create(b, value.getType(), number);
}
Value KernelBuilder::mul(Value a, int64_t b) {
  return b == 1 ? a : mul(a, constantLike(*this, a, b));
}
Value KernelBuilder::div(Value a, Value b) {
  return arith::DivUIOp::create(*this, a, b);
}
Value KernelBuilder::div(Value a, int64_t b) {
  return b == 1 ? a
                : arith::DivUIOp::create(*this, a, constantLike(*this, a, b));
}
Value KernelBuilder::min(Value a, Value b) {
  return arith::MinSIOp::create(*this, a, b);
}
Value KernelBuilder::max(Value a, Value b) {
  return arith::MaxSIOp::create(*this, a, b);
}
Value KernelBuilder::shiftRight(Value a, int64_t bits) {
  return bits == 0
             ? a
             : arith::ShRUIOp::create(*this, a, constantLike(*this, a, bits));
}
Value KernelBuilder::shiftLeft(Value a, int64_t bits) {
  return bits == 0
             ? a
             : arith::ShLIOp::create(*this, a, constantLike(*this, a, bits));
}
Value KernelBuilder::bitAnd(Value a, int64_t mask) {
  return arith::AndIOp::create(*this, a, constantLike(*this, a, mask));
}
Value KernelBuilder::bitOr(Value a, Value b) {
  return arith::OrIOp::create(*this, a, b);
}
Value KernelBuilder::addFloat(Value a, Value b) {
  return arith::AddFOp::create(*this, a, b);
}
Value KernelBuilder::subFloat(Value a, Value b) {
  return arith::SubFOp::create(*this, a, b);
}
Value KernelBuilder::mulFloat(Value a, Value b) {
  return arith::MulFOp::create(*this, a, b);
}
Value KernelBuilder::multiplyAdd(Value a, Value b, Value c) {
  return LLVM::FMulAddOp::create(*this, a, b, c);
}
Value KernelBuilder::toFloat(Value integers) {
  Type type = getF32Type();
  if (auto vectorType = dyn_cast<VectorType>(integers.getType()))
    type = vectorType.clone(type);
  return arith::SIToFPOp::create(*this, type, integers);
}
Value KernelBuilder::bitcast(Type type, Value value) {
  return value.getType() == type
             ? value
             : LLVM::BitcastOp::create(*this, type, value).getResult();
}

Value KernelBuilder::pointerTo(Value buffer) {
  Value index = memref::ExtractAlignedPointerAsIndexOp::create(*this, buffer);
  Value number = arith::IndexCastOp::create(*this, getI64Type(), index);
  return LLVM::IntToPtrOp::create(*this, pointerType(), number);
}
Value KernelBuilder::sizeOf(Value buffer, int64_t dimension) {
  int64_t size = cast<MemRefType>(buffer.getType()).getDimSize(dimension);
  if (!ShapedType::isDynamic(size))
    return constant(size);
  Value index = memref::DimOp::create(*this, buffer, dimension);
  return arith::IndexCastOp::create(*this, getI64Type(), index);
}
Value KernelBuilder::advance(Value address, Value bytes) {
  return LLVM::GEPOp::create(*this, pointerType(), getI8Type(), address, bytes);
}
Value KernelBuilder::advance(Value address, int64_t bytes) {
  if (bytes == 0)
    return address;
  return LLVM::GEPOp::create(*this, pointerType(), getI8Type(), address,
                             ArrayRef<LLVM::GEPArg>{int32_t(bytes)});
}

static unsigned alignmentOf(Type type) {
  return llvm::divideCeil(getElementTypeOrSelf(type).getIntOrFloatBitWidth(),
                          8);
}
Value KernelBuilder::load(Type type, Value address, int64_t bytes) {
  return LLVM::LoadOp::create(*this, type, advance(address, bytes),
                              alignmentOf(type));
}
void KernelBuilder::store(Value value, Value address, int64_t bytes) {
  LLVM::StoreOp::create(*this, value, advance(address, bytes),
                        alignmentOf(value.getType()));
}
Value KernelBuilder::loadMasked(VectorType type, Value address, Value mask) {
  Value zero = arith::ConstantOp::create(*this, getZeroAttr(type));
  return LLVM::MaskedLoadOp::create(*this, type, address, mask, zero,
                                    getI32IntegerAttr(alignmentOf(type)));
}
void KernelBuilder::storeMasked(Value value, Value address, Value mask) {
  LLVM::MaskedStoreOp::create(*this, value, address, mask,
                              alignmentOf(value.getType()));
}
Value KernelBuilder::maskBelow(Value count, int64_t lanes) {
  VectorType type = vector(lanes, getI32Type());
  auto numbers = llvm::to_vector(llvm::seq<int64_t>(0, lanes));
  Value limit =
      arith::TruncIOp::create(*this, getI32Type(), min(count, constant(lanes)));
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt,
                               vectorOf(type, ArrayRef<int64_t>(numbers)),
                               splat(limit, lanes));
}
void KernelBuilder::prefetch(Value address, int64_t bytes) {
  // A read, into the second cache: the first has fewer misses to spare, and
  // the loads need them.
  LLVM::Prefetch::create(*this, advance(address, bytes), 0, 2, 1);
}

void KernelBuilder::prefetchSoon(Value address, int64_t bytes) {
  LLVM::Prefetch::create(*this, advance(address, bytes), 0, 3, 1);
}

Value KernelBuilder::widen(Value value) {
  Type element = getElementTypeOrSelf(value);
  if (element.isF32())
    return value;
  auto as = [&](Type type) -> Type {
    if (auto vectorType = dyn_cast<VectorType>(value.getType()))
      return vectorType.clone(type);
    return type;
  };
  if (element.isF16())
    return arith::ExtFOp::create(*this, as(getF32Type()), value);
  // The upper half of an f32.
  Value bits = bitcast(as(getI16Type()), value);
  Value wide = arith::ExtUIOp::create(*this, as(getI32Type()), bits);
  return bitcast(as(getF32Type()), shiftLeft(wide, 16));
}
Value KernelBuilder::narrow(FloatKind kind, Value value) {
  if (kind == FloatKind::F32)
    return value;
  Type type = floatType(kind);
  if (auto vectorType = dyn_cast<VectorType>(value.getType()))
    type = vectorType.clone(type);
  return LLVM::FPTruncOp::create(*this, type, value);
}
Value KernelBuilder::loadFloats(FloatKind kind, int64_t lanes, Value address,
                                int64_t bytes) {
  return widen(load(vector(lanes, floatType(kind)), address, bytes));
}
Value KernelBuilder::loadScales(ScaleKind kind, int64_t lanes, Value address) {
  switch (kind) {
  case ScaleKind::F16:
    return loadFloats(FloatKind::F16, lanes, address);
  case ScaleKind::BF16:
    return loadFloats(FloatKind::BF16, lanes, address);
  default:
    return loadFloats(FloatKind::F32, lanes, address);
  }
}

Value KernelBuilder::intrinsic(StringRef name, Type type,
                               ValueRange arguments) {
  return LLVM::CallIntrinsicOp::create(*this, type, getStringAttr(name),
                                       arguments)
      .getResult(0);
}

void KernelBuilder::intrinsic(StringRef name, ValueRange arguments) {
  LLVM::CallIntrinsicOp::create(*this, getStringAttr(name), arguments);
}

Value KernelBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::slt, a, b);
}

Value KernelBuilder::below(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::ult, a, b);
}

Values KernelBuilder::loop(Value end, int64_t step, ValueRange initial,
                           function_ref<Values(Value, ValueRange)> body) {
  auto loop =
      scf::ForOp::create(*this, constant(0), end, constant(step), initial);
  InsertionGuard guard(*this);
  if (initial.empty()) {
    setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar(), {});
  } else {
    setInsertionPointToStart(loop.getBody());
    Values results = body(loop.getInductionVar(), loop.getRegionIterArgs());
    scf::YieldOp::create(*this, results);
  }
  return loop.getResults();
}

void KernelBuilder::parallel(Value end, function_ref<void(Value)> body) {
  auto index = [&](Value value) -> Value {
    return arith::IndexCastOp::create(*this, getIndexType(), value);
  };
  auto loop = scf::ParallelOp::create(*this, ValueRange{index(constant(0))},
                                      ValueRange{index(end)},
                                      ValueRange{index(constant(1))});
  InsertionGuard guard(*this);
  setInsertionPoint(loop.getBody()->getTerminator());
  body(arith::IndexCastOp::create(*this, getI64Type(),
                                  loop.getInductionVars()[0]));
}

void KernelBuilder::when(Value condition, function_ref<void()> body) {
  auto ifOp = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  InsertionGuard guard(*this);
  setInsertionPoint(ifOp.thenBlock()->getTerminator());
  body();
}
