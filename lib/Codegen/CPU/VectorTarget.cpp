//===- VectorTarget.cpp - What a processor's vectors can do ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "VectorTarget.h"

#include "llvm/ADT/StringSwitch.h"

using namespace mlir;
using namespace quantopt;
using namespace quantopt::cpu;

StringRef cpu::isaName(Isa isa) {
  switch (isa) {
  case Isa::Generic:
    return "generic";
  case Isa::Neon:
    return "neon";
  case Isa::Avx2:
    return "avx2";
  case Isa::AvxVnni:
    return "avxvnni";
  case Isa::Avx512:
    return "avx512";
  case Isa::Amx:
    return "amx";
  }
  llvm_unreachable("all handled");
}

std::optional<Isa> cpu::parseIsa(StringRef name) {
  for (Isa isa : {Isa::Generic, Isa::Neon, Isa::Avx2, Isa::AvxVnni, Isa::Avx512,
                  Isa::Amx})
    if (isaName(isa) == name)
      return isa;
  return std::nullopt;
}

Target cpu::targetOf(StringRef features) {
  SmallVector<StringRef> list;
  features.split(list, ',', -1, /*KeepEmpty=*/false);
  auto has = [&](std::initializer_list<StringRef> names) {
    return llvm::all_of(
        names, [&](StringRef name) { return llvm::is_contained(list, name); });
  };
  if (has({"+avx512f", "+avx512bw", "+avx512vl", "+avx512dq", "+avx512vbmi",
           "+avx512vnni"})) {
    bool bf16 = has({"+avx512bf16"});
    bool isAmx = bf16 && has({"+amx-tile", "+amx-int8", "+amx-bf16"});
    return {isAmx ? Isa::Amx : Isa::Avx512, bf16};
  }
  if (has({"+avx2", "+fma", "+f16c", "+avxvnni"}))
    return {Isa::AvxVnni};
  if (has({"+avx2", "+fma", "+f16c"}))
    return {Isa::Avx2};
  if (has({"+neon", "+dotprod"}))
    return {Isa::Neon};
  return {Isa::Generic};
}

int64_t VectorTarget::lanes() const {
  switch (target.isa) {
  case Isa::Avx512:
  case Isa::Amx:
    return 16;
  case Isa::Avx2:
  case Isa::AvxVnni:
    return 8;
  case Isa::Generic:
  case Isa::Neon:
    return 4;
  }
  llvm_unreachable("all handled");
}

bool VectorTarget::multipliesUnsigned(int64_t largest) const {
  switch (target.isa) {
  case Isa::Avx512:
  case Isa::Amx:
  case Isa::AvxVnni:
  case Isa::Generic:
    return true;
  case Isa::Avx2: // whose sums of two products saturate in 16 bits
  case Isa::Neon: // which knows signed bytes alone
    return largest <= 127;
  }
  llvm_unreachable("all handled");
}

/// The product in plain integers.
static Value dotByParts(KernelBuilder &b, Value acc, Value w, Value x,
                        bool isSigned) {
  auto byteOf = [&](Value lanes, int64_t byte, bool sign) -> Value {
    Value up = b.shiftLeft(lanes, 24 - 8 * byte);
    if (!sign)
      return b.shiftRight(up, 24);
    auto type = cast<VectorType>(lanes.getType());
    return arith::ShRSIOp::create(b, up, b.splatInt(type, 24));
  };
  for (int64_t byte = 0; byte < 4; ++byte)
    acc = b.add(acc, b.mul(byteOf(w, byte, isSigned), byteOf(x, byte, true)));
  return acc;
}

Value VectorTarget::dotBytes(KernelBuilder &b, Value acc, Value w, Value x,
                             bool isSigned) const {
  int64_t n = lanes();
  VectorType bytes = b.vector(4 * n, b.getI8Type());
  switch (target.isa) {
  case Isa::Avx512:
  case Isa::Amx:
    return b.intrinsic("llvm.x86.avx512.vpdpbusd.512", acc.getType(),
                       {acc, b.bitcast(bytes, w), b.bitcast(bytes, x)});
  case Isa::AvxVnni:
    return b.intrinsic("llvm.x86.avx512.vpdpbusd.256", acc.getType(),
                       {acc, b.bitcast(bytes, w), b.bitcast(bytes, x)});
  case Isa::Avx2: {
    Value a = b.bitcast(bytes, w), c = b.bitcast(bytes, x);
    if (isSigned) {
      // |w| * (x with the sign of w).
      Value zero = b.splatInt(bytes, 0);
      Value negative =
          arith::CmpIOp::create(b, arith::CmpIPredicate::slt, a, zero);
      Value minus = arith::SubIOp::create(b, zero, a);
      Value minusX = arith::SubIOp::create(b, zero, c);
      a = arith::SelectOp::create(b, negative, minus, a);
      c = arith::SelectOp::create(b, negative, minusX, c);
    }
    VectorType halves = b.vector(2 * n, b.getI16Type());
    Value pairs = b.intrinsic("llvm.x86.avx2.pmadd.ub.sw", halves, {a, c});
    Value ones = b.splatInt(halves, 1);
    Value sums =
        b.intrinsic("llvm.x86.avx2.pmadd.wd", acc.getType(), {pairs, ones});
    return b.add(acc, sums);
  }
  case Isa::Neon:
    return b.intrinsic("llvm.aarch64.neon.sdot.v4i32.v16i8", acc.getType(),
                       {acc, b.bitcast(bytes, w), b.bitcast(bytes, x)});
  case Isa::Generic:
    return dotByParts(b, acc, w, x, isSigned);
  }
  llvm_unreachable("all handled");
}

