//===- Scheduler.cpp - Who runs next --------------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Scheduler.h"

#include "Warpgroup.h"

#include <algorithm>
#include <cstring>

using namespace quantopt::ptx;

static constexpr uint32_t kGreedyTurn = 1u << 16;
static constexpr uint32_t kFairTurn = 24;
/// How often all polls may fail in a row before it is a deadlock.
static constexpr unsigned kIdleRounds = 64;

static bool hasReady(const Warp &warp) {
  for (const Group &group : warp.groups)
    if (group.state == Group::Ready)
      return true;
  return false;
}

Warp *Scheduler::pickWarp() {
  unsigned count = block.warps.size();
  switch (machine.options.schedule) {
  case Schedule::Greedy:
    // The lowest that can; after a turn that ran out, the next.
    for (unsigned i = 0; i < count; ++i)
      if (Warp &warp = *block.warps[expired ? (last + 1 + i) % count : i];
          hasReady(warp))
        return &warp;
    return nullptr;
  case Schedule::RoundRobin:
    for (unsigned i = 1; i <= count; ++i)
      if (Warp &warp = *block.warps[(last + i) % count]; hasReady(warp))
        return &warp;
    return nullptr;
  case Schedule::Random: {
    unsigned begin = machine.random() % count;
    for (unsigned i = 0; i < count; ++i)
      if (Warp &warp = *block.warps[(begin + i) % count]; hasReady(warp))
        return &warp;
    return nullptr;
  }
  }
  return nullptr;
}

size_t Scheduler::pickGroup(Warp &warp, bool &stay) {
  auto &groups = warp.groups;
  bool random = machine.options.schedule == Schedule::Random;
  stay = random || turns % 8 == 7;
  size_t best = groups.size();
  if (stay) {
    size_t begin = (random ? machine.random() : turns / 8) % groups.size();
    for (size_t i = 0; i < groups.size() && best == groups.size(); ++i)
      if (groups[(begin + i) % groups.size()].state == Group::Ready)
        best = (begin + i) % groups.size();
    // Independent thread scheduling may part lanes at any time.
    uint32_t mask = groups[best].mask;
    if (random && machine.random() % 64 == 0 && (mask & (mask - 1))) {
      uint32_t part = mask & uint32_t(machine.random());
      if (part && part != mask) {
        Group other = groups[best];
        other.mask = mask & ~part;
        groups[best].mask = part;
        groups.push_back(other);
      }
    }
    return best;
  }
  for (size_t i = 0; i < groups.size(); ++i)
    if (groups[i].state == Group::Ready &&
        (best == groups.size() || groups[i].pc < groups[best].pc))
      best = i;
  return best;
}

void Scheduler::run() {
  while (!machine.error) {
    Warp *warp = pickWarp();
    if (!warp) {
      bool done =
          std::all_of(block.warps.begin(), block.warps.end(),
                      [](const auto &one) { return one->groups.empty(); });
      if (done)
        return;
      if (!repoll())
        return reportDeadlock();
      continue;
    }
    ++turns;
    bool stay = false;
    size_t group = pickGroup(*warp, stay);
    uint32_t budget = kFairTurn;
    if (machine.options.schedule == Schedule::Greedy)
      budget = stay ? kFairTurn : kGreedyTurn;
    else if (machine.options.schedule == Schedule::Random)
      budget = 1 + machine.random() % 64;
    last = warp->index;
    runGroup(*warp, group, budget, stay);
    if (seenProgress != block.progress)
      wakePolls();
  }
}

/// Groups that stand at the same instruction go on together.
void Scheduler::absorb(Warp &warp, Group &group) {
  for (size_t i = 0; i < warp.groups.size();) {
    Group &other = warp.groups[i];
    if (other.pc == group.pc && other.frame == group.frame &&
        (other.state == Group::Ready || other.state == Group::WarpSync ||
         other.state == Group::WarpBarrier)) {
      group.mask |= other.mask;
      other = warp.groups.back();
      warp.groups.pop_back();
    } else {
      ++i;
    }
  }
}

void Scheduler::splitOff(Warp &warp, Group &group, uint32_t mask, uint32_t pc) {
  Group other = group;
  other.mask = mask;
  other.pc = pc;
  group.mask &= ~mask;
  warp.groups.push_back(other);
}

