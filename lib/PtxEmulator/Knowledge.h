//===- Knowledge.h - What happens before what -------------------*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Time is counted in epochs: every synchronising operation ends one. An access
// is stamped with the epoch in which its thread did it. It happens before what
// thread t does now if t knows of it: by a barrier of the whole block
// (`floor`), by an operation of t's warp, or from the vector of all threads
// that other synchronisation hands on.
//
// The same is kept for the asynchronous proxy: which accesses a proxy fence
// lies behind. Beside the threads there is one agent more, the asynchronous
// engine, that bulk copies write as.
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_PTXEMULATOR_KNOWLEDGE_H
#define QUANTOPT_LIB_PTXEMULATOR_KNOWLEDGE_H

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace quantopt::ptx {

struct Knowledge {
  uint32_t floor = 0;         ///< epochs up to this one, of every agent
  std::vector<uint32_t> seen; ///< more, by agent; may be empty
  uint32_t proxyFloor = 0;    ///< the same for the asynchronous proxy
  std::vector<uint32_t> proxied;

  void join(const Knowledge &other);
  bool knows(uint32_t agent, uint32_t epoch) const {
    return epoch <= floor || (agent < seen.size() && epoch <= seen[agent]);
  }
  bool isProxied(uint32_t agent, uint32_t epoch) const {
    return epoch <= proxyFloor ||
           (agent < proxied.size() && epoch <= proxied[agent]);
  }
};

/// Who knows what in one block. A group of lanes is a warp and a mask.
class Chronology {
public:
  /// All threads know of everything that was before.
  void startBlock(unsigned threads, bool trackProxies);

  uint32_t now() const { return epoch; }
  uint32_t engine() const { return threads; }

  /// Whether thread `lane` of `warp` knows what `agent` did in epoch `when`.
  bool knows(unsigned warp, unsigned lane, uint32_t agent, uint32_t when) const;
  /// Epochs that the thread knows of every agent: a quick first answer.
  uint32_t floor(unsigned warp, unsigned lane) const {
    return warps[warp].lanes[lane]->floor;
  }
  bool isProxied(unsigned warp, unsigned lane, uint32_t agent,
                 uint32_t when) const {
    return warps[warp].lanes[lane]->isProxied(agent, when);
  }

  /// Orders these lanes with each other.
  void syncWarp(unsigned warp, uint32_t mask);
  /// Orders all threads of the block with each other.
  void syncBlock();
  /// Adds all that these lanes did and know to `to`.
  void release(unsigned warp, uint32_t mask, Knowledge &to);
  void acquire(unsigned warp, uint32_t mask, const Knowledge &from);
  /// fence.proxy.async: what these lanes did and know is now visible to the
  /// asynchronous proxy.
  void fenceProxy(unsigned warp, uint32_t mask);
  /// Ends the epoch.
  void advance();

private:
  using Pointer = std::shared_ptr<const Knowledge>;
  struct WarpClock {
    uint32_t synced = 0; ///< the last epoch before all lanes met
    std::array<Pointer, 32> lanes;
  };
  /// Calls function(pointer, lanes that have it) for each of them.
  template <typename FunctionT>
  void forEachShared(unsigned warp, uint32_t mask, FunctionT function);
  void addOwn(unsigned warp, uint32_t mask, std::vector<uint32_t> &to,
              uint32_t floor) const;
  uint32_t lanesOf(unsigned warp) const;

  unsigned threads = 0;
  bool trackProxies = false;
  uint32_t epoch = 1;
  std::vector<WarpClock> warps;
};

} // namespace quantopt::ptx

#endif // QUANTOPT_LIB_PTXEMULATOR_KNOWLEDGE_H
