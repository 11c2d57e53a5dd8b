//===- Program.h - PTX decoded ----------------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What the parser makes of the text: instructions with their operands resolved
// to slots of a register file, so that nothing is looked up while they run.
//
// A slot is one 32-bit word for each of the 32 lanes of a warp; registers of 64
// bits take two. Constants and special registers are slots as well, in banks of
// their own. A predicate is one bit for each lane.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_PROGRAM_H
#define QUANTOPT_LIB_PTXEMULATOR_PROGRAM_H

#include "quantopt/PtxEmulator/PtxEmulator.h"

namespace quantopt::ptx {

inline constexpr unsigned kWarp = 32;
inline constexpr uint32_t kNone = ~uint32_t(0);

/// Type of an operand. `packed` is 2 for f16x2 and the like.
struct Type {
  enum Kind : uint8_t {
    Bits,
    Unsigned,
    Signed,
    Float,
    BFloat,
    TF32,
    E4M3,
    E5M2,
    Pred
  };
  Kind kind = Bits;
  uint8_t bits = 0;
  uint8_t packed = 1;

  unsigned width() const { return bits * packed; }
  unsigned bytes() const { return width() / 8; }
  bool isInteger() const { return kind <= Signed; }
  bool isSigned() const { return kind == Signed; }
  bool operator==(const Type &) const = default;
};

/// The type that a modifier such as "f32" names; bits 0 if it names none.
Type parseType(std::string_view name);

/// State spaces. `Generic` is resolved by address at run time.
enum class Space : uint8_t { Generic, Global, Shared, Local, Const, Param };

enum class Bank : uint8_t { Register, Constant, Special, Sink, Predicate };

/// A register, constant or special register.
struct Ref {
  uint32_t slot = 0;
  Bank bank = Bank::Sink;
  bool wide = false;    ///< of 64 bits
  bool negated = false; ///< a predicate read as !p

  bool isSink() const { return bank == Bank::Sink; }
};

/// Special registers that are set once for each warp or block.
enum class Special : uint8_t {
  TidX,
  TidY,
  TidZ,
  NTidX,
  NTidY,
  NTidZ,
  CtaX,
  CtaY,
  CtaZ,
  NCtaX,
  NCtaY,
  NCtaZ,
  Lane,
  Warp,
  NWarp,
  Zero,
  One,
  MaskEq,
  MaskLt,
  MaskLe,
  MaskGt,
  MaskGe,
  DynamicShared,
  TotalShared,
  Zero64,
  Count
};

class Warp;
struct Instr;
/// Does an instruction's work for the lanes of `mask`.
using Execute = void(Warp &warp, const Instr &instr, uint32_t mask);

/// What the scheduler has to know of an instruction; it runs all but Plain.
enum class Flow : uint8_t {
  Plain,
  Branch,      ///< to `target`
  IndexBranch, ///< to one of `targets`, by source 0
  Call,        ///< of function `target`
  Return,
  Exit,
  WarpSync,    ///< waits for the lanes of source `maskSource` (all: none)
  WarpBarrier, ///< the same; lanes may wait at different instructions
  Warpgroup,   ///< waits for the 128 threads of the warpgroup
  Barrier,     ///< bar.sync, bar.arrive, bar.red
  Poll,        ///< mbarrier.try_wait: waits while it fails
  Yield,       ///< others may run first
};

struct Instr {
  Execute *execute = nullptr;
  Flow flow = Flow::Plain;
  Space space = Space::Generic;
  uint8_t width = 0;   ///< bytes of one element of a memory access
  uint8_t count = 1;   ///< elements of a memory access
  bool isMove = false; ///< a plain copy of a register
  Type type, from;     ///< of the result, of the source where it differs
  uint32_t line = 0;
  Ref guard;
  Ref dst, dst2;
  Ref src[5];
  uint32_t list = 0; ///< first of the operands in Program::lists
  uint32_t listCount = 0;
  uint32_t listResults = 0; ///< how many of them, from the first, are written
  uint32_t target = kNone;
  uint32_t targetCount = 0;
  uint32_t memoryCache = 0; ///< slot of the cache of global bounds
  int64_t immediate = 0;    ///< offset of an address
  uint32_t mode[4] = {};    ///< meaning belongs to the instruction's file
};

/// A value that is the same for all lanes and known at launch.
struct Constant {
  uint64_t bits = 0;
  bool wide = false;
  uint32_t variable = kNone; ///< `bits` is an offset from its address
};

struct Variable {
  std::string name;
  Space space = Space::Global;
  uint32_t align = 1;
  uint64_t bytes = 0;
  bool external = false; ///< .extern: of dynamic size if shared
  uint64_t address = 0;  ///< of shared variables: set by each launch
  std::unique_ptr<uint8_t[]> storage; ///< of .global and .const
};

/// A .param of a function: bytes in thread-local memory, or for a kernel its
/// place in the launch's parameters.
struct ParamPlace {
  std::string name;
  uint32_t offset = 0, size = 0, align = 1;
};

struct Function {
  std::string name;
  bool isEntry = false, defined = false;
  uint32_t begin = 0; ///< index of the first instruction
  uint32_t slots = 0, predicates = 0, localBytes = 0;
  std::vector<ParamPlace> parameters, results;
  std::vector<uint32_t> shared; ///< variables in shared memory that it names
  std::vector<uint32_t> calls;
  Dim3 maxThreads = {0, 0, 0};
};

/// Copies of call parameters: from and to offsets in thread-local memory.
struct CallCopy {
  uint32_t from, to, size;
};

struct CallSite {
  uint32_t function;
  std::vector<CallCopy> arguments, results;
};

struct Program {
  std::vector<std::string> lines; ///< of the text, for messages
  std::vector<Instr> code;
  std::vector<Ref> lists;
  std::vector<uint32_t> targets; ///< of brx.idx
  std::vector<Constant> constants;
  std::vector<uint32_t> constantSlots; ///< of each constant
  uint32_t constantSlotCount = 0;
  std::vector<std::unique_ptr<Variable>> variables;
  std::vector<Function> functions;
  std::vector<CallSite> calls;
  uint32_t memoryInstrs = 0;
  /// Anything of the asynchronous proxy: its fences are tracked.
  bool usesAsyncProxy = false;
};

/// Null and a message if it fails.
std::unique_ptr<Program> parseProgram(std::string text, std::string &error);

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_PROGRAM_H