void Scheduler::runGroup(Warp &warp, size_t index, uint32_t budget, bool stay) {
  Group group = warp.groups[index];
  warp.groups[index] = warp.groups.back();
  warp.groups.pop_back();
  expired = false;
  const Instr *code = program.code.data();
  while (true) {
    if (!warp.groups.empty()) {
      absorb(warp, group);
      if (!stay)
        for (const Group &other : warp.groups)
          if (other.state == Group::Ready && other.pc < group.pc) {
            warp.groups.push_back(group);
            return;
          }
    }
    const Instr &instr = code[group.pc];
    if (budget-- == 0) {
      expired = true;
      warp.groups.push_back(group);
      return;
    }
    machine.instructions += std::popcount(group.mask);
    if (machine.instructions > machine.options.maxInstructions)
      return warp.fail(instr, std::countr_zero(group.mask),
                       "endless loop: more than " +
                           std::to_string(machine.options.maxInstructions) +
                           " instructions of all threads");
    uint32_t mask = group.mask;
    if (!instr.guard.isSink()) {
      if (!warp.require(instr, mask, instr.guard, "a guard"))
        return;
      mask &= warp.predicate(instr.guard);
      if (!mask) {
        ++group.pc;
        continue;
      }
    }
    if (warp.warpgroup.any()) {
      RegisterUse use = checkPendingRegisters(warp, instr, mask);
      if (use == RegisterUse::Wrong)
        return;
      if (use == RegisterUse::Deferred) {
        ++group.pc;
        continue;
      }
    }
    if (instr.flow == Flow::Plain) {
      instr.execute(warp, instr, mask);
      if (machine.error)
        return;
      ++group.pc;
      continue;
    }
    if (mask != group.mask) {
      splitOff(warp, group, group.mask & ~mask, group.pc + 1);
    }
    if (control(warp, group, instr, mask) == Then::Stop || machine.error)
      return;
  }
}

Scheduler::Then Scheduler::wait(Warp &warp, Group &group, Group::State state) {
  group.state = state;
  warp.groups.push_back(group);
  return Then::Stop;
}

Scheduler::Then Scheduler::control(Warp &warp, Group &group, const Instr &instr,
                                   uint32_t mask) {
  switch (instr.flow) {
  case Flow::Branch:
    group.pc = instr.target;
    return Then::GoOn;
  case Flow::IndexBranch:
    return indexBranch(warp, group, instr);
  case Flow::Call:
    doCall(warp, group, instr);
    return Then::GoOn;
  case Flow::Return:
    return group.frame == 0 ? leave(warp, group) : doReturn(warp, group);
  case Flow::Exit:
    return leave(warp, group);
  case Flow::WarpSync:
  case Flow::WarpBarrier:
    return warpSync(warp, group, instr);
  case Flow::Warpgroup:
    return warpgroup(warp, group, instr);
  case Flow::Barrier:
    return barrier(warp, group, instr);
  case Flow::Poll:
    return poll(warp, group, instr);
  case Flow::Yield:
    if (instr.execute)
      instr.execute(warp, instr, mask);
    ++group.pc;
    expired = true;
    warp.groups.push_back(group);
    return Then::Stop;
  case Flow::Plain:
    break;
  }
  return Then::GoOn;
}

//===----------------------------------------------------------------------===//
// Control flow
//===----------------------------------------------------------------------===//

Scheduler::Then Scheduler::leave(Warp &warp, Group &group) {
  const Instr &instr = program.code[group.pc];
  unsigned first = std::countr_zero(group.mask);
  if (warp.warpgroup.any())
    warp.fail(instr, first,
              "the thread exits before its wgmma have been waited for");
  for (uint32_t rest = group.mask; rest; rest &= rest - 1) {
    LaneCopies &copies = warp.copies[std::countr_zero(rest)];
    if (!copies.bulk.empty())
      warp.fail(instr, std::countr_zero(rest),
                "the thread exits before its bulk copies out of shared memory "
                "have been waited "
                "for");
  }
  warp.exited |= group.mask;
  ++block.progress;
  // Those who wait for a mask that named these lanes need them no more.
  for (Group &other : warp.groups)
    if (other.state == Group::WarpSync || other.state == Group::WarpBarrier)
      other.state = Group::Ready;
  return Then::Stop;
}

