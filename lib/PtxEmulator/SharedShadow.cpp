//===- SharedShadow.cpp - Who touched which shared byte -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "SharedShadow.h"

#include <algorithm>
#include <bit>
#include <cstring>

using namespace quantopt::ptx;

// A write: epoch, line (19 bits), agent (11), strong, async. Comparing two of
// them compares epochs first.
static uint64_t writeStamp(uint32_t epoch, unsigned line, uint32_t agent,
                           bool strong, bool async) {
  return uint64_t(epoch) << 32 | uint64_t(line & 0x7ffff) << 13 |
         uint64_t(agent) << 2 | uint64_t(strong) << 1 | uint64_t(async);
}
static uint32_t writeEpoch(uint64_t stamp) { return stamp >> 32; }
static unsigned writeLine(uint64_t stamp) { return stamp >> 13 & 0x7ffff; }
static uint32_t writeAgent(uint64_t stamp) { return stamp >> 2 & 0x7ff; }
static bool writeStrong(uint64_t stamp) { return stamp >> 1 & 1; }
static bool writeAsync(uint64_t stamp) { return stamp & 1; }

// Readers: epoch (27 bits), warp (5), lanes.
static uint64_t readStamp(uint32_t epoch, unsigned warp, uint32_t lanes) {
  return uint64_t(epoch) << 37 | uint64_t(warp) << 32 | lanes;
}
static uint32_t readEpoch(uint64_t stamp) { return stamp >> 37; }
static unsigned readWarp(uint64_t stamp) { return stamp >> 32 & 31; }

void SharedShadow::resize(size_t bytes, const Chronology &clock) {
  chronology = &clock;
  writes.resize(bytes);
  firstReads.resize(bytes);
  lastReads.resize(bytes);
  flights.resize(bytes);
  asyncReaders.resize((bytes + 15) / 16);
}

void SharedShadow::startBlock() {
  std::fill(flights.begin(), flights.end(), None);
  std::fill(asyncReaders.begin(), asyncReaders.end(), 0);
  asyncReaderCount = 0;
}

bool SharedShadow::anyFlight(uint32_t at, uint32_t bytes) const {
  const uint8_t *state = flights.data() + at;
  uint64_t any = 0;
  for (; bytes >= 8; bytes -= 8, state += 8) {
    uint64_t word;
    std::memcpy(&word, state, 8);
    any |= word;
  }
  for (; bytes; --bytes, ++state)
    any |= *state;
  return any != 0;
}

std::string SharedShadow::inFlight(uint32_t at, uint32_t bytes,
                                   bool isWrite) const {
  while (flights[at] == None)
    ++at;
  std::string where = "shared byte " + std::to_string(at);
  switch (flights[at]) {
  case Barrier:
    return where + " belongs to an mbarrier";
  case Copy:
    return where + (isWrite ? " is overwritten" : " is read") +
           " before the cp.async that writes it has been waited for";
  default:
    return where + (isWrite ? " is overwritten" : " is read") +
           " before the bulk copy that writes it has been waited for";
  }
}

std::string SharedShadow::raceWith(const Access &access, uint64_t stamp,
                                   uint32_t at, bool isWrite) const {
  uint32_t agent = writeAgent(stamp);
  std::string text = "race on shared byte " + std::to_string(at) + ": this ";
  text += isWrite ? "write" : "read";
  text += " is not ordered after the write of ";
  text += agent == chronology->engine() ? "a bulk copy"
                                        : "thread " + std::to_string(agent);
  return text + " at line " + std::to_string(writeLine(stamp));
}

std::string SharedShadow::checkWriteStamp(const Access &access, uint32_t at,
                                          bool isWrite) const {
  uint64_t stamp = writes[at];
  if (access.strong && writeStrong(stamp))
    return {};
  if (!chronology->knows(access.warp, access.lane, writeAgent(stamp),
                         writeEpoch(stamp)))
    return raceWith(access, stamp, at, isWrite);
  // The fence is asked for between the generic proxy's writes and any access
  // of the asynchronous proxy.
  if (access.async && !writeAsync(stamp) &&
      !chronology->isProxied(access.warp, access.lane, writeAgent(stamp),
                             writeEpoch(stamp)))
    return "no fence.proxy.async between the write of thread " +
           std::to_string(writeAgent(stamp)) + " at line " +
           std::to_string(writeLine(stamp)) +
           " and this access of the asynchronous proxy to shared byte " +
           std::to_string(at);
  return {};
}

