//===- Decode.cpp - One instruction from its text -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Decode.h"

#include <algorithm>
#include <bit>

using namespace quantopt::ptx;

Type quantopt::ptx::parseType(std::string_view name) {
  static const std::unordered_map<std::string_view, Type> types = {
      {"b8", {Type::Bits, 8}},        {"b16", {Type::Bits, 16}},
      {"b32", {Type::Bits, 32}},      {"b64", {Type::Bits, 64}},
      {"u8", {Type::Unsigned, 8}},    {"u16", {Type::Unsigned, 16}},
      {"u32", {Type::Unsigned, 32}},  {"u64", {Type::Unsigned, 64}},
      {"s8", {Type::Signed, 8}},      {"s16", {Type::Signed, 16}},
      {"s32", {Type::Signed, 32}},    {"s64", {Type::Signed, 64}},
      {"f16", {Type::Float, 16}},     {"f16x2", {Type::Float, 16, 2}},
      {"bf16", {Type::BFloat, 16}},   {"bf16x2", {Type::BFloat, 16, 2}},
      {"f32", {Type::Float, 32}},     {"f32x2", {Type::Float, 32, 2}},
      {"f64", {Type::Float, 64}},     {"tf32", {Type::TF32, 32}},
      {"e4m3x2", {Type::E4M3, 8, 2}}, {"e5m2x2", {Type::E5M2, 8, 2}},
      {"e4m3", {Type::E4M3, 8}},      {"e5m2", {Type::E5M2, 8}},
      {"pred", {Type::Pred, 1}},
  };
  auto found = types.find(name);
  return found == types.end() ? Type() : found->second;
}

void Decoder::fail(std::string message) {
  if (error.empty())
    error = std::move(message);
}

bool Decoder::take(std::string_view modifier) {
  auto found = std::find(modifiers.begin(), modifiers.end(), modifier);
  if (found == modifiers.end())
    return false;
  modifiers.erase(found);
  return true;
}

int Decoder::takeOneOf(std::initializer_list<std::string_view> names) {
  int index = 0;
  for (std::string_view name : names) {
    if (take(name))
      return index;
    ++index;
  }
  return -1;
}

Type Decoder::takeType() {
  for (auto it = modifiers.begin(); it != modifiers.end(); ++it)
    if (Type type = parseType(*it); type.bits) {
      modifiers.erase(it);
      return type;
    }
  fail("an instruction without a type");
  return {Type::Bits, 32};
}

void Decoder::takeCacheHints() {
  takeOneOf({"ca", "cg", "cs", "lu", "cv", "wb", "wt"});
  takeOneOf({"L1::evict_normal", "L1::evict_unchanged", "L1::evict_first",
             "L1::evict_last", "L1::no_allocate"});
  takeOneOf({"L2::evict_normal", "L2::evict_first", "L2::evict_last"});
  takeOneOf({"L2::64B", "L2::128B", "L2::256B"});
}

bool Decoder::expect(unsigned least, unsigned most) {
  if (operands.size() >= least && operands.size() <= most)
    return true;
  fail("wrong number of operands");
  // Decoding goes on until it sees the error; it must not read beyond the end.
  operands.resize(std::max<size_t>(operands.size(), most));
  return false;
}

/// Bits of a literal as a value of `type`.
static uint64_t literalBits(const Operand &operand, Type type, bool &fits) {
  fits = true;
  bool isFloat = type.kind == Type::Float && type.packed == 1;
  if (operand.kind == Operand::Single) {
    if (isFloat && type.bits == 64)
      return std::bit_cast<uint64_t>(
          double(std::bit_cast<float>(uint32_t(operand.value))));
    fits = type.width() == 32;
    return operand.value;
  }
  if (operand.kind == Operand::Double) {
    if (isFloat && type.bits == 32)
      return std::bit_cast<uint32_t>(
          float(std::bit_cast<double>(operand.value)));
    fits = type.width() == 64;
    return operand.value;
  }
  if (isFloat && type.bits >= 32) {
    fits = false;
    return 0;
  }
  return type.width() >= 64
             ? operand.value
             : operand.value & ((uint64_t(1) << type.width()) - 1);
}

