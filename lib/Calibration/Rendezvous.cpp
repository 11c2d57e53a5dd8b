//===- Rendezvous.cpp - Where the samples wait for each other -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rendezvous.h"

#include <omp.h>

namespace quantopt {

namespace {
/// While it lives, the OpenMP workers of the calling thread sleep as soon as
/// they have nothing to do. By default they spin for a while: between two
/// points that takes the processor from the samples.
class SleepingWorkers {
public:
#ifdef KMP_VERSION_MAJOR // of LLVM's OpenMP runtime, which alone can be asked
  SleepingWorkers() : before(kmp_get_blocktime()) { kmp_set_blocktime(0); }
  ~SleepingWorkers() { kmp_set_blocktime(before); }
  SleepingWorkers(const SleepingWorkers &) = delete;
  SleepingWorkers &operator=(const SleepingWorkers &) = delete;

private:
  int before;
#endif
};
} // namespace

Rendezvous::Rendezvous(unsigned points, unsigned numSamples, unsigned slots)
    : samples(numSamples), served(points, false), freeSlots(slots),
      running(numSamples) {}

void Rendezvous::takeSlot(std::unique_lock<std::mutex> &lock) {
  slotFree.wait(lock, [&] { return freeSlots > 0; });
  --freeSlots;
}

void Rendezvous::leaveSlot() {
  ++freeSlots;
  slotFree.notify_one();
}

void Rendezvous::participate(unsigned sample,
                             const std::function<void()> &body) {
  std::unique_lock<std::mutex> lock(mutex);
  takeSlot(lock);
  lock.unlock();
  body();
  lock.lock();
  leaveSlot();
  samples[sample].state = State::Finished;
  --running;
  samplesChanged.notify_one();
}

bool Rendezvous::meet(unsigned point, unsigned sample, MatrixRef input) {
  std::unique_lock<std::mutex> lock(mutex);
  if (!served[point] && !failed) {
    samples[sample] = {State::Waiting, point, input};
    --running;
    leaveSlot();
    samplesChanged.notify_one();
    // The conductor marks the sample as running again, so that it cannot take
    // a sample that has not woken yet for one that stands still.
    pointsChanged.wait(lock,
                       [&] { return samples[sample].state == State::Running; });
    takeSlot(lock);
  }
  return !failed;
}

bool Rendezvous::stopped() {
  std::lock_guard<std::mutex> lock(mutex);
  return failed;
}

bool Rendezvous::conduct(const Serve &serve) {
  [[maybe_unused]] SleepingWorkers whileSamplesRun;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    samplesChanged.wait(lock, [&] { return running == 0; });
    unsigned point = served.size();
    for (const Sample &sample : samples)
      if (sample.state == State::Waiting)
        point = std::min(point, sample.point);
    if (point == served.size())
      return !failed; // all have finished
    if (!failed) {
      std::vector<MatrixRef> inputs;
      for (const Sample &sample : samples)
        if (sample.state == State::Waiting && sample.point == point)
          inputs.push_back(sample.input);
      lock.unlock();
      bool ok = serve(point, std::move(inputs));
      lock.lock();
      failed = !ok;
    }
    served[point] = true;
    for (Sample &sample : samples)
      if (sample.state == State::Waiting && (sample.point == point || failed)) {
        sample.state = State::Running;
        ++running;
      }
    pointsChanged.notify_all();
  }
}

} // namespace quantopt
