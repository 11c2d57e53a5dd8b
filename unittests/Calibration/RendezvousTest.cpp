//===- RendezvousTest.cpp - Tests of the meeting of samples ---------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// What holds whatever the threads do: every point that a leader reaches is
// served once, with all that stand there, in the order of the samples; nobody
// passes a point before it is served; no more compute than there are slots.
//
//===----------------------------------------------------------------------===//

#include "../../lib/Calibration/Rendezvous.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <thread>

using namespace quantopt;

namespace {

/// The points that each sample meets, in its order.
using Routes = std::vector<std::vector<unsigned>>;

struct Outcome {
  bool conducted = false;
  std::vector<unsigned> order;                ///< points as they were served
  std::vector<std::vector<unsigned>> present; ///< samples there, by point
  std::vector<std::vector<bool>> passed;      ///< by sample and stop
  int mostComputing = 0;
};

void pauseAWhile(std::mt19937 &random) {
  if (random() % 4 == 0)
    std::this_thread::sleep_for(std::chrono::microseconds(random() % 200));
}

/// Sends samples along `routes`, the last `followers` of them as followers;
/// serving `failing` fails.
Outcome travel(const Routes &routes, unsigned points, unsigned slots,
               unsigned seed, int failing = -1, unsigned followers = 0) {
  Outcome outcome;
  outcome.present.resize(points);
  outcome.passed.resize(routes.size());
  std::vector<std::atomic<bool>> served(points);
  std::atomic<int> computing = 0, most = 0;
  Rendezvous rendezvous(points, routes.size() - followers, followers, slots);
  std::atomic<unsigned> leadersLeft = routes.size() - followers;
  std::vector<unsigned> marks(routes.size());
  auto enter = [&] {
    int now = ++computing, before = most;
    while (before < now && !most.compare_exchange_weak(before, now))
      ;
  };

  std::vector<std::thread> threads;
  for (unsigned sample = 0; sample < routes.size(); ++sample)
    threads.emplace_back([&, sample] {
      std::mt19937 random(seed * 1000 + sample);
      pauseAWhile(random);
      rendezvous.participate(sample, [&] {
        enter();
        for (unsigned point : routes[sample]) {
          pauseAWhile(random);
          marks[sample] = point;
          --computing;
          bool goesOn = rendezvous.meet(point, sample);
          enter();
          outcome.passed[sample].push_back(goesOn);
          EXPECT_TRUE(served[point] || !goesOn || leadersLeft == 0)
              << "passed before it is served";
          if (!goesOn)
            break;
        }
        leadersLeft -= sample < routes.size() - followers;
        --computing;
      });
    });

  outcome.conducted = rendezvous.conduct(
      [&](unsigned point, const std::vector<unsigned> &present) {
        EXPECT_EQ(computing, 0) << "a sample computes while a point is served";
        EXPECT_FALSE(served[point]) << "served twice";
        outcome.order.push_back(point);
        // What the sample wrote before it came is seen here.
        for (unsigned sample : present)
          EXPECT_EQ(marks[sample], point);
        outcome.present[point] = present;
        served[point] = true;
        return static_cast<int>(point) != failing;
      });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(rendezvous.stopped(), !outcome.conducted);
  outcome.mostComputing = most;
  return outcome;
}

/// What the rules say about `routes`, step by step.
Outcome expected(const Routes &routes, unsigned points,
                 unsigned followers = 0) {
  Outcome outcome;
  outcome.conducted = true;
  outcome.present.resize(points);
  std::vector<size_t> at(routes.size(), 0);
  std::vector<bool> served(points, false);
  while (true) {
    unsigned lowest = points;
    for (size_t sample = 0; sample < routes.size(); ++sample) {
      const std::vector<unsigned> &route = routes[sample];
      while (at[sample] < route.size() && served[route[at[sample]]])
        ++at[sample];
      if (at[sample] < route.size() && sample < routes.size() - followers)
        lowest = std::min(lowest, route[at[sample]]);
    }
    if (lowest == points)
      return outcome;
    for (unsigned sample = 0; sample < routes.size(); ++sample)
      if (at[sample] < routes[sample].size() &&
          routes[sample][at[sample]] == lowest)
        outcome.present[lowest].push_back(sample);
    served[lowest] = true;
    outcome.order.push_back(lowest);
  }
}

void expectAsPredicted(const Routes &routes, unsigned points, unsigned slots,
                       unsigned seed, unsigned followers = 0) {
  Outcome real = travel(routes, points, slots, seed, /*failing=*/-1, followers);
  Outcome rule = expected(routes, points, followers);
  EXPECT_TRUE(real.conducted);
  EXPECT_EQ(real.order, rule.order);
  EXPECT_EQ(real.present, rule.present);
  EXPECT_LE(real.mostComputing, static_cast<int>(slots));
  for (size_t sample = 0; sample < routes.size(); ++sample)
    EXPECT_EQ(real.passed[sample],
              std::vector<bool>(routes[sample].size(), true));
}

TEST(Rendezvous, SamplesOnTheSameWay) {
  for (unsigned slots : {1, 2, 8, 20})
    expectAsPredicted(Routes(8, {0, 1, 2, 3, 4, 5}), 6, slots, slots);
}

TEST(Rendezvous, RandomOrders) {
  std::mt19937 random(1);
  for (unsigned round = 0; round < 60; ++round) {
    unsigned points = 1 + random() % 7;
    Routes routes(8);
    for (std::vector<unsigned> &route : routes) {
      for (unsigned point = 0; point < points; ++point)
        route.push_back(point);
      std::shuffle(route.begin(), route.end(), random);
    }
    expectAsPredicted(routes, points, 1 + random() % 8, round);
  }
}

TEST(Rendezvous, SamplesThatSkipPointsOrComeAgain) {
  std::mt19937 random(2);
  for (unsigned round = 0; round < 60; ++round) {
    unsigned points = 1 + random() % 6;
    Routes routes(8);
    for (std::vector<unsigned> &route : routes)
      for (unsigned stops = random() % 8; stops > 0; --stops)
        route.push_back(random() % points);
    expectAsPredicted(routes, points, 1 + random() % 4, round);
  }
}

TEST(Rendezvous, FollowersOnTheSameWay) {
  for (unsigned slots : {1, 2, 8, 20})
    expectAsPredicted(Routes(8, {0, 1, 2, 3, 4, 5}), 6, slots, slots, 4);
}

TEST(Rendezvous, FollowersOnOtherWays) {
  std::mt19937 random(3);
  for (unsigned round = 0; round < 60; ++round) {
    unsigned points = 1 + random() % 6;
    Routes routes(8);
    for (std::vector<unsigned> &route : routes)
      for (unsigned stops = random() % 8; stops > 0; --stops)
        route.push_back(random() % points);
    expectAsPredicted(routes, points, 1 + random() % 4, round, 4);
  }
  // Nobody leads them anywhere.
  expectAsPredicted({{}, {}, {0, 1}, {1}}, 2, 2, 4, 2);
  expectAsPredicted({{1}, {0}, {0, 1}, {0}}, 2, 2, 5, 3);
}

TEST(Rendezvous, ManySamplesAndFewSlots) {
  expectAsPredicted(Routes(100, {0, 1, 2}), 3, 2, 3);
  expectAsPredicted(Routes(100, {2, 0, 1}), 3, 1, 4);
}

TEST(Rendezvous, NothingToMeet) {
  expectAsPredicted(Routes(5), 3, 2, 5);
  expectAsPredicted(Routes(), 3, 2, 6);
  expectAsPredicted(Routes(5), 0, 2, 7);
  expectAsPredicted({{0, 1, 2}}, 3, 1, 8);
}

TEST(Rendezvous, FailureStopsEverybody) {
  std::mt19937 random(9);
  for (unsigned round = 0; round < 40; ++round) {
    unsigned points = 2 + random() % 5, failing = random() % points;
    Routes routes(8);
    for (std::vector<unsigned> &route : routes) {
      for (unsigned point = 0; point < points; ++point)
        route.push_back(point);
      std::shuffle(route.begin(), route.end(), random);
    }
    Outcome outcome = travel(routes, points, 1 + random() % 8, round, failing);
    EXPECT_FALSE(outcome.conducted);
    // All before it were served as ever, it was the last.
    std::vector<unsigned> rule = expected(routes, points).order;
    rule.erase(std::find(rule.begin(), rule.end(), failing) + 1, rule.end());
    EXPECT_EQ(outcome.order, rule);
    // Nobody got further than one refusal, and everybody came home.
    for (const std::vector<bool> &passed : outcome.passed)
      for (size_t stop = 0; stop + 1 < passed.size(); ++stop)
        EXPECT_TRUE(passed[stop]);
  }
}

TEST(Rendezvous, FailureAtTheFirstPointOfManySamples) {
  Outcome outcome = travel(Routes(50, {0, 1}), 2, 3, 1, /*failing=*/0);
  EXPECT_FALSE(outcome.conducted);
  EXPECT_EQ(outcome.order, std::vector<unsigned>{0});
  for (const std::vector<bool> &passed : outcome.passed)
    EXPECT_EQ(passed, std::vector<bool>{false});
}

} // namespace