void Scheduler::doCall(Warp &warp, Group &group, const Instr &instr) {
  const CallSite &site = program.calls[instr.target];
  for (uint32_t rest = group.mask; rest; rest &= rest - 1) {
    uint8_t *local =
        warp.local.data() + size_t(std::countr_zero(rest)) * warp.localBytes;
    for (const CallCopy &copy : site.arguments)
      std::memmove(local + copy.to, local + copy.from, copy.size);
  }
  group.frame = machine.frame({group.frame, group.pc + 1, instr.target});
  group.pc = program.functions[site.function].begin;
}

Scheduler::Then Scheduler::doReturn(Warp &warp, Group &group) {
  const Machine::Frame frame = machine.frames[group.frame];
  for (uint32_t rest = group.mask; rest; rest &= rest - 1) {
    uint8_t *local =
        warp.local.data() + size_t(std::countr_zero(rest)) * warp.localBytes;
    for (const CallCopy &copy : program.calls[frame.call].results)
      std::memmove(local + copy.to, local + copy.from, copy.size);
  }
  group.frame = frame.parent;
  group.pc = frame.returnTo;
  return Then::GoOn;
}

Scheduler::Then Scheduler::indexBranch(Warp &warp, Group &group,
                                       const Instr &instr) {
  if (!warp.require(instr, group.mask, instr.src[0], "a branch index"))
    return Then::Stop;
  uint32_t pc = group.pc, mask = group.mask;
  bool isFirst = true;
  while (mask) {
    unsigned first = std::countr_zero(mask);
    uint32_t index = warp.read<uint32_t>(instr.src[0])[first];
    if (index >= instr.targetCount) {
      warp.fail(instr, first,
                "branch index " + std::to_string(index) + " of " +
                    std::to_string(instr.targetCount));
      return Then::Stop;
    }
    uint32_t same = 0;
    for (uint32_t rest = mask; rest; rest &= rest - 1)
      if (warp.read<uint32_t>(instr.src[0])[std::countr_zero(rest)] == index)
        same |= rest & -rest;
    uint32_t target = program.targets[instr.target + index];
    if (isFirst)
      pc = target;
    else
      splitOff(warp, group, same, target);
    isFirst = false;
    mask &= ~same;
  }
  group.pc = pc;
  return Then::GoOn;
}

//===----------------------------------------------------------------------===//
// Waiting
//===----------------------------------------------------------------------===//

Scheduler::Then Scheduler::warpSync(Warp &warp, Group &group,
                                    const Instr &instr) {
  const Ref memberRef = instr.src[4];
  uint32_t todo = group.mask;
  if (!memberRef.isSink() &&
      !warp.require(instr, todo, memberRef, "a member mask"))
    return Then::Stop;
  // Lanes may name different masks; each of these is an operation of its own.
  while (todo) {
    uint32_t same = todo, required = ~0u;
    if (!memberRef.isSink()) {
      const uint32_t *masks = warp.read<uint32_t>(memberRef);
      uint32_t members = masks[std::countr_zero(todo)];
      same = 0;
      for (uint32_t rest = todo; rest; rest &= rest - 1)
        if (masks[std::countr_zero(rest)] == members)
          same |= rest & -rest;
      if (same & ~members) {
        warp.fail(instr, std::countr_zero(same & ~members),
                  "the lane is not in the mask that it names");
        return Then::Stop;
      }
      required = members & ~warp.exited;
    }
    uint32_t present = same;
    if (instr.flow == Flow::WarpBarrier)
      for (const Group &other : warp.groups)
        if (other.state == Group::WarpBarrier)
          present |= other.mask;
    if ((required & ~present) == 0) {
      uint32_t members = same;
      if (instr.flow == Flow::WarpBarrier) {
        members = required;
        for (Group &other : warp.groups)
          if (other.state == Group::WarpBarrier && (other.mask & required)) {
            other.state = Group::Ready;
            ++other.pc;
          }
      }
      if (machine.options.checkRaces)
        block.chronology.syncWarp(warp.index, members);
      if (same != group.mask)
        splitOff(warp, group, group.mask & ~same, group.pc);
      if (instr.execute)
        instr.execute(warp, instr, same);
      ++group.pc;
      return Then::GoOn;
    }
    todo &= ~same;
  }
  return wait(warp, group,
              instr.flow == Flow::WarpBarrier ? Group::WarpBarrier
                                              : Group::WarpSync);
}

