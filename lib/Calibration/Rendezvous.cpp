//===- Rendezvous.cpp - Where the samples wait for each other -------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Rendezvous.h"

#include <algorithm>
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

Rendezvous::Rendezvous(unsigned points, unsigned leaders, unsigned followers,
                       unsigned slots)
    : threads(leaders + followers), served(points, false), leaders(leaders),
      freeSlots(slots), running(leaders + followers) {}

void Rendezvous::takeSlot(std::unique_lock<std::mutex> &lock) {
  slotFree.wait(lock, [&] { return freeSlots > 0; });
  --freeSlots;
}

void Rendezvous::leaveSlot() {
  ++freeSlots;
  slotFree.notify_one();
}

void Rendezvous::participate(unsigned thread,
                             const std::function<void()> &body) {
  std::unique_lock<std::mutex> lock(mutex);
  takeSlot(lock);
  lock.unlock();
  body();
  lock.lock();
  leaveSlot();
  threads[thread].state = State::Finished;
  --running;
  threadsChanged.notify_one();
}

bool Rendezvous::meet(unsigned point, unsigned thread) {
  std::unique_lock<std::mutex> lock(mutex);
  if (!served[point] && !failed) {
    threads[thread] = {State::Waiting, point};
    --running;
    leaveSlot();
    threadsChanged.notify_one();
    // The conductor marks the thread as running again, so that it cannot take
    // one that has not woken yet for one that stands still.
    pointsChanged.wait(lock,
                       [&] { return threads[thread].state == State::Running; });
    takeSlot(lock);
  }
  return !failed;
}

bool Rendezvous::stopped() {
  std::lock_guard<std::mutex> lock(mutex);
  return failed;
}

/// The lowest point where a leader stands; served.size() if none does.
unsigned Rendezvous::lowestPoint() const {
  unsigned point = served.size();
  for (unsigned i = 0; i < leaders; ++i)
    if (threads[i].state == State::Waiting)
      point = std::min(point, threads[i].point);
  return point;
}

bool Rendezvous::conduct(const Serve &serve) {
  [[maybe_unused]] SleepingWorkers whileSamplesRun;
  std::unique_lock<std::mutex> lock(mutex);
  while (true) {
    threadsChanged.wait(lock, [&] { return running == 0; });
    auto isWaiting = [](const Thread &thread) {
      return thread.state == State::Waiting;
    };
    if (std::none_of(threads.begin(), threads.end(), isWaiting))
      return !failed; // all have finished
    unsigned point = lowestPoint();
    bool led = point < served.size();
    if (led && !failed) {
      std::vector<unsigned> present;
      for (unsigned i = 0; i < threads.size(); ++i)
        if (isWaiting(threads[i]) && threads[i].point == point)
          present.push_back(i);
      lock.unlock();
      bool ok = serve(point, present);
      lock.lock();
      failed = !ok;
    }
    if (led)
      served[point] = true;
    else
      served.assign(served.size(), true);
    for (Thread &thread : threads)
      if (isWaiting(thread) && (served[thread.point] || failed)) {
        thread.state = State::Running;
        ++running;
      }
    pointsChanged.notify_all();
  }
}

} // namespace quantopt
