//===- SharedShadow.h - Who touched which shared byte -----------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// For each byte of shared memory: its last write, two sets of lanes that have
// read it since (the first that are not ordered, and the last), whether an
// asynchronous operation has it, and what kind.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_SHAREDSHADOW_H
#define QUANTOPT_LIB_PTXEMULATOR_SHAREDSHADOW_H

#include "Knowledge.h"

#include <string>

namespace quantopt::ptx {

/// A set of readers has 27 bits for the epoch.
inline constexpr uint32_t kLastEpoch = (1u << 27) - 1;

/// Who accesses memory, and how it is ordered with other accesses.
struct Access {
  unsigned warp, lane;
  unsigned line;
  /// An atomic operation, or a load or store that is volatile or relaxed:
  /// these do not race with each other.
  bool strong = false;
  /// By the asynchronous proxy, on behalf of this thread.
  bool async = false;
};

class SharedShadow {
public:
  /// What an asynchronous operation does with a byte.
  enum Flight : uint8_t {
    None = 0,
    Copy,    ///< a cp.async is to write it
    Bulk,    ///< a bulk copy is to write it
    Barrier, ///< of an mbarrier
  };

  void resize(size_t bytes, const Chronology &chronology);
  void startBlock();

  /// Each returns what is wrong, or an empty string. With `races` false only
  /// asynchronous operations are looked at.
  std::string read(const Access &access, uint32_t at, uint32_t bytes,
                   bool races);
  std::string write(const Access &access, uint32_t at, uint32_t bytes,
                    bool races);

  void setFlight(uint32_t at, uint32_t bytes, Flight flight);
  Flight flight(uint32_t at) const { return static_cast<Flight>(flights[at]); }
  /// Data that an asynchronous operation has delivered, as written by `agent`.
  void land(uint32_t at, uint32_t bytes, uint32_t agent, uint32_t epoch,
            unsigned line, bool async);
  /// Counts asynchronous readers (wgmma, bulk copies) of the 16 bytes around
  /// each byte: until they are done, nothing may be written there.
  void addAsyncReader(uint32_t at, uint32_t bytes, int change);

private:
  std::string raceWith(const Access &access, uint64_t stamp, uint32_t at,
                       bool isWrite) const;
  std::string inFlight(uint32_t at, uint32_t bytes, bool isWrite) const;
  bool anyFlight(uint32_t at, uint32_t bytes) const;
  std::string checkWriteStamp(const Access &access, uint32_t at,
                              bool isWrite) const;

  const Chronology *chronology = nullptr;
  std::vector<uint64_t> writes;
  std::vector<uint64_t> firstReads, lastReads;
  std::vector<uint8_t> flights;
  std::vector<uint16_t> asyncReaders; ///< for each 16 bytes
  uint64_t asyncReaderCount = 0;
};

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_SHAREDSHADOW_H
