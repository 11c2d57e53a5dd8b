//===- Knowledge.cpp - What happens before what ---------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Knowledge.h"

#include "SharedShadow.h"

#include <algorithm>
#include <bit>

using namespace quantopt::ptx;

static void joinVector(std::vector<uint32_t> &to,
                       const std::vector<uint32_t> &from) {
  if (to.size() < from.size())
    to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = std::max(to[i], from[i]);
}

void Knowledge::join(const Knowledge &other) {
  floor = std::max(floor, other.floor);
  proxyFloor = std::max(proxyFloor, other.proxyFloor);
  joinVector(seen, other.seen);
  joinVector(proxied, other.proxied);
}

void Chronology::startBlock(unsigned count, bool proxies) {
  threads = count;
  trackProxies = proxies;
  auto all = std::make_shared<Knowledge>();
  all->floor = all->proxyFloor = epoch;
  advance();
  warps.assign((threads + 31) / 32, WarpClock());
  for (WarpClock &warp : warps)
    warp.lanes.fill(all);
}

void Chronology::advance() {
  // With no epochs left, later races are overlooked; no launch comes near.
  if (epoch < kLastEpoch)
    ++epoch;
}

uint32_t Chronology::lanesOf(unsigned warp) const {
  unsigned count = std::min(32u, threads - warp * 32);
  return count == 32 ? ~0u : (1u << count) - 1;
}

bool Chronology::knows(unsigned warp, unsigned lane, uint32_t agent,
                       uint32_t when) const {
  const WarpClock &clock = warps[warp];
  if (agent / 32 == warp && (agent % 32 == lane || when <= clock.synced) &&
      agent != threads)
    return true;
  return clock.lanes[lane]->knows(agent, when);
}

template <typename FunctionT>
void Chronology::forEachShared(unsigned warp, uint32_t mask,
                               FunctionT function) {
  auto &lanes = warps[warp].lanes;
  while (mask) {
    Pointer pointer = lanes[std::countr_zero(mask)];
    uint32_t same = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      if (lanes[std::countr_zero(rest)] == pointer)
        same |= rest & -rest;
    function(pointer, same);
    mask &= ~same;
  }
}

/// What lanes of `mask` know of their own warp.
void Chronology::addOwn(unsigned warp, uint32_t mask, std::vector<uint32_t> &to,
                        uint32_t floor) const {
  if (epoch <= floor)
    return;
  to.resize(threads + 1);
  for (uint32_t lanes = lanesOf(warp); lanes; lanes &= lanes - 1) {
    unsigned lane = std::countr_zero(lanes);
    uint32_t known = mask >> lane & 1 ? epoch : warps[warp].synced;
    to[warp * 32 + lane] = std::max(to[warp * 32 + lane], known);
  }
}

void Chronology::syncWarp(unsigned warp, uint32_t mask) {
  WarpClock &clock = warps[warp];
  bool whole = mask == lanesOf(warp);
  unsigned first = std::countr_zero(mask);
  bool same = true;
  for (uint32_t rest = mask; rest; rest &= rest - 1)
    same &= clock.lanes[std::countr_zero(rest)] == clock.lanes[first];
  if (!same || !whole) {
    auto joined = std::make_shared<Knowledge>();
    forEachShared(warp, mask, [&](const Pointer &pointer, uint32_t) {
      joined->join(*pointer);
    });
    if (!whole)
      addOwn(warp, mask, joined->seen, joined->floor);
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      clock.lanes[std::countr_zero(rest)] = joined;
  }
  if (whole)
    clock.synced = epoch;
  advance();
}

void Chronology::syncBlock() {
  auto all = std::make_shared<Knowledge>();
  all->floor = epoch;
  if (trackProxies) {
    // The same few vectors are shared by many lanes.
    const Knowledge *last = nullptr;
    for (unsigned warp = 0; warp < warps.size(); ++warp)
      for (uint32_t lanes = lanesOf(warp); lanes; lanes &= lanes - 1)
        if (const Knowledge *one =
                warps[warp].lanes[std::countr_zero(lanes)].get();
            one != last) {
          last = one;
          all->proxyFloor = std::max(all->proxyFloor, one->proxyFloor);
          joinVector(all->proxied, one->proxied);
        }
  }
  for (WarpClock &warp : warps) {
    warp.lanes.fill(all);
    warp.synced = epoch;
  }
  advance();
}

void Chronology::release(unsigned warp, uint32_t mask, Knowledge &to) {
  forEachShared(warp, mask,
                [&](const Pointer &pointer, uint32_t) { to.join(*pointer); });
  addOwn(warp, mask, to.seen, to.floor);
  advance();
}

void Chronology::acquire(unsigned warp, uint32_t mask, const Knowledge &from) {
  forEachShared(warp, mask, [&](const Pointer &pointer, uint32_t lanes) {
    auto joined = std::make_shared<Knowledge>(*pointer);
    joined->join(from);
    for (; lanes; lanes &= lanes - 1)
      warps[warp].lanes[std::countr_zero(lanes)] = joined;
  });
}

void Chronology::fenceProxy(unsigned warp, uint32_t mask) {
  if (!trackProxies)
    return;
  // Own accesses of all the lanes together: one lane's access that another has
  // fenced is a race unless they are ordered, and that is found as such.
  forEachShared(warp, mask, [&](const Pointer &pointer, uint32_t lanes) {
    auto fenced = std::make_shared<Knowledge>(*pointer);
    fenced->proxyFloor = std::max(fenced->proxyFloor, fenced->floor);
    joinVector(fenced->proxied, fenced->seen);
    addOwn(warp, mask, fenced->proxied, fenced->proxyFloor);
    for (; lanes; lanes &= lanes - 1)
      warps[warp].lanes[std::countr_zero(lanes)] = fenced;
  });
  advance();
}
