//===- Rendezvous.h - Where the samples wait for each other -----*- C++ -*-===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#ifndef QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H
#define QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H

#include "quantopt/Runtime/Matrix.h"

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

namespace quantopt {

/// Lets the threads of all samples run, a few at a time, until each stands at a
/// point or has finished; then one thread, the conductor, serves the points
/// where they stand.
class Rendezvous {
public:
  /// `points` places to meet, `samples` threads of which `slots` may compute.
  Rendezvous(unsigned points, unsigned samples, unsigned slots);

  /// Sample thread: waits for a slot, runs `body`, and is done.
  void participate(unsigned sample, const std::function<void()> &body);

  /// Sample thread, inside participate(): waits until the point is served.
  /// False if the run was stopped.
  bool meet(unsigned point, unsigned sample, MatrixRef input);

  /// Conductor: serves every point as soon as no sample can run any more, the
  /// lowest first. `serve` gets the inputs of those that stand there, by
  /// sample. Once it returns false nothing more is served. Returns whether all
  /// was.
  using Serve =
      std::function<bool(unsigned point, std::vector<MatrixRef> inputs)>;
  bool conduct(const Serve &serve);

  /// Whether the run was stopped.
  bool stopped();

private:
  enum class State { Running, Waiting, Finished };
  struct Sample {
    State state = State::Running;
    unsigned point = 0;
    MatrixRef input;
  };

  void takeSlot(std::unique_lock<std::mutex> &lock);
  void leaveSlot();

  std::mutex mutex;
  std::condition_variable samplesChanged, pointsChanged, slotFree;
  std::vector<Sample> samples;
  std::vector<bool> served;
  unsigned freeSlots;
  unsigned running; ///< samples that are neither waiting nor finished
  bool failed = false;
};

} // namespace quantopt

#endif // QUANTOPT_LIB_CALIBRATION_RENDEZVOUS_H
