//===- Lanes.cpp - Code on vectors of 16 lanes ----------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Matchers.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::execution;

//===----------------------------------------------------------------------===//
// Indices
//===----------------------------------------------------------------------===//

Value Lanes::index(int64_t value) {
  return arith::ConstantIndexOp::create(builder, loc, value);
}

Value Lanes::add(Value x, Value y) {
  return builder.createOrFold<arith::AddIOp>(loc, x, y);
}

Value Lanes::sub(Value x, Value y) {
  return builder.createOrFold<arith::SubIOp>(loc, x, y);
}

Value Lanes::mul(Value x, int64_t y) {
  return builder.createOrFold<arith::MulIOp>(loc, x, index(y));
}

Value Lanes::div(Value x, int64_t y) {
  return builder.createOrFold<arith::DivUIOp>(loc, x, index(y));
}

Value Lanes::rem(Value x, int64_t y) {
  return builder.createOrFold<arith::RemUIOp>(loc, x, index(y));
}

Value Lanes::minimum(Value x, Value y) {
  return builder.createOrFold<arith::MinUIOp>(loc, x, y);
}

Value Lanes::equal(Value x, Value y) {
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::eq, x, y);
}

Value Lanes::boolean(bool value) {
  return arith::ConstantOp::create(builder, loc, builder.getBoolAttr(value));
}

//===----------------------------------------------------------------------===//
// Control
//===----------------------------------------------------------------------===//

void Lanes::loop(Value begin, Value end, llvm::function_ref<void(Value)> body,
                 int64_t step) {
  auto loop = scf::ForOp::create(builder, loc, begin, end, index(step));
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(loop.getBody()->getTerminator());
  body(loop.getInductionVar());
}

SmallVector<Value>
Lanes::loop(Value begin, Value end, ValueRange start,
            llvm::function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(builder, loc, begin, end, index(1), start);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(loop.getBody());
  SmallVector<Value> next =
      body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(builder, loc, next);
  return SmallVector<Value>(loop.getResults());
}

void Lanes::ifTrue(Value condition, llvm::function_ref<void()> body) {
  auto branch = scf::IfOp::create(builder, loc, condition,
                                  /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(branch.thenBlock());
  body();
}

void Lanes::distribute(int64_t steps, bool parallel,
                       llvm::function_ref<void(Value)> body) {
  Value begin = index(0), end = index(steps);
  if (!parallel || steps == 1)
    return loop(begin, end, body);
  auto shared = scf::ParallelOp::create(builder, loc, ValueRange{begin},
                                        ValueRange{end}, ValueRange{index(1)});
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(shared.getBody()->getTerminator());
  body(shared.getInductionVars()[0]);
}

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

Value Lanes::flatten(Value buffer) {
  auto type = cast<MemRefType>(buffer.getType());
  int64_t size = type.getNumElements();
  auto flat = MemRefType::get({size}, type.getElementType());
  return memref::ReinterpretCastOp::create(
      builder, loc, flat, buffer, /*offset=*/0, ArrayRef<int64_t>{size},
      ArrayRef<int64_t>{1});
}

Value Lanes::stack(int64_t size, Type element) {
  return memref::AllocaOp::create(builder, loc,
                                  MemRefType::get({size}, element),
                                  builder.getI64IntegerAttr(64));
}

Value Lanes::heap(int64_t size, Type element) {
  return memref::AllocOp::create(builder, loc, MemRefType::get({size}, element),
                                 builder.getI64IntegerAttr(64));
}

Value Lanes::load(Value memory, Value index) {
  return memref::LoadOp::create(builder, loc, memory, ValueRange{index});
}

void Lanes::store(Value value, Value memory, Value index) {
  memref::StoreOp::create(builder, loc, value, memory, ValueRange{index});
}

void Lanes::prefetch(Value memory, Value index) {
  memref::PrefetchOp::create(builder, loc, memory, ValueRange{index},
                             /*isWrite=*/false, /*localityHint=*/2,
                             /*isDataCache=*/true);
}

Value Lanes::mask(int64_t exist) {
  SmallVector<bool> bits;
  for (int64_t lane = 0; lane < count; ++lane)
    bits.push_back(lane < exist);
  return arith::ConstantOp::create(
      builder, loc,
      DenseElementsAttr::get(type(builder.getI1Type()), ArrayRef(bits)));
}

/// Buffers have a byte for each element of one bit, but vectors of them do not.
Value Lanes::loadBits(Value memory, Value index, int64_t exist) {
  Type byte = builder.getI8Type();
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(type(byte)));
  Value bytes = zero;
  if (exist >= count) {
    Value start =
        memref::ExtractAlignedPointerAsIndexOp::create(builder, loc, memory);
    Value word = arith::IndexCastOp::create(builder, loc, builder.getI64Type(),
                                            add(start, index));
    Value pointer = LLVM::IntToPtrOp::create(
        builder, loc, LLVM::LLVMPointerType::get(builder.getContext()), word,
        LLVM::DereferenceableAttr());
    bytes = LLVM::LoadOp::create(builder, loc, type(byte), pointer,
                                 /*alignment=*/1);
  } else {
    for (int64_t lane = 0; lane < exist; ++lane) {
      Value bit = load(memory, add(index, this->index(lane)));
      Value value = arith::ExtUIOp::create(builder, loc, byte, bit);
      bytes = vector::InsertOp::create(builder, loc, value, bytes, lane);
    }
  }
  return arith::CmpIOp::create(builder, loc, arith::CmpIPredicate::ne, bytes,
                               zero);
}

