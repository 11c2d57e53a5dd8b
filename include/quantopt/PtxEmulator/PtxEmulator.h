//===- PtxEmulator.h - PTX run and checked on the CPU -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Parses the PTX text of a kernel and runs it as PTX defines it, with no GPU.
// What a GPU would only do wrong sometimes is an error here: races on shared
// memory, reads of data that an asynchronous copy or wgmma has not delivered
// yet, missing proxy fences, accesses out of bounds or misaligned, warp-wide
// operations whose lanes never meet, barriers that never complete.
//
// Blocks run one after another. Tensor cores sum in f32 in the order of k;
// approximate functions are as exact as f32 allows. A register that was never
// written reads as poison: arithmetic goes on, memory gets NaN, and it is an
// error where an address, a guard, a mask or a descriptor comes from it.
//
// Any instruction that is not modelled is an error of parse(). Not modelled:
// tensor maps, clusters, tcgen05, textures, carries, directed rounding of f64.
// Not found: races on global memory. Shared memory that is handed on by flags
// and fences alone, without a barrier, mbarrier or warp-wide operation, is
// reported as a race.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_PTXEMULATOR_PTXEMULATOR_H
#define QUANTOPT_PTXEMULATOR_PTXEMULATOR_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quantopt::ptx {

struct Program;

/// The allocations that make up global memory. Device addresses are host
/// addresses. Not thread-safe.
class DeviceMemory {
public:
  /// Address of `bytes` bytes, a multiple of 256. They are poisoned (0xFF: NaN)
  /// and lie between guards that belong to no allocation.
  uint64_t allocate(size_t bytes);
  /// False if no allocation starts at `address`.
  bool free(uint64_t address);
  /// Null if [address, address + bytes) does not lie in one allocation.
  uint8_t *data(uint64_t address, size_t bytes);
  /// First and last-plus-one address of the last allocation that starts at or
  /// below `address`; 0 and 0 if none does.
  std::pair<uint64_t, uint64_t> bounds(uint64_t address) const;

private:
  struct Allocation {
    uint64_t end;
    std::unique_ptr<uint8_t[]> storage;
  };
  std::map<uint64_t, Allocation> allocations;
};

enum class Schedule : uint8_t {
  RoundRobin, ///< warps take turns of a few instructions
  Greedy,     ///< a warp runs until it has to wait: finds missing barriers
  Random,     ///< warps, turns, order of blocks, and groups of lanes split
};

struct RunOptions {
  Schedule schedule = Schedule::Greedy;
  uint64_t seed = 0; ///< of Schedule::Random
  /// Races on shared memory and missing proxy fences are errors.
  bool checkRaces = true;
  /// Of all threads of the launch; with more it is an endless loop.
  uint64_t maxInstructions = uint64_t(1) << 36;
};

struct Dim3 {
  uint32_t x = 1, y = 1, z = 1;
};

struct Launch {
  Dim3 grid, block;
  uint32_t dynamicSharedBytes = 0;
  std::span<const uint8_t> parameters; ///< as Module::parameters lays them out
};

/// What went wrong: the message names block, thread, PTX line and its text.
struct Error {
  std::string message;
  unsigned line; ///< of the PTX text, from 1; 0 if it is none of them
};

/// Where a kernel's parameter lies in Launch::parameters.
struct Parameter {
  uint32_t offset, size;
};

/// A kernel, as its directives say.
struct EntryInfo {
  std::vector<Parameter> parameters;
  uint32_t staticSharedBytes = 0;
  Dim3 maxThreads = {0, 0, 0}; ///< .maxntid or .reqntid; 0: not given
};

/// What a run did, for tests and for judging kernels.
struct RunStatistics {
  uint64_t instructions = 0; ///< of all threads
};

class Module {
public:
  ~Module();

  /// Null, and a message with the line, if the text is not PTX or holds
  /// anything that is not modelled.
  static std::unique_ptr<Module> parse(std::string text, std::string &error);

  /// The names of the kernels, in their order in the text.
  std::vector<std::string> entries() const;
  /// Empty if there is no kernel of this name.
  std::optional<EntryInfo> entry(std::string_view name) const;
  std::optional<std::vector<Parameter>>
  parameters(std::string_view entry) const;

  /// Runs every block of the grid; stops at the first error. Variables of the
  /// module keep their contents from one run to the next, as on a device; so
  /// one module must not run in two threads at once.
  std::optional<Error> run(std::string_view entry, const Launch &launch,
                           DeviceMemory &memory, const RunOptions &options = {},
                           RunStatistics *statistics = nullptr) const;

private:
  explicit Module(std::unique_ptr<Program> program);
  std::unique_ptr<Program> program;
};

} // namespace quantopt::ptx

#endif // QUANTOPT_PTXEMULATOR_PTXEMULATOR_H
