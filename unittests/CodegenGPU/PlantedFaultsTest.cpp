//===- PlantedFaultsTest.cpp - Wrong kernels are caught -------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// The tests beside this one are worth something only if a faulty kernel fails
// them. Each test here breaks one instruction of a generated kernel.
//
//===----------------------------------------------------------------------===//

#include "LinearRun.h"

#include <cstdlib>
#include <gtest/gtest.h>
#include <regex>

using namespace quantopt;
using namespace quantopt::kernels;

namespace {
struct Fault {
  const char *name;
  const char *pattern;     ///< ECMAScript, of one instruction
  const char *replacement; ///< $1, ... are groups
  size_t occurrence = 0;
};
} // namespace

/// What shows of a fault under any schedule; empty if nothing does.
static std::string symptom(const CompiledLinear &compiled,
                           const LinearCase &linear) {
  for (auto schedule : {ptx::Schedule::Greedy, ptx::Schedule::RoundRobin,
                        ptx::Schedule::Random}) {
    ptx::RunOptions options;
    options.schedule = schedule;
    options.seed = 7;
    options.maxInstructions = 20'000'000;
    LinearResult result = runLinear(compiled, linear, options);
    if (!result.error.empty())
      return result.error;
    if (std::string wrong = firstWrong(linear, result.y); !wrong.empty())
      return wrong;
  }
  return "";
}

static void expectCaught(const LinearProblem &problem,
                         std::initializer_list<Fault> faults) {
  CompiledLinear right = compileLinear(problem);
  LinearCase linear = makeCase(problem, 11);
  ASSERT_EQ(symptom(right, linear), "");
  for (const Fault &fault : faults) {
    SCOPED_TRACE(fault.name);
    std::string ptx = right.ptx;
    std::regex pattern(fault.pattern);
    std::sregex_iterator match(ptx.begin(), ptx.end(), pattern), end;
    for (size_t i = 0; i < fault.occurrence && match != end; ++i)
      ++match;
    ASSERT_NE(match, end) << "nothing matches " << fault.pattern;
    std::string changed = ptx.substr(0, match->position()) +
                          match->format(fault.replacement) +
                          ptx.substr(match->position() + match->length());
    std::string seen = symptom(withPtx(right, changed), linear);
    EXPECT_NE(seen, "") << "not caught";
    if (std::getenv("QUANTOPT_SHOW_SYMPTOMS"))
      std::printf("%s: %s\n", fault.name, seen.c_str());
  }
}

static LinearProblem problemFor(const char *chip, int64_t m, int64_t n,
                                int64_t k) {
  LinearProblem problem = problemOf(m, n, k);
  problem.chip = *parseChip(chip);
  return problem;
}

TEST(PlantedFaults, Skinny) {
  expectCaught(
      problemFor("sm_80", 9, 40, 512),
      {
          {"no barrier before the reduction", "bar(rier)?\\.[a-z.]+\\s+0;", ""},
          {"fragment registers swapped",
           "f32 (\\{[^}]*\\}), \\{(%r\\d+), (%r\\d+), (%r\\d+), (%r\\d+)\\}",
           "f32 $1, {$2, $4, $3, $5}"},
          {"inputs of a step swapped",
           "(f32 \\{[^}]*\\}, \\{[^}]*\\}), \\{(%r\\d+), (%r\\d+)\\}",
           "$1, {$3, $2}"},
          {"another half of the codes", "0xEA", "0xAE"},
      });
}

TEST(PlantedFaults, Tiled) {
  // Several stages of x are waited for, and row blocks are shared.
  expectCaught(
      problemFor("sm_80", 24, 300, 700),
      {
          {"no barrier in the loop", "bar(rier)?\\.[a-z.]+\\s+0;", ""},
          {"wait for one group less", "cp\\.async\\.wait_group 2",
           "cp.async.wait_group 3"},
          {"no wait", "cp\\.async\\.wait_group 2;", ""},
          {"a copy not committed", "cp\\.async\\.commit_group;", "", 3},
          {"arrivals counted by two",
           "atom\\.global\\.add\\.u32 (%r\\d+), \\[(%rd\\d+)\\], 1",
           "atom.global.add.u32 $1, [$2], 2"},
          {"mma in one half of the warp", "(mma\\.sync\\.[^;]*;)",
           "{ .reg .pred half; .reg .u32 id; mov.u32 id, %laneid; setp.lt.u32 "
           "half, id, 16; @half $1 }"},
      });
}

TEST(PlantedFaults, Warpgroup) {
  expectCaught(
      problemFor("sm_90a", 100, 300, 700),
      {
          {"no wait for the copy", "\\{ \\.reg \\.pred done;[^}]*\\}", ""},
          {"wrong byte count",
           "(mbarrier\\.arrive\\.expect_tx[^,]*, \\[%r\\d+\\], )(%r\\d+)",
           "$1 1024"},
          {"no barrier after init", "bar(rier)?\\.[a-z.]+\\s+0;", ""},
          {"barrier of two arrivals", "(mbarrier\\.init[^,]*, )1", "$012"},
          {"no fence between init and copies", "fence\\.proxy\\.async[^;]*;",
           ""},
          {"products not waited for", "wgmma\\.wait_group\\.sync\\.aligned 0;",
           ""},
          {"no wgmma fence", "wgmma\\.fence\\.sync\\.aligned;", ""},
          {"descriptor stride", "4611686293305360384", "4611686155866406912"},
          {"stage overwritten in flight", "bar(rier)?\\.[a-z.]+\\s+0;", "", 1},
      });
}

TEST(PlantedFaults, Grid) {
  for (const char *chip : {"sm_80", "sm_90a"})
    for (int64_t m : {1, 40, 100}) {
      LinearProblem problem = problemFor(chip, m, 256, 128);
      CompiledLinear compiled = compileLinear(problem);
      LinearCase linear = makeCase(problem, 3);
      ASSERT_EQ(symptom(compiled, linear), "");
      ++compiled.plan.back().grid.x;
      EXPECT_NE(symptom(compiled, linear).find("out of bounds"),
                std::string::npos);
    }
}