std::string SharedShadow::read(const Access &access, uint32_t at,
                               uint32_t bytes, bool races) {
  if (anyFlight(at, bytes))
    return inFlight(at, bytes, false);
  if (!races)
    return {};
  uint32_t floor = chronology->floor(access.warp, access.lane);
  uint64_t newest = 0;
  for (uint32_t i = at; i < at + bytes; ++i)
    newest = std::max(newest, writes[i]);
  // What all threads know may still lack the fence.
  if (writeEpoch(newest) > floor || access.async)
    for (uint32_t i = at; i < at + bytes; ++i)
      if (writes[i])
        if (std::string error = checkWriteStamp(access, i, false);
            !error.empty())
          return error;
  if (access.strong || access.async)
    return {};
  uint64_t fresh = readStamp(chronology->now(), access.warp, 0);
  uint64_t lane = uint64_t(1) << access.lane;
  for (uint32_t i = at; i < at + bytes; ++i) {
    uint64_t first = firstReads[i];
    if ((first ^ fresh) >> 32 == 0)
      firstReads[i] = first | lane;
    else if (readEpoch(first) <= floor)
      firstReads[i] = fresh | lane;
    else if ((lastReads[i] ^ fresh) >> 32 == 0)
      lastReads[i] |= lane;
    else
      lastReads[i] = fresh | lane;
  }
  return {};
}

std::string SharedShadow::write(const Access &access, uint32_t at,
                                uint32_t bytes, bool races) {
  if (anyFlight(at, bytes))
    return inFlight(at, bytes, true);
  if (asyncReaderCount)
    for (uint32_t i = at / 16; i <= (at + bytes - 1) / 16; ++i)
      if (asyncReaders[i])
        return "shared byte " + std::to_string(std::max(at, i * 16)) +
               " is overwritten while a wgmma or bulk copy that has not been "
               "waited for reads it";
  if (!races)
    return {};
  uint32_t floor = chronology->floor(access.warp, access.lane);
  uint64_t newest = 0, newestRead = 0;
  for (uint32_t i = at; i < at + bytes; ++i) {
    newest = std::max(newest, writes[i]);
    newestRead = std::max({newestRead, firstReads[i], lastReads[i]});
  }
  if (writeEpoch(newest) > floor || access.async)
    for (uint32_t i = at; i < at + bytes; ++i)
      if (writes[i])
        if (std::string error = checkWriteStamp(access, i, true);
            !error.empty())
          return error;
  if (readEpoch(newestRead) > floor)
    for (uint32_t i = at; i < at + bytes; ++i)
      for (uint64_t stamp : {firstReads[i], lastReads[i]})
        if (readEpoch(stamp) > floor)
          for (uint32_t lanes = uint32_t(stamp); lanes; lanes &= lanes - 1) {
            uint32_t reader = readWarp(stamp) * 32 + std::countr_zero(lanes);
            if (!chronology->knows(access.warp, access.lane, reader,
                                   readEpoch(stamp)))
              return "race on shared byte " + std::to_string(i) +
                     ": this write is not ordered after a read of thread " +
                     std::to_string(reader);
          }
  uint64_t stamp =
      writeStamp(chronology->now(), access.line, access.warp * 32 + access.lane,
                 access.strong, access.async);
  std::fill_n(writes.begin() + at, bytes, stamp);
  return {};
}

void SharedShadow::setFlight(uint32_t at, uint32_t bytes, Flight flight) {
  std::fill_n(flights.begin() + at, bytes, flight);
}

void SharedShadow::land(uint32_t at, uint32_t bytes, uint32_t agent,
                        uint32_t epoch, unsigned line, bool async) {
  setFlight(at, bytes, None);
  std::fill_n(writes.begin() + at, bytes,
              writeStamp(epoch, line, agent, false, async));
}

void SharedShadow::addAsyncReader(uint32_t at, uint32_t bytes, int change) {
  for (uint32_t i = at / 16; i <= (at + bytes - 1) / 16; ++i) {
    asyncReaders[i] += change;
    asyncReaderCount += change;
  }
}
