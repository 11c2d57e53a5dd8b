//===- Decode.h - One instruction from its text -----------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Every family of instructions is one file, which decodes and runs them. Its
// decoding functions take modifiers and operands from a Decoder; what they
// leave is an error, so that nothing is skipped in silence.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_DECODE_H
#define QUANTOPT_LIB_PTXEMULATOR_DECODE_H

#include "Program.h"

#include <initializer_list>
#include <unordered_map>

namespace quantopt::ptx {

/// An operand as it is written.
struct Operand {
  enum Kind : uint8_t {
    Register, ///< of 16 to 64 bits, or a special register
    Predicate,
    Clock, ///< a special register that changes while the program runs
    Integer,
    Single,
    Double,
    Vector,  ///< {a, b}
    Address, ///< [elements[0] + value]
    Symbol,  ///< a variable, + value
    Param,   ///< a parameter of a kernel, + value
    Local,   ///< an offset in thread-local memory: value
    Name,    ///< not declared: a label or a function
    Sink,
  };
  Kind kind = Sink;
  Ref ref;
  uint64_t value = 0;
  uint32_t variable = kNone;
  std::string_view name;
  std::vector<Operand> elements;
};

/// What decoding may ask of the parser.
class ProgramBuilder {
public:
  virtual ~ProgramBuilder() = default;
  virtual Ref constant(Constant constant) = 0;
  virtual uint32_t addList(const std::vector<Ref> &refs) = 0;
  virtual Program &getProgram() = 0;
};

class Decoder {
public:
  ProgramBuilder &builder;
  std::string_view op;
  std::vector<std::string_view> modifiers;
  std::vector<Operand> operands;
  Instr instr;
  std::string error;

  Decoder(ProgramBuilder &builder) : builder(builder) {}

  /// Takes a modifier away; false if it is not there.
  bool take(std::string_view modifier);
  /// Takes the first of these that is there; -1 if none is.
  int takeOneOf(std::initializer_list<std::string_view> modifiers);
  /// Takes the first modifier that names a type.
  Type takeType();
  /// Takes cache hints and scopes that do not change what is computed.
  void takeCacheHints();

  void fail(std::string message);
  bool failed() const { return !error.empty(); }
  /// Fails unless there are between `least` and `most` operands.
  bool expect(unsigned least, unsigned most);
  bool expect(unsigned count) { return expect(count, count); }

  /// A register or constant read as `type`.
  Ref source(const Operand &operand, Type type);
  Ref source(unsigned index, Type type) {
    return source(operands[index], type);
  }
  Ref destination(const Operand &operand, Type type);
  Ref destination(unsigned index, Type type) {
    return destination(operands[index], type);
  }
  /// A register of any width of at least `bits`, read or written; a constant
  /// of `bits`.
  Ref anyWidth(const Operand &operand, unsigned bits, bool write);
  Ref predicate(const Operand &operand);
  Ref predicate(unsigned index) { return predicate(operands[index]); }
  /// [base + offset]: sets src[slot] and, for slot 0, `immediate` and, if it
  /// is a parameter, `space`.
  void address(unsigned index, unsigned slot = 0);
  /// The value of an integer literal.
  uint64_t literal(unsigned index);
  /// Elements of a vector, or the operand alone.
  std::vector<Operand> elements(unsigned index) const;
  /// Sets list to these.
  void setList(const std::vector<Ref> &refs);
};

using DecodeFunction = void (*)(Decoder &);
using DecodeTable = std::unordered_map<std::string_view, DecodeFunction>;

void addArithmetic(DecodeTable &table);
void addInteger(DecodeTable &table);
void addMoves(DecodeTable &table);
void addConversions(DecodeTable &table);
void addMemory(DecodeTable &table);
void addControl(DecodeTable &table);
void addWarpOperations(DecodeTable &table);
void addTensorCores(DecodeTable &table);
void addWarpgroups(DecodeTable &table);
void addCopyAsync(DecodeTable &table);
void addMBarriers(DecodeTable &table);

/// A state space; Generic if none is written.
Space takeSpace(Decoder &decoder);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_DECODE_H
