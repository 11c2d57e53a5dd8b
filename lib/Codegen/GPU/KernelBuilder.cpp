//===- KernelBuilder.cpp - Shorthand for the IR of a kernel ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "KernelBuilder.h"

#include "quantopt/Dialect/LowBit/IR/LowBit.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::kernels;

static constexpr StringLiteral kShared = "lowbit_shared";
static constexpr unsigned kGlobalSpace = 1, kSharedSpace = 3;

/// All dynamic shared memory. External: an internal array without elements
/// would be printed with one byte, before which others could lie.
static void declareShared(mlir::gpu::GPUModuleOp module) {
  if (SymbolTable::lookupSymbolIn(module, kShared))
    return;
  OpBuilder builder = OpBuilder::atBlockBegin(module.getBody());
  auto type = LLVM::LLVMArrayType::get(builder.getI8Type(), 0);
  LLVM::GlobalOp::create(builder, module.getLoc(), type, /*isConstant=*/false,
                         LLVM::Linkage::External, kShared, Attribute(),
                         /*alignment=*/1024, kSharedSpace);
}

KernelBuilder::KernelBuilder(mlir::gpu::GPUModuleOp module, StringRef name,
                             const LinearProblem &problem,
                             ArrayRef<Operand> operands, int64_t threads,
                             int64_t blocksPerProcessor)
    : ImplicitLocOpBuilder(module.getLoc(), module.getContext()),
      operands(operands.begin(), operands.end()) {
  declareShared(module);
  setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types;
  for (Operand operand : operands)
    types.push_back(operandType(getContext(), problem, operand));
  function =
      mlir::gpu::GPUFuncOp::create(*this, name, getFunctionType(types, {}));
  function->setAttr(mlir::gpu::GPUDialect::getKernelFuncAttrName(),
                    getUnitAttr());
  function->setAttr(NVVM::NVVMDialect::getMaxntidAttrName(),
                    getDenseI32ArrayAttr({int32_t(threads), 1, 1}));
  function->setAttr(NVVM::NVVMDialect::getMinctasmAttrName(),
                    getI32IntegerAttr(blocksPerProcessor));
  function.setKnownBlockSizeAttr(
      getDenseI32ArrayAttr({int32_t(threads), 1, 1}));
  setInsertionPointToStart(&function.getBody().front());
  Type pointer = LLVM::LLVMPointerType::get(getContext(), kSharedSpace);
  sharedBase = LLVM::AddressOfOp::create(*this, pointer, kShared);
}

void KernelBuilder::finish() { mlir::gpu::ReturnOp::create(*this); }

bool KernelBuilder::hasOperand(Operand operand) const {
  return llvm::is_contained(operands, operand);
}

Value KernelBuilder::operand(Operand operand) {
  unsigned index = llvm::find(operands, operand) - operands.begin();
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(
      *this, function.getArgument(index));
  return arith::IndexCastOp::create(*this, getI64Type(), address);
}

