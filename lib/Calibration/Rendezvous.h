//===- Rendezvous.h - Where the samples wait for each other -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H
#define QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

namespace quantopt {

/// Lets threads run, a few at a time, until each stands at a point or has
/// finished; then one thread, the conductor, serves the points where they
/// stand.
///
/// Threads are leaders or followers. Leaders decide which point is served;
/// followers, numbered after the leaders, wait for them there.
class Rendezvous {
public:
  /// `points` places to meet; threads of which `slots` may compute at a time.
  Rendezvous(unsigned points, unsigned leaders, unsigned followers,
             unsigned slots);

  /// Thread: waits for a slot, runs `body`, and is done.
  void participate(unsigned thread, const std::function<void()> &body);

  /// Thread, inside participate(): waits until the point is served. False if
  /// the run was stopped.
  bool meet(unsigned point, unsigned thread);

  /// Conductor: as soon as no thread can run any more, serves the lowest point
  /// where a leader stands. `serve` gets all threads that stand there, rising.
  /// Once it returns false nothing more is served. When all leaders have
  /// finished, followers pass every point. Returns whether all was served.
  using Serve =
      std::function<bool(unsigned point, const std::vector<unsigned> &threads)>;
  bool conduct(const Serve &serve);

  /// Whether the run was stopped.
  bool stopped();

private:
  enum class State { Running, Waiting, Finished };
  struct Thread {
    State state = State::Running;
    unsigned point = 0;
  };

  void takeSlot(std::unique_lock<std::mutex> &lock);
  void leaveSlot();
  unsigned lowestPoint() const;

  std::mutex mutex;
  std::condition_variable threadsChanged, pointsChanged, slotFree;
  std::vector<Thread> threads;
  std::vector<bool> served;
  unsigned leaders;
  unsigned freeSlots;
  unsigned running; ///< threads that are neither waiting nor finished
  bool failed = false;
};

} // namespace quantopt

#endif // QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H