Ref Decoder::anyWidth(const Operand &operand, unsigned bits, bool write) {
  switch (operand.kind) {
  case Operand::Register:
    if (write && operand.ref.bank != Bank::Register)
      break;
    if (bits == 64 && !operand.ref.wide) {
      fail("a register of 32 bits where 64 are needed");
      return {};
    }
    return operand.ref;
  case Operand::Sink:
    if (!write)
      break;
    return {};
  case Operand::Integer:
  case Operand::Single:
  case Operand::Double: {
    if (write)
      break;
    bool fits = true;
    uint64_t value = literalBits(operand, {Type::Bits, uint8_t(bits)}, fits);
    if (!fits && operand.kind == Operand::Single && bits == 64)
      break;
    return builder.constant({value, bits == 64});
  }
  case Operand::Symbol:
    if (write)
      break;
    return builder.constant({operand.value, bits == 64, operand.variable});
  case Operand::Param:
  case Operand::Local:
    if (write)
      break;
    return builder.constant({operand.value, bits == 64});
  default:
    break;
  }
  fail("an operand of the wrong kind");
  return {};
}

Ref Decoder::source(const Operand &operand, Type type) {
  bool wide = type.width() == 64;
  switch (operand.kind) {
  case Operand::Register:
    if (operand.ref.wide != wide) {
      fail("a register of " + std::to_string(operand.ref.wide ? 64 : 32) +
           " bits as an operand of " + std::to_string(type.width()));
      return {};
    }
    return operand.ref;
  case Operand::Integer:
  case Operand::Single:
  case Operand::Double: {
    bool fits = true;
    uint64_t value = literalBits(operand, type, fits);
    if (!fits)
      fail("a literal that does not fit the type");
    return builder.constant({value, wide});
  }
  default:
    return anyWidth(operand, type.width(), false);
  }
}

Ref Decoder::destination(const Operand &operand, Type type) {
  if (operand.kind == Operand::Sink)
    return {};
  if (operand.kind != Operand::Register || operand.ref.bank != Bank::Register) {
    fail("a result that is not a register");
    return {};
  }
  return source(operand, type);
}

Ref Decoder::predicate(const Operand &operand) {
  if (operand.kind == Operand::Sink)
    return {};
  if (operand.kind != Operand::Predicate)
    fail("an operand that is not a predicate");
  return operand.ref;
}

void Decoder::address(unsigned index, unsigned slot) {
  const Operand &operand = operands[index];
  if (operand.kind != Operand::Address) {
    fail("an operand that is not an address");
    return;
  }
  const Operand &base = operand.elements[0];
  if (base.kind == Operand::Integer) {
    instr.src[slot] = builder.constant({base.value, true});
  } else {
    // What a function keeps in .param is thread-local memory here.
    if (base.kind == Operand::Local && instr.space == Space::Param)
      instr.space = Space::Local;
    bool wide = base.kind != Operand::Register || base.ref.wide;
    instr.src[slot] = anyWidth(base, wide ? 64 : 32, false);
  }
  if (slot == 0)
    instr.immediate = static_cast<int64_t>(operand.value);
  else if (operand.value)
    fail("an offset at an address other than the first");
}

uint64_t Decoder::literal(unsigned index) {
  if (index >= operands.size() || operands[index].kind != Operand::Integer) {
    fail("an operand that is not an integer literal");
    return 0;
  }
  return operands[index].value;
}

std::vector<Operand> Decoder::elements(unsigned index) const {
  const Operand &operand = operands[index];
  if (operand.kind == Operand::Vector)
    return operand.elements;
  return {operand};
}

void Decoder::setList(const std::vector<Ref> &refs) {
  instr.list = builder.addList(refs);
  instr.listCount = refs.size();
}

Space quantopt::ptx::takeSpace(Decoder &d) {
  switch (d.takeOneOf({"global", "shared", "shared::cta", "shared::cluster",
                       "local", "const", "param", "param::entry"})) {
  case 0:
    return Space::Global;
  case 1:
  case 2:
  case 3:
    return Space::Shared;
  case 4:
    return Space::Local;
  case 5:
    return Space::Const;
  case 6:
  case 7:
    return Space::Param;
  default:
    return Space::Generic;
  }
}