Value Lanes::loadLanes(Value memory, Value index, int64_t exist) {
  Type element = cast<MemRefType>(memory.getType()).getElementType();
  if (element.isInteger(1))
    return loadBits(memory, index, exist);
  VectorType lanes = type(element);
  if (exist >= count)
    return vector::LoadOp::create(builder, loc, lanes, memory,
                                  ValueRange{index});
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getZeroAttr(lanes));
  return vector::MaskedLoadOp::create(builder, loc, lanes, memory,
                                      ValueRange{index}, mask(exist), zero);
}

void Lanes::storeLanes(Value lanes, Value memory, Value index, int64_t exist) {
  if (exist >= count)
    vector::StoreOp::create(builder, loc, lanes, memory, ValueRange{index});
  else
    vector::MaskedStoreOp::create(builder, loc, memory, ValueRange{index},
                                  mask(exist), lanes);
}

//===----------------------------------------------------------------------===//
// Pairs
//===----------------------------------------------------------------------===//

static VectorType pairsType(OpBuilder &builder) {
  return VectorType::get({2 * Lanes::count}, builder.getBF16Type());
}

Value Lanes::loadPairs(Value memory, Value index) {
  return vector::LoadOp::create(builder, loc, pairsType(builder), memory,
                                ValueRange{index});
}

void Lanes::storePairs(Value pairs, Value memory, Value index) {
  vector::StoreOp::create(builder, loc, pairs, memory, ValueRange{index});
}

Value Lanes::splatPair(Value memory, Value index) {
  Type word = builder.getI32Type();
  Value pair = vector::LoadOp::create(
      builder, loc, VectorType::get({2}, builder.getBF16Type()), memory,
      ValueRange{index});
  Value bits =
      vector::BitCastOp::create(builder, loc, VectorType::get({1}, word), pair);
  Value all = splat(vector::ExtractOp::create(builder, loc, bits, 0));
  return vector::BitCastOp::create(builder, loc, pairsType(builder), all);
}

Value Lanes::makePairs(Value first, Value second) {
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < count; ++i)
    order.append({i, count + i});
  return vector::ShuffleOp::create(builder, loc, first, second, order);
}

/// A call of one of LLVM's intrinsics, as a function of that name: what frees
/// buffers wants to know about every op, and of calls it knows enough.
static Value callIntrinsic(OpBuilder &builder, Location loc, StringRef name,
                           Type result, ValueRange arguments) {
  Operation *parent = builder.getInsertionBlock()->getParentOp();
  auto module = parent->getParentOfType<ModuleOp>();
  auto callee = module.lookupSymbol<func::FuncOp>(name);
  if (!callee) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(module.getBody());
    callee = func::FuncOp::create(
        builder, loc, name,
        builder.getFunctionType(arguments.getTypes(), result));
    callee.setPrivate();
  }
  return func::CallOp::create(builder, loc, callee, arguments).getResult(0);
}

Value Lanes::toBF16(Value lanes) {
  return callIntrinsic(builder, loc, "llvm.x86.avx512bf16.cvtneps2bf16.512",
                       type(builder.getBF16Type()), lanes);
}

Value Lanes::addDotOfPairs(Value x, Value y, Value sum) {
  return callIntrinsic(builder, loc, "llvm.x86.avx512bf16.dpbf16ps.512",
                       sum.getType(), {sum, x, y});
}

//===----------------------------------------------------------------------===//
// Lanes
//===----------------------------------------------------------------------===//

Value Lanes::scalar(float value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}

Value Lanes::splat(Value scalar) {
  return vector::BroadcastOp::create(builder, loc, type(scalar.getType()),
                                     scalar);
}

