//===- Machine.h - The state of a launch ------------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// A Machine runs one launch, block by block. A Block has its warps, shared
// memory and everything that synchronises. A Warp has the registers of 32 lanes
// and their groups: lanes at the same instruction run it together, and any
// group may be scheduled at any time.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_MACHINE_H
#define QUANTOPT_LIB_PTXEMULATOR_MACHINE_H

#include "AsyncEngine.h"
#include "Program.h"
#include "SharedShadow.h"

#include <bit>
#include <random>

namespace quantopt::ptx {

class Block;
class Machine;

// Generic addresses: global and constant memory are where they are on the
// host; these windows lie where no host memory can.
inline constexpr uint64_t kSharedWindow = uint64_t(0x7100) << 48;
inline constexpr uint64_t kLocalWindow = uint64_t(0x7200) << 48;
inline constexpr uint64_t kParamWindow = uint64_t(0x7300) << 48;
inline constexpr uint64_t kWindowMask = uint64_t(0xffff) << 48;
/// Where a block's shared memory starts: below it is nothing, so that an
/// address that was forgotten does not hit.
inline constexpr uint32_t kSharedBase = 1024;
inline constexpr uint32_t kSharedLimit = 227 * 1024;

/// Lanes that are at the same instruction, called from the same place.
struct Group {
  enum State : uint8_t {
    Ready,
    WarpSync,    ///< for other lanes of the warp
    WarpBarrier, ///< the same at bar.warp.sync
    Barrier,     ///< bar.sync
    Warpgroup,   ///< for other warps of the warpgroup
    Poll,        ///< for an mbarrier
  };
  uint32_t mask = 0, pc = 0, frame = 0;
  State state = Ready;
  bool pollAgain = false; ///< polled while nothing else could run
  uint32_t failedPoll =
      kNone;            ///< the poll that failed last, if none passed since
  uint32_t barrier = 0; ///< id, if state is Barrier
};

class Warp {
public:
  Block &block;
  const Program &program;
  unsigned index = 0;
  uint32_t lanes = 0; ///< those that exist
  uint32_t exited = 0;
  std::vector<Group> groups;

  // Registers: see Program.h. A lane of `defined` is set once the register has
  // been written from values that were.
  std::vector<uint32_t> registers, defined;
  std::vector<uint32_t> predicates, predicatesDefined;
  std::vector<uint32_t> special;
  uint32_t scratch[2 * kWarp]; ///< for results that nobody wants
  std::vector<uint8_t> local;  ///< thread-local memory, lane by lane
  uint32_t localBytes = 0;

  std::vector<LaneCopies> copies; ///< cp.async of each lane
  WarpgroupQueue warpgroup;       ///< wgmma that have not been waited for
  uint32_t pollFailed = 0; ///< lanes whose last poll of an mbarrier failed

  Warp(Block &block, const Program &program) : block(block), program(program) {}

  const uint32_t *words(Ref ref) const {
    return bases[unsigned(ref.bank)] + ref.slot * kWarp;
  }
  uint32_t *words(Ref ref) {
    return bases[unsigned(ref.bank)] + ref.slot * kWarp;
  }
  template <typename T> const T *read(Ref ref) const {
    return reinterpret_cast<const T *>(words(ref));
  }
  template <typename T> T *write(Ref ref) {
    return reinterpret_cast<T *>(words(ref));
  }
  /// Value of one lane, zero-extended.
  uint64_t value(Ref ref, unsigned lane) const {
    return ref.wide ? read<uint64_t>(ref)[lane] : read<uint32_t>(ref)[lane];
  }
  /// Sets one lane of a register of any width.
  void setValue(Ref ref, unsigned lane, uint64_t value) {
    if (ref.wide)
      write<uint64_t>(ref)[lane] = value;
    else
      write<uint32_t>(ref)[lane] = static_cast<uint32_t>(value);
  }
  uint32_t isDefined(Ref ref) const {
    return ref.bank == Bank::Register ? defined[ref.slot] : ~0u;
  }
  /// Lanes `mask` of `ref` have been written; those in `good` from values that
  /// were defined themselves.
  void define(Ref ref, uint32_t mask, uint32_t good = ~0u) {
    if (ref.bank == Bank::Register)
      defined[ref.slot] = (defined[ref.slot] & ~mask) | (good & mask);
  }
  uint32_t predicate(Ref ref) const {
    return predicates[ref.slot] ^ (ref.negated ? ~0u : 0u);
  }
  uint32_t isPredicateDefined(Ref ref) const {
    return predicatesDefined[ref.slot];
  }
  void setPredicate(Ref ref, uint32_t mask, uint32_t bits,
                    uint32_t good = ~0u) {
    if (ref.isSink())
      return;
    predicates[ref.slot] = (predicates[ref.slot] & ~mask) | (bits & mask);
    predicatesDefined[ref.slot] =
        (predicatesDefined[ref.slot] & ~mask) | (good & mask);
  }

