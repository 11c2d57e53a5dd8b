# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times contestants by turns, at a priority that other work on the machine does not have."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

# Worker threads of a library spin for some milliseconds after its last call. Nobody is
# timed before those of the one before have gone to sleep.
SETTLE_SECONDS = 0.015
# Real-time threads get 95 % of the processors; who takes less is never stopped.
PAUSE = 0.06
LONG_SECONDS = 0.4


class RealTime:
    """Inside, all threads of this process run before those of others (SCHED_RR), if that is
    allowed. It also holds for threads that are started inside."""

    allowed = True

    def _schedule(self, policy: int, priority: int) -> None:
        for thread in os.listdir("/proc/self/task"):
            try:
                os.sched_setscheduler(int(thread), policy, os.sched_param(priority))
            except ProcessLookupError:
                pass  # it has ended
            except PermissionError:
                RealTime.allowed = False
                return

    def __enter__(self):
        if RealTime.allowed:
            self._schedule(os.SCHED_RR, 1)

    def __exit__(self, *_):
        if RealTime.allowed:
            self._schedule(os.SCHED_OTHER, 0)


@dataclass
class Turn:
    seconds: list[float]  # of one product, at least one
    roof: dict[str, float] = field(default_factory=dict)  # around it


@dataclass
class Contestant:
    """Steps that compute the same product with other copies of the weight, together more than
    caches hold; each step does `copies` of them."""

    name: str
    steps: list[Callable[[], object]]
    copies: int
    turns: list[Turn] = field(default_factory=list)
    _next: int = 0

    def step(self) -> float:
        """Runs the next step; its seconds."""
        work = self.steps[self._next % len(self.steps)]
        self._next += 1
        start = time.perf_counter()
        work()
        return time.perf_counter() - start

    def turn(self, budget: float) -> Turn:
        """Times steps for about `budget` seconds; long ones twice, the longest once."""
        spent, times = self.step(), []  # which wakes threads up
        if spent >= budget:  # and takes no time that counts
            times.append(spent / self.copies)
        while spent < budget or (len(times) < 2 and spent < LONG_SECONDS):
            last = self.step()
            times.append(last / self.copies)
            spent += last
        self.turns.append(Turn(times))
        return self.turns[-1]

    def figures(self, bytes_: int, compute: str, operations: int, roof: dict[str, float]) -> dict:
        """Median and best time of all turns, and shares of the roofs: of each turn the best time,
        of these the median. What the memory gives changes from moment to moment, with what
        neighbours of a virtual machine do, so that its roof is that around the turn; the
        others, which do not, are the best of a row, `roof`."""

        def share(amount: float, rate: Callable[[Turn], float]) -> float:
            return statistics.median(
                amount / min(turn.seconds) / rate(turn) if rate(turn) else 0 for turn in self.turns
            )

        seconds = [time for turn in self.turns for time in turn.seconds]
        return {
            "seconds": statistics.median(seconds),
            "best": min(seconds),
            "dram": share(bytes_, lambda turn: turn.roof["dram"]),
            "peak": share(operations, lambda turn: roof[compute]),
        }


def settle(since: float) -> None:
    """Sleeps after what began at `since`."""
    time.sleep(max(SETTLE_SECONDS, PAUSE * (time.perf_counter() - since)))


def compete(contestants: list[Contestant], probe: Callable[[], dict[str, float]], rounds: int,
            budget: float) -> None:  # fmt: skip
    """Rounds in which each contestant has a turn. `probe` measures roofs between the turns."""
    with RealTime():
        last, begin = Turn([]), time.perf_counter()
        for contestant in contestants * rounds:
            settle(begin)
            roof = probe()
            last.roof = best(last.roof, roof)
            begin = time.perf_counter()
            last = contestant.turn(budget)
            last.roof = roof
        settle(begin)
        last.roof = best(last.roof, probe())


def best(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """The higher rate of each kind."""
    return {kind: max(rate, first.get(kind, 0)) for kind, rate in second.items()}