Value Lanes::countFrom(Value index) {
  Value steps =
      vector::StepOp::create(builder, loc, type(builder.getIndexType()));
  return arith::AddIOp::create(builder, loc, splat(index), steps);
}

/// `element`, in the shape of `like`.
static Type sameShape(Type like, Type element) {
  auto vector = dyn_cast<VectorType>(like);
  return vector ? Type(vector.clone(element)) : element;
}

Value Lanes::toF32(Value value) {
  if (getElementTypeOrSelf(value.getType()).isF32())
    return value;
  return arith::ExtFOp::create(
      builder, loc, sameShape(value.getType(), builder.getF32Type()), value);
}

Value Lanes::fromF32(Value value, Type element) {
  if (element.isF32())
    return value;
  return arith::TruncFOp::create(builder, loc,
                                 sameShape(value.getType(), element), value);
}

Value Lanes::fma(Value x, Value y, Value z) {
  return vector::FMAOp::create(builder, loc, x, y, z);
}

Value Lanes::minus(Value x, Value y) {
  return arith::SubFOp::create(builder, loc, x, y);
}

Value Lanes::exp(Value x) { return math::ExpOp::create(builder, loc, x); }

Value Lanes::maximum(Value x, Value y) {
  return arith::MaximumFOp::create(builder, loc, x, y);
}

Value Lanes::keepLanes(Value lanes, int64_t exist, Value other) {
  if (exist >= count)
    return lanes;
  return arith::SelectOp::create(builder, loc, mask(exist), lanes, other);
}

Value Lanes::shuffle(Value x, Value y,
                     llvm::function_ref<int64_t(int64_t)> lane) {
  SmallVector<int64_t> order;
  for (int64_t i = 0; i < count; ++i)
    order.push_back(lane(i));
  return vector::ShuffleOp::create(builder, loc, x, y, order);
}

Value Lanes::reduce(Value lanes,
                    llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t distance = count / 2; distance > 0; distance /= 2)
    lanes = combine(lanes, shuffle(lanes, lanes, [&](int64_t lane) {
                      return lane ^ distance;
                    }));
  return lanes;
}

Value Lanes::sumEach(SmallVector<Value> vectors) {
  // A step halves the number of vectors: it adds neighbouring lanes of two and
  // interleaves the sums.
  int64_t number = vectors.size();
  for (int64_t step = 1; step < number; step *= 2) {
    for (int64_t i = 0; i < number; i += 2 * step) {
      Value x = vectors[i], y = vectors[i + step];
      Value low = shuffle(x, y, [&](int64_t lane) {
        return lane & step ? count + lane - step : lane;
      });
      Value high = shuffle(x, y, [&](int64_t lane) {
        return lane & step ? count + lane : lane + step;
      });
      vectors[i] = arith::AddFOp::create(builder, loc, low, high);
    }
  }
  // Each has 16 / number sums now.
  for (int64_t step = number; step < count; step *= 2)
    vectors[0] = arith::AddFOp::create(
        builder, loc, vectors[0],
        shuffle(vectors[0], vectors[0],
                [&](int64_t lane) { return lane ^ step; }));
  return vectors[0];
}

void Lanes::transpose(MutableArrayRef<Value> vectors) {
  // A step exchanges one bit of the lane for that of the vector.
  for (int64_t step = 1; step < count; step *= 2)
    for (int64_t i = 0; i < count; ++i) {
      if (i & step)
        continue;
      Value x = vectors[i], y = vectors[i + step];
      vectors[i] = shuffle(x, y, [&](int64_t lane) {
        return lane & step ? count + lane - step : lane;
      });
      vectors[i + step] = shuffle(x, y, [&](int64_t lane) {
        return lane & step ? count + lane : lane + step;
      });
    }
}

Value Lanes::anyAbove(Value lanes, double limit) {
  Value isAbove = arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::UGT,
                                        lanes, splat(scalar(float(limit))));
  return vector::ReductionOp::create(builder, loc, vector::CombiningKind::OR,
                                     isAbove);
}

void Lanes::cloneOnLanes(Operation &op, IRMapping &mapping) {
  for (Value operand : op.getOperands()) {
    Attribute value;
    if (mapping.contains(operand))
      continue;
    bool isConstant = matchPattern(operand, m_Constant(&value));
    assert(isConstant && "a captured value");
    (void)isConstant;
    mapping.map(operand,
                arith::ConstantOp::create(
                    builder, loc,
                    DenseElementsAttr::get(type(operand.getType()), value)));
  }
  if (op.hasTrait<OpTrait::ConstantLike>())
    return; // made where it is used
  Operation *copy = builder.clone(op, mapping);
  for (OpResult result : copy->getResults())
    result.setType(type(result.getType()));
}