Value KernelBuilder::constant(int64_t value) {
  return arith::ConstantOp::create(
      *this, getI32IntegerAttr(static_cast<int32_t>(value)));
}
Value KernelBuilder::constant64(int64_t value) {
  return arith::ConstantOp::create(*this, getI64IntegerAttr(value));
}
Value KernelBuilder::floatConstant(double value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}
Value KernelBuilder::add(Value a, Value b) {
  return arith::AddIOp::create(*this, a, b);
}
Value KernelBuilder::sub(Value a, Value b) {
  return arith::SubIOp::create(*this, a, b);
}
Value KernelBuilder::mul(Value a, int64_t b) {
  return b == 1 ? a : arith::MulIOp::create(*this, a, constant(b)).getResult();
}
Value KernelBuilder::div(Value a, int64_t b) {
  return b == 1 ? a : arith::DivUIOp::create(*this, a, constant(b)).getResult();
}
Value KernelBuilder::rem(Value a, int64_t b) {
  return arith::RemUIOp::create(*this, a, constant(b));
}
Value KernelBuilder::bitAnd(Value a, int64_t b) {
  return arith::AndIOp::create(*this, a, constant(b));
}
Value KernelBuilder::bitOr(Value a, Value b) {
  return arith::OrIOp::create(*this, a, b);
}
Value KernelBuilder::bitXor(Value a, Value b) {
  return arith::XOrIOp::create(*this, a, b);
}
Value KernelBuilder::shiftLeft(Value a, int64_t b) {
  return b == 0 ? a : arith::ShLIOp::create(*this, a, constant(b)).getResult();
}
Value KernelBuilder::shiftRight(Value a, int64_t b) {
  return b == 0 ? a : arith::ShRUIOp::create(*this, a, constant(b)).getResult();
}
Value KernelBuilder::less(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::ult, a, b);
}
Value KernelBuilder::same(Value a, Value b) {
  return arith::CmpIOp::create(*this, arith::CmpIPredicate::eq, a, b);
}
Value KernelBuilder::both(Value a, Value b) {
  if (!a || !b)
    return a ? a : b;
  return arith::AndIOp::create(*this, a, b);
}
Value KernelBuilder::select(Value condition, Value a, Value b) {
  return arith::SelectOp::create(*this, condition, a, b);
}
Value KernelBuilder::fma(Value a, Value b, Value c) {
  return LLVM::FMAOp::create(
      *this, a, b, c,
      LLVM::FastmathFlagsAttr::get(getContext(), LLVM::FastmathFlags::none));
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
Value KernelBuilder::asFloat(Value bits) {
  return arith::BitcastOp::create(*this, getF32Type(), bits);
}
Value KernelBuilder::asBits(Value number) {
  return arith::BitcastOp::create(*this, getI32Type(), number);
}

static Value toI32(KernelBuilder &builder, Value index) {
  return arith::IndexCastOp::create(builder, builder.getI32Type(), index);
}
Value KernelBuilder::thread() {
  return toI32(*this,
               mlir::gpu::ThreadIdOp::create(*this, mlir::gpu::Dimension::x));
}
Value KernelBuilder::lane() { return bitAnd(thread(), 31); }
Value KernelBuilder::warp() {
  // Through a shuffle, so that everything computed from it stays out of the
  // vector registers.
  return inlineAsm(getI32Type(),
                   "shfl.sync.idx.b32 $0, $1, 0, 0x1f, 0xffffffff;", "=r,r",
                   shiftRight(thread(), 5), /*sideEffects=*/true)[0];
}
Value KernelBuilder::block() {
  return toI32(*this,
               mlir::gpu::BlockIdOp::create(*this, mlir::gpu::Dimension::x));
}
Value KernelBuilder::blockY() {
  return toI32(*this,
               mlir::gpu::BlockIdOp::create(*this, mlir::gpu::Dimension::y));
}
Value KernelBuilder::numBlocks() {
  return toI32(*this,
               mlir::gpu::GridDimOp::create(*this, mlir::gpu::Dimension::x));
}
void KernelBuilder::barrier() { mlir::gpu::BarrierOp::create(*this); }

Value KernelBuilder::opaque(Value value) {
  return inlineAsm(getI32Type(), "mov.b32 $0, $1;", "=r,r", value, true)[0];
}

Value KernelBuilder::advance(Value address, Value index, int64_t factor) {
  Value wide = arith::ExtUIOp::create(*this, getI64Type(), index);
  if (factor != 1)
    wide = arith::MulIOp::create(*this, wide, constant64(factor));
  return arith::AddIOp::create(*this, address, wide);
}

Values KernelBuilder::loop(Value begin, Value end, int64_t step,
                           ValueRange initial,
                           function_ref<Values(Value, ValueRange)> body) {
  auto op = scf::ForOp::create(*this, begin, end, constant(step), initial);
  InsertionGuard guard(*this);
  if (initial.empty())
    op.getBody()->getTerminator()->erase();
  setInsertionPointToEnd(op.getBody());
  Values next = body(op.getInductionVar(), op.getRegionIterArgs());
  scf::YieldOp::create(*this, next);
  return Values(op.getResults());
}

void KernelBuilder::when(Value condition, function_ref<void()> body) {
  if (!condition)
    return body();
  auto op = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  InsertionGuard guard(*this);
  setInsertionPointToStart(op.thenBlock());
  body();
}

Values KernelBuilder::either(Value condition, function_ref<Values()> ifTrue,
                             function_ref<Values()> ifFalse) {
  auto build = [&](function_ref<Values()> branch) {
    return [this, branch](OpBuilder &at, Location) {
      InsertionGuard guard(*this);
      restoreInsertionPoint(at.saveInsertionPoint());
      Values values = branch();
      scf::YieldOp::create(*this, values);
    };
  };
  auto op = scf::IfOp::create(*this, condition, build(ifTrue), build(ifFalse));
  return Values(op.getResults());
}

Values KernelBuilder::inlineAsm(TypeRange results, const Twine &text,
                                StringRef constraints, ValueRange operands,
                                bool sideEffects) {
  Type type;
  if (results.size() == 1)
    type = results[0];
  else if (results.size() > 1)
    type = LLVM::LLVMStructType::getLiteral(getContext(),
                                            llvm::to_vector(results));
  auto op = LLVM::InlineAsmOp::create(
      *this, type, operands, text.str(), constraints, sideEffects,
      /*is_align_stack=*/false, LLVM::tailcallkind::TailCallKind::None,
      LLVM::AsmDialectAttr::get(getContext(), LLVM::AsmDialect::AD_ATT),
      ArrayAttr());
  if (results.size() <= 1)
    return Values(op->getResults());
  Values values;
  for (size_t i = 0; i < results.size(); ++i)
    values.push_back(
        LLVM::ExtractValueOp::create(*this, op.getRes(), int64_t(i)));
  return values;
}

Values KernelBuilder::load(Value address, unsigned count, Value condition,
                           Caching caching) {
  bool hinted = caching == Caching::EvictFirst;
  if (hinted && !policy) {
    // At the begin of the kernel, so that it holds everywhere.
    InsertionGuard guard(*this);
    setInsertionPointAfterValue(sharedBase);
    policy = inlineAsm(getI64Type(),
                       "createpolicy.fractional.L2::evict_first.b64 $0, 1.0;",
                       "=l", {}, false)[0];
  }
  SmallVector<Type> types(count, getI32Type());
  std::string text = "{ ", list, constraints;
  unsigned next = count;
  std::string addressName = "$" + std::to_string(next++);
  std::string conditionName;
  for (unsigned i = 0; i < count; ++i) {
    list += (i ? ", $" : "$") + std::to_string(i);
    constraints += "=r,";
  }
  constraints += "l";
  Values operands = {address};
  if (condition) {
    conditionName = "$" + std::to_string(next++);
    constraints += ",b";
    operands.push_back(condition);
    for (unsigned i = 0; i < count; ++i)
      text += "mov.b32 $" + std::to_string(i) + ", 0; ";
    text += "@" + conditionName + " ";
  }
  text += "ld.global.nc";
  if (caching != Caching::All)
    text += ".L1::no_allocate";
  if (hinted)
    text += ".L2::cache_hint";
  text += count == 1 ? ".b32 " : ".v" + std::to_string(count) + ".b32 ";
  text += count == 1 ? list : "{" + list + "}";
  text += ", [" + addressName + "]";
  if (hinted) {
    text += ", $" + std::to_string(next);
    constraints += ",l";
    operands.push_back(policy);
  }
  text += "; }";
  return inlineAsm(types, text, constraints, operands, false);
}

Values KernelBuilder::loadWords(Value address, unsigned count,
                                Value condition) {
  return load(address, count, condition, Caching::All);
}
Values KernelBuilder::streamWords(Value address, unsigned count,
                                  Value condition, bool evictFirst) {
  return load(address, count, condition,
              evictFirst ? Caching::EvictFirst : Caching::NotFirst);
}

Value KernelBuilder::loadSmall(Value address, unsigned bytes, Value condition) {
  std::string type = bytes == 1 ? "u8" : "u16";
  std::string text = "ld.global.nc." + type + " $0, [$1];";
  Values operands = {address};
  if (condition) {
    text = "{ mov.b32 $0, 0; @$2 " + text + " }";
    operands.push_back(condition);
  }
  // A register may be wider than what is loaded into it.
  return inlineAsm(getI32Type(), text, condition ? "=r,l,b" : "=r,l", operands,
                   false)[0];
}

Type KernelBuilder::wordType(unsigned count) {
  return count == 1 ? Type(getI32Type())
                    : VectorType::get({count}, getI32Type());
}

Value KernelBuilder::sharedPointer(Value offset) {
  return LLVM::GEPOp::create(*this, sharedBase.getType(), getI8Type(),
                             sharedBase, ArrayRef<LLVM::GEPArg>{offset});
}

Values KernelBuilder::loadShared(Value offset, unsigned count) {
  Value word = LLVM::LoadOp::create(*this, wordType(count),
                                    sharedPointer(offset), 4 * count);
  if (count == 1)
    return {word};
  Values words;
  for (unsigned i = 0; i < count; ++i)
    words.push_back(LLVM::ExtractElementOp::create(*this, word, constant(i)));
  return words;
}

Value KernelBuilder::vectorOf(ValueRange words) {
  if (words.size() == 1)
    return words[0];
  Value value = LLVM::PoisonOp::create(*this, wordType(words.size()));
  for (auto [i, word] : llvm::enumerate(words))
    value = LLVM::InsertElementOp::create(*this, value, word, constant(i));
  return value;
}

void KernelBuilder::storeShared(Value offset, ValueRange words) {
  LLVM::StoreOp::create(*this, vectorOf(words), sharedPointer(offset),
                        4 * words.size());
}

Value KernelBuilder::sharedAddress(Value offset) {
  Value address = LLVM::PtrToIntOp::create(*this, getI32Type(), sharedBase);
  return add(address, offset);
}

static Value globalPointer(KernelBuilder &builder, Value address) {
  Type pointer = LLVM::LLVMPointerType::get(builder.getContext(), kGlobalSpace);
  return LLVM::IntToPtrOp::create(builder, pointer, address);
}

void KernelBuilder::storeWords(Value address, ValueRange words) {
  LLVM::StoreOp::create(*this, vectorOf(words), globalPointer(*this, address),
                        4 * words.size());
}

Values KernelBuilder::loadShareable(Value address, unsigned count) {
  SmallVector<Type> types(count, getI32Type());
  if (count == 4)
    return inlineAsm(types, "ld.global.cg.v4.b32 {$0, $1, $2, $3}, [$4];",
                     "=r,=r,=r,=r,l,~{memory}", address, true);
  assert(count == 1);
  return inlineAsm(types, "ld.global.cg.b32 $0, [$1];", "=r,l,~{memory}",
                   address, true);
}

Value KernelBuilder::countUp(Value address) {
  return inlineAsm(getI32Type(), "atom.global.add.u32 $0, [$1], 1;",
                   "=r,l,~{memory}", address, true)[0];
}

void KernelBuilder::fence() {
  inlineAsm({}, "fence.acq_rel.gpu;", "~{memory}", {}, true);
}

void KernelBuilder::copyAsync(Value offset, Value address, Value bytes) {
  inlineAsm({}, "cp.async.cg.shared.global [$0], [$1], 16, $2;",
            "r,l,r,~{memory}", {sharedAddress(offset), address, bytes}, true);
}

void KernelBuilder::commitCopies() {
  inlineAsm({}, "cp.async.commit_group;", "~{memory}", {}, true);
}

void KernelBuilder::waitForCopies(int64_t groups) {
  inlineAsm({}, "cp.async.wait_group " + Twine(groups) + ";", "~{memory}", {},
            true);
}

void KernelBuilder::storeNumber(Value address, Value number, FloatKind kind) {
  Type type = getFloatType(getContext(), kind);
  if (type != number.getType())
    number = arith::TruncFOp::create(*this, type, number);
  LLVM::StoreOp::create(*this, number, globalPointer(*this, address),
                        bitWidth(kind) / 8);
}

Value KernelBuilder::packPair(Value low, Value high, FloatKind kind) {
  // The first source becomes the high half.
  StringRef type = kind == FloatKind::F16 ? "f16x2" : "bf16x2";
  return inlineAsm(getI32Type(), "cvt.rn." + type + ".f32 $0, $1, $2;",
                   "=r,f,f", {high, low}, false)[0];
}

Value KernelBuilder::unpack(Value word, unsigned half, FloatKind kind) {
  if (kind == FloatKind::F32)
    return asFloat(word);
  if (kind == FloatKind::BF16)
    return asFloat(half ? bitAnd(word, 0xffff0000) : shiftLeft(word, 16));
  Value bits =
      arith::TruncIOp::create(*this, getI16Type(), shiftRight(word, 16 * half));
  Value number = arith::BitcastOp::create(*this, getF16Type(), bits);
  return arith::ExtFOp::create(*this, getF32Type(), number);
}

Value KernelBuilder::andOr(Value a, Value b, Value c) {
  // LLVM would make two instructions of it, and ptxas leaves them apart.
  return inlineAsm(getI32Type(), "lop3.b32 $0, $1, $2, $3, 0xEA;", "=r,r,r,r",
                   {a, b, c}, false)[0];
}

Value KernelBuilder::splatHalf(Value word, unsigned half) {
  // Not as a permutation of bytes: ptxas makes a choice of halves by the
  // instructions that use it of this, which costs nothing.
  const char *pair = half ? "{h, h}" : "{l, l}";
  return inlineAsm(getI32Type(),
                   Twine("{ .reg .b16 l, h; mov.b32 {l, h}, $1; mov.b32 $0, ") +
                       pair + "; }",
                   "=r,r", word, false)[0];
}

Value KernelBuilder::permute(Value a, Value b, Value selector) {
  return inlineAsm(getI32Type(), "prmt.b32 $0, $1, $2, $3;", "=r,r,r,r",
                   {a, b, selector}, false)[0];
}

Value KernelBuilder::pairFma(Value a, Value b, Value c, FloatKind kind) {
  StringRef type = kind == FloatKind::F16 ? "f16x2" : "bf16x2";
  return inlineAsm(getI32Type(), "fma.rn." + type + " $0, $1, $2, $3;",
                   "=r,r,r,r", {a, b, c}, false)[0];
}

Value KernelBuilder::pairMul(Value a, Value b, FloatKind kind) {
  if (kind == FloatKind::F16)
    return inlineAsm(getI32Type(), "mul.rn.f16x2 $0, $1, $2;", "=r,r,r", {a, b},
                     false)[0];
  // Before sm_90 there is no product of bf16 alone; a sum with -0 keeps it.
  return pairFma(a, b, pairConstant(-0.0, kind), kind);
}

Value KernelBuilder::pairAdd(Value a, Value b, FloatKind kind) {
  if (kind == FloatKind::F16)
    return inlineAsm(getI32Type(), "add.rn.f16x2 $0, $1, $2;", "=r,r,r", {a, b},
                     false)[0];
  return pairFma(a, pairConstant(1, kind), b, kind);
}

Value KernelBuilder::pairConstant(double value, FloatKind kind) {
  return constant(int64_t(encodeFloat(kind, value)) * 0x10001);
}

Values KernelBuilder::mma(ValueRange a, Value b0, Value b1, ValueRange d,
                          FloatKind kind) {
  Values operands(a);
  operands.append({b0, b1});
  operands.append(d.begin(), d.end());
  SmallVector<Type> types(4, getF32Type());
  StringRef type = kind == FloatKind::F16 ? "f16.f16" : "bf16.bf16";
  // Side effects keep it where all lanes of the warp pass.
  return inlineAsm(types,
                   "mma.sync.aligned.m16n8k16.row.col.f32." + type +
                       ".f32 {$0, $1, $2, $3}, {$4, $5, $6, $7}, {$8, $9}, "
                       "{$10, $11, $12, $13};",
                   "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f", operands, true);
}

//===----------------------------------------------------------------------===//
// Asynchronous copies and products of Hopper
//===----------------------------------------------------------------------===//

void KernelBuilder::initBarrier(Value address, int64_t arrivals) {
  inlineAsm({}, "mbarrier.init.shared::cta.b64 [$0], " + Twine(arrivals) + ";",
            "r,~{memory}", address, true);
}

void KernelBuilder::dropBarrier(Value address) {
  inlineAsm({}, "mbarrier.inval.shared::cta.b64 [$0];", "r,~{memory}", address,
            true);
}

void KernelBuilder::waitBarrier(Value address, Value parity) {
  inlineAsm({},
            "{ .reg .pred done; wait: "
            "mbarrier.try_wait.parity.shared::cta.b64 done, [$0], $1; "
            "@!done bra wait; }",
            "r,r,~{memory}", {address, parity}, true);
}

void KernelBuilder::fenceAsync() {
  inlineAsm({}, "fence.proxy.async.shared::cta;", "~{memory}", {}, true);
}

void KernelBuilder::expectBytes(Value address, int64_t bytes) {
  inlineAsm({}, "mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;",
            "r,r,~{memory}", {address, constant(bytes)}, true);
}

void KernelBuilder::copyBulk(Value offset, Value address, int64_t bytes,
                             Value barrier) {
  inlineAsm({},
            "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
            "[$0], [$1], $2, [$3];",
            "r,l,r,r,~{memory}",
            {sharedAddress(offset), address, constant(bytes), barrier}, true);
}

void KernelBuilder::startWarpgroup() {
  inlineAsm({}, "wgmma.fence.sync.aligned;", "~{memory}", {}, true);
}

void KernelBuilder::commitWarpgroup() {
  inlineAsm({}, "wgmma.commit_group.sync.aligned;", "~{memory}", {}, true);
}

/// "$begin, ..., $(begin + count - 1)"
static std::string registerList(unsigned begin, unsigned count) {
  std::string list;
  for (unsigned i = begin; i < begin + count; ++i)
    list += (i == begin ? "$" : ", $") + std::to_string(i);
  return list;
}

/// d comes in and goes out in the same registers.
static std::string tiedConstraints(unsigned count) {
  std::string out, in;
  for (unsigned i = 0; i < count; ++i) {
    out += "=f,";
    in += std::to_string(i) + ",";
  }
  return out + in;
}

Values KernelBuilder::warpgroupMma(ValueRange a, Value descriptor, ValueRange d,
                                   FloatKind kind) {
  unsigned count = d.size();
  Values operands(d);
  operands.append(a.begin(), a.end());
  operands.append({descriptor, constant(1)});
  SmallVector<Type> types(count, getF32Type());
  StringRef type = kind == FloatKind::F16 ? "f16.f16" : "bf16.bf16";
  std::string text =
      ("{ .reg .pred add; setp.ne.b32 add, $" + Twine(2 * count + 5) +
       ", 0; wgmma.mma_async.sync.aligned.m64n" + Twine(2 * count) +
       "k16.f32." + type + " {" + registerList(0, count) + "}, {" +
       registerList(2 * count, 4) + "}, $" + Twine(2 * count + 4) +
       ", add, 1, 1, 0; }")
          .str();
  return inlineAsm(types, text, tiedConstraints(count) + "r,r,r,r,l,r",
                   operands, true);
}

Values KernelBuilder::waitWarpgroup(ValueRange d, ValueRange a) {
  SmallVector<Type> types(d.size(), getF32Type());
  Values operands(d);
  operands.append(a.begin(), a.end());
  std::string constraints = tiedConstraints(d.size());
  for (size_t i = 0; i < a.size(); ++i)
    constraints += "r,";
  return inlineAsm(types, "wgmma.wait_group.sync.aligned 0;",
                   constraints + "~{memory}", operands, true);
}