Value VectorTarget::dotPairs(KernelBuilder &b, Value acc, Value w,
                             Value x) const {
  VectorType halves = b.vector(2 * lanes(), b.getBF16Type());
  return b.intrinsic("llvm.x86.avx512bf16.dpbf16ps.512", acc.getType(),
                     {acc, b.bitcast(halves, w), b.bitcast(halves, x)});
}

/// A choice among constants, for processors without a lookup of that width.
template <typename T>
static Value lookupByChoice(KernelBuilder &b, ArrayRef<T> table, Value index,
                            function_ref<Value(T)> constant) {
  Value result = constant(table[0]);
  auto type = cast<VectorType>(index.getType());
  for (size_t code = 1; code < table.size(); ++code) {
    Value same = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, index,
                                       b.splatInt(type, code));
    result = arith::SelectOp::create(b, same, constant(table[code]), result);
  }
  return result;
}

Value VectorTarget::lookupBytes(KernelBuilder &b, ArrayRef<int64_t> table,
                                Value codes) const {
  int64_t n = lanes();
  VectorType bytes = b.vector(4 * n, b.getI8Type());
  Value index = b.bitcast(bytes, codes);
  SmallVector<int64_t> repeated;
  for (int64_t i = 0; i < 4 * n; ++i)
    repeated.push_back(table[i % 16]);
  Value result;
  switch (target.isa) {
  case Isa::Avx512:
  case Isa::Amx:
    result =
        b.intrinsic("llvm.x86.avx512.pshuf.b.512", bytes,
                    {b.vectorOf(bytes, ArrayRef<int64_t>(repeated)), index});
    break;
  case Isa::Avx2:
  case Isa::AvxVnni:
    result =
        b.intrinsic("llvm.x86.avx2.pshuf.b", bytes,
                    {b.vectorOf(bytes, ArrayRef<int64_t>(repeated)), index});
    break;
  case Isa::Neon:
    result =
        b.intrinsic("llvm.aarch64.neon.tbl1.v16i8", bytes,
                    {b.vectorOf(bytes, ArrayRef<int64_t>(repeated)), index});
    break;
  case Isa::Generic:
    result = lookupByChoice<int64_t>(
        b, table, index, [&](int64_t v) { return b.splatInt(bytes, v); });
    break;
  }
  return b.bitcast(codes.getType(), result);
}

Value VectorTarget::lookupFloats(KernelBuilder &b, ArrayRef<float> table,
                                 Value index) const {
  int64_t n = lanes();
  VectorType floats = b.vector(n, b.getF32Type());
  switch (target.isa) {
  case Isa::Avx512:
  case Isa::Amx:
    return b.intrinsic("llvm.x86.avx512.permvar.sf.512", floats,
                       {b.vectorOf(floats, table), index});
  case Isa::Avx2:
  case Isa::AvxVnni: {
    // Two halves of the table; bit 3 of the index, moved to the sign, chooses.
    auto half = [&](size_t begin) {
      return b.intrinsic("llvm.x86.avx2.permps", floats,
                         {b.vectorOf(floats, table.slice(begin, 8)), index});
    };
    Value sign = b.shiftLeft(index, 28);
    return b.intrinsic("llvm.x86.avx.blendv.ps.256", floats,
                       {half(0), half(8), b.bitcast(floats, sign)});
  }
  case Isa::Neon:
  case Isa::Generic:
    return lookupByChoice<float>(b, table, b.bitAnd(index, 15), [&](float v) {
      return b.splatFloat(floats, v);
    });
  }
  llvm_unreachable("all handled");
}

Value VectorTarget::lookupHalves(KernelBuilder &b, ArrayRef<int64_t> table,
                                 Value index) const {
  VectorType halves = b.vector(2 * lanes(), b.getI16Type());
  Value result =
      b.intrinsic("llvm.x86.avx512.permvar.hi.512", halves,
                  {b.vectorOf(halves, table), b.bitcast(halves, index)});
  return b.bitcast(index.getType(), result);
}