  void fail(const Instr &instr, unsigned lane, std::string message);
  bool failed() const;
  /// Fails unless lanes `mask` of the register, which is named by its use, have
  /// been written.
  bool require(const Instr &instr, uint32_t mask, Ref ref, const char *use);

  void bindBanks(std::vector<uint32_t> &constants) {
    bases[unsigned(Bank::Register)] = registers.data();
    bases[unsigned(Bank::Constant)] = constants.data();
    bases[unsigned(Bank::Special)] = special.data();
    bases[unsigned(Bank::Sink)] = scratch;
  }

private:
  uint32_t *bases[4] = {};
};

/// bar.sync and bar.arrive with one id.
struct NamedBarrier {
  uint32_t expected = 0; ///< threads; 0 while nobody waits
  uint32_t arrived = 0;
  uint32_t votes = 0, voters = 0; ///< of bar.red
  bool partial = false; ///< not all threads of the block, or some only arrive
  Knowledge knowledge;
};

class Block {
public:
  Machine &machine;
  Dim3 id;
  unsigned threads = 0;
  std::vector<std::unique_ptr<Warp>> warps;
  std::vector<uint8_t> shared;
  SharedShadow shadow;
  Chronology chronology;
  std::map<uint32_t, MBarrier> mbarriers; ///< by shared address
  NamedBarrier barriers[16];
  /// Phases and barriers completed, threads exited: while this stands still,
  /// polling again is of no use.
  uint64_t progress = 0;

  explicit Block(Machine &machine) : machine(machine) {}

  void start(Dim3 id);
  void run();

  /// Bytes of shared memory that lanes of a warp access; null and the launch
  /// has failed if they may not.
  uint8_t *access(Warp &warp, const Instr &instr, unsigned lane,
                  uint64_t address, uint32_t bytes, bool isRead, bool isWrite,
                  bool strong = false);
  /// Fails unless [address, address + bytes) is shared memory.
  bool inShared(Warp &warp, const Instr &instr, unsigned lane, uint64_t address,
                uint64_t bytes, uint32_t align);
};

class Machine {
public:
  Program &program;
  const Function &entry;
  const Launch &launch;
  DeviceMemory &memory;
  RunOptions options;

  std::vector<uint32_t> constants;
  uint32_t sharedEnd = 0; ///< address behind the shared memory of a block
  uint32_t dynamicBase = 0;
  uint64_t instructions = 0;
  std::optional<Error> error;
  std::mt19937_64 random;

  /// Allocation that each memory instruction hit last.
  struct Bounds {
    uint64_t begin = 0, end = 0;
  };
  std::vector<Bounds> bounds;
  /// Global bytes that bulk copies have yet to write.
  struct Range {
    uint64_t begin, end;
  };
  std::vector<Range> pendingGlobal;

  /// Call frames: who called, and where to go on. Frame 0 is the kernel's.
  struct Frame {
    uint32_t parent, returnTo, call;
    bool operator<(const Frame &o) const {
      return std::tie(parent, returnTo, call) <
             std::tie(o.parent, o.returnTo, o.call);
    }
  };
  std::vector<Frame> frames{{0, 0, 0}};
  std::map<Frame, uint32_t> frameIds;
  uint32_t frame(Frame frame);

  Machine(Program &program, const Function &entry, const Launch &launch,
          DeviceMemory &memory, const RunOptions &options);

  /// Null, and the launch has failed, unless [address, address + bytes) is
  /// global memory that `instr` may access.
  uint8_t *global(Warp &warp, const Instr &instr, unsigned lane,
                  uint64_t address, uint32_t bytes, uint32_t align);
  void run();

private:
  bool layOutShared();
  void fillConstants();
  bool checkLaunch();
};

inline bool Warp::failed() const { return block.machine.error.has_value(); }

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_MACHINE_H