Scheduler::Then Scheduler::warpgroup(Warp &warp, Group &group,
                                     const Instr &instr) {
  if (group.mask != ~0u)
    return wait(warp, group, Group::WarpSync);
  unsigned begin = warp.index / 4 * 4;
  if (block.warps.size() < begin + 4) {
    warp.fail(instr, 0, "a warpgroup of fewer than 4 warps");
    return Then::Stop;
  }
  for (unsigned i = begin; i < begin + 4; ++i) {
    Warp &other = *block.warps[i];
    if (&other == &warp)
      continue;
    if (other.groups.size() != 1 || other.groups[0].state != Group::Warpgroup ||
        other.groups[0].pc != group.pc)
      return wait(warp, group, Group::Warpgroup);
  }
  for (unsigned i = begin; i < begin + 4; ++i) {
    Warp &other = *block.warps[i];
    if (machine.options.checkRaces)
      block.chronology.syncWarp(i, ~0u);
    instr.execute(other, instr, ~0u);
    if (&other != &warp) {
      other.groups[0].state = Group::Ready;
      ++other.groups[0].pc;
    }
  }
  ++group.pc;
  return Then::GoOn;
}

// mode[0]: 0 sync, 1 arrive, 2 popc, 3 and, 4 or; mode[1]: aligned.
Scheduler::Then Scheduler::barrier(Warp &warp, Group &group,
                                   const Instr &instr) {
  bool aligned = instr.mode[1], arrives = instr.mode[0] == 1;
  if (aligned && group.mask != warp.lanes)
    return wait(warp, group, Group::WarpSync);
  unsigned first = std::countr_zero(group.mask);
  uint64_t id = warp.value(instr.src[0], first);
  bool counted = !instr.src[1].isSink();
  uint64_t expected = counted ? warp.value(instr.src[1], first) : block.threads;
  if (id >= 16 ||
      (counted && (expected == 0 || expected % kWarp || expected > 1024))) {
    warp.fail(instr, first,
              "barrier " + std::to_string(id) + " of " +
                  std::to_string(expected) + " threads");
    return Then::Stop;
  }
  NamedBarrier &barrier = block.barriers[id];
  if (barrier.expected && barrier.expected != expected) {
    warp.fail(instr, first,
              "barrier " + std::to_string(id) + " of " +
                  std::to_string(expected) +
                  " threads, while others wait there for " +
                  std::to_string(barrier.expected));
    return Then::Stop;
  }
  barrier.expected = expected;
  barrier.arrived += counted && aligned ? kWarp : std::popcount(group.mask);
  if (arrives || expected < block.threads)
    barrier.partial = true;
  if (arrives && machine.options.checkRaces)
    block.chronology.release(warp.index, group.mask, barrier.knowledge);
  if (instr.mode[0] >= 2) {
    uint32_t votes = warp.predicate(instr.src[2]) & group.mask;
    barrier.votes += std::popcount(votes);
    barrier.voters += std::popcount(group.mask);
  }
  if (arrives) {
    ++group.pc;
    if (barrier.arrived >= expected)
      completeBarrier(id);
    return Then::GoOn;
  }
  group.barrier = id;
  wait(warp, group, Group::Barrier);
  if (barrier.arrived >= expected)
    completeBarrier(id);
  return Then::Stop;
}

void Scheduler::completeBarrier(uint32_t id) {
  NamedBarrier &barrier = block.barriers[id];
  if (barrier.arrived > barrier.expected) {
    machine.error = Error{
        "barrier " + std::to_string(id) + " of " +
            std::to_string(barrier.expected) + " threads is reached by " +
            std::to_string(barrier.arrived) + " - kernel " + machine.entry.name,
        0};
    return;
  }
  auto forEachWaiting = [&](auto function) {
    for (auto &warp : block.warps)
      for (Group &group : warp->groups)
        if (group.state == Group::Barrier && group.barrier == id)
          function(*warp, group);
  };
  if (machine.options.checkRaces) {
    if (barrier.partial) {
      forEachWaiting([&](Warp &warp, Group &group) {
        block.chronology.release(warp.index, group.mask, barrier.knowledge);
      });
      forEachWaiting([&](Warp &warp, Group &group) {
        block.chronology.acquire(warp.index, group.mask, barrier.knowledge);
      });
    } else {
      block.chronology.syncBlock();
    }
  }
  forEachWaiting([&](Warp &warp, Group &group) {
    const Instr &instr = program.code[group.pc];
    if (instr.mode[0] == 2) {
      uint32_t *to = warp.write<uint32_t>(instr.dst);
      for (uint32_t rest = group.mask; rest; rest &= rest - 1)
        to[std::countr_zero(rest)] = barrier.votes;
      warp.define(instr.dst, group.mask);
    } else if (instr.mode[0] > 2) {
      bool result = instr.mode[0] == 3 ? barrier.votes == barrier.voters
                                       : barrier.votes != 0;
      warp.setPredicate(instr.dst, group.mask, result ? ~0u : 0);
    }
    group.state = Group::Ready;
    ++group.pc;
  });
  barrier = NamedBarrier();
  ++block.progress;
}

/// The instruction's own code leaves the lanes whose phase is not complete in
/// Warp::pollFailed. The first time, the program sees that it failed, for it
/// may not ask again; when it does, it waits.
Scheduler::Then Scheduler::poll(Warp &warp, Group &group, const Instr &instr) {
  instr.execute(warp, instr, group.mask);
  if (machine.error)
    return Then::Stop;
  uint32_t failed = warp.pollFailed;
  bool again = group.failedPoll == group.pc && !group.pollAgain;
  group.pollAgain = false;
  if (failed && again) {
    Group waiting = group;
    waiting.mask = failed;
    waiting.state = Group::Poll;
    warp.groups.push_back(waiting);
    group.mask &= ~failed;
    if (!group.mask)
      return Then::Stop;
    failed = 0;
  }
  group.failedPoll = failed ? group.pc : kNone;
  ++group.pc;
  return Then::GoOn;
}

void Scheduler::wakePolls() {
  seenProgress = block.progress;
  idleRounds = 0;
  for (auto &warp : block.warps)
    for (Group &group : warp->groups)
      if (group.state == Group::Poll)
        group.state = Group::Ready;
}

/// Nobody can run: lets those who poll see that they failed, in case they do
/// something else then.
bool Scheduler::repoll() {
  bool any = false;
  if (++idleRounds > kIdleRounds)
    return false;
  for (auto &warp : block.warps)
    for (Group &group : warp->groups)
      if (group.state == Group::Poll) {
        group.state = Group::Ready;
        group.pollAgain = any = true;
      }
  return any;
}

static std::string lanesText(uint32_t mask) {
  std::string text;
  for (unsigned lane = 0; lane < kWarp;) {
    if (!(mask >> lane & 1)) {
      ++lane;
      continue;
    }
    unsigned end = lane;
    while (end + 1 < kWarp && (mask >> (end + 1) & 1))
      ++end;
    text += (text.empty() ? "" : ",") + std::to_string(lane);
    if (end > lane)
      text += "-" + std::to_string(end);
    lane = end + 1;
  }
  return text;
}

void Scheduler::reportDeadlock() {
  std::string text = "deadlock: no thread can go on";
  unsigned listed = 0, line = 0;
  std::string exited;
  for (auto &warp : block.warps) {
    for (const Group &group : warp->groups) {
      const Instr &instr = program.code[group.pc];
      if (!line)
        line = instr.line;
      if (++listed > 12)
        continue;
      std::string what =
          instr.line ? program.lines[instr.line - 1] : std::string();
      what.erase(0, what.find_first_not_of(" \t"));
      text += "; warp " + std::to_string(warp->index) + " lanes " +
              lanesText(group.mask) + " wait at line " +
              std::to_string(instr.line) + ": " + what;
    }
    if (uint32_t gone = warp->exited & warp->lanes)
      exited += "; warp " + std::to_string(warp->index) + " lanes " +
                lanesText(gone) + " have exited";
  }
  if (listed > 12)
    text += "; and " + std::to_string(listed - 12) + " groups more";
  if (exited.size() < 400)
    text += exited;
  Dim3 id = block.id;
  text += " - kernel " + machine.entry.name + ", block (" +
          std::to_string(id.x) + "," + std::to_string(id.y) + "," +
          std::to_string(id.z) + ")";
  machine.error = Error{text, line};
}

void Block::run() { Scheduler(*this).run(); }
