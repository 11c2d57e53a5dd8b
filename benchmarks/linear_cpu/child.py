# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times the programs of one environment, and ours beside them, on one number of threads.

run.py starts it with the Python of the environment, its argument is JSON; each line of its output
is a JSON object: first the versions, then a row for each case.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from linear_cpu import cases, ours, peers, roofs, timing


def error_of(y: np.ndarray, x: np.ndarray, weight) -> float:
    """The largest error of some rows and channels over the largest of their values."""
    m, n = y.shape
    rows = np.unique([0, m // 2, m - 1])
    channels = np.unique(np.linspace(0, n - 1, 67).astype(np.int64))
    values = weight(channels).astype(np.float64)
    expected = x[rows].astype(np.float64) @ values.T
    return float(np.abs(y[np.ix_(rows, channels)] - expected).max() / np.abs(expected).max())


def failure(error: Exception) -> dict:
    kind = "left out" if isinstance(error, peers.Unsupported) else "failed"
    text = str(error) if kind == "left out" else f"{type(error).__name__}: {error}"
    return {kind: text.splitlines()[0][:200]}


class Field:
    """The programs that compete on layers of one shape."""

    def __init__(self, programs: list[peers.Program], k: int, n: int):
        self.programs, self.k, self.n = programs, k, n
        self.layers, self.failed = {}, {}
        steps, self.each = cases.copies(k * n // 2, many_rows=False)
        self.few_steps, _ = cases.copies(k * n // 2, many_rows=True)
        self.steps = steps
        for program in programs:
            try:
                self.layers[program.name] = program.make(k, n, steps, self.each)
            except Exception as error:  # another program's trouble is not ours
                self.failed[program.name] = failure(error)

    def row(self, roof: roofs.Roofs, threads: int, m: int, options: dict) -> dict:
        x = np.random.default_rng(m).standard_normal((m, self.k), np.float32)
        steps = self.few_steps if m >= cases.MANY_ROWS else self.steps
        entries, contestants = dict(self.failed), []
        for program in self.programs:
            layer = self.layers.get(program.name)
            if layer is None:
                continue
            try:
                work, output = layer.bind(x, steps)
                for step in work:
                    step()
                entries[program.name] = {
                    "compute": program.compute, "group": program.group, "bytes": layer.bytes,
                    "error": error_of(output(), x, layer.weight)}  # fmt: skip
                contestants.append(timing.Contestant(program.name, work, self.each))
            except Exception as error:
                entries[program.name] = failure(error)
        found: dict[str, float] = {}

        def probe() -> dict[str, float]:
            rates = roof.measure(threads)
            found.update(timing.best(found, rates))
            return rates

        timing.compete(contestants, probe, **options)
        for contestant in contestants:
            entry = entries[contestant.name]
            operations = 2 * m * self.k * self.n
            entry |= contestant.figures(entry["bytes"], entry["compute"], operations, found)
        return {"roof": found, "real_time": timing.RealTime.allowed, "entries": entries}


def main() -> None:
    given = json.loads(sys.argv[1])
    deadline = time.monotonic() + given["seconds"]
    # What libraries print does not go between the rows.
    output, sys.stdout = sys.stdout, sys.stderr
    threads = given["threads"]
    environment = given["environment"]
    library = peers.LIBRARIES[environment](threads)
    programs = ours.programs(Path(given["kernels"]), cases.KERNELS[environment])
    programs += library.programs()
    print(json.dumps({"version": library.version}), file=output, flush=True)
    roof = roofs.Roofs(Path(given["roofs"]))
    field, shape = None, None
    for k, n, m in given["cases"]:
        if time.monotonic() > deadline:
            return
        if shape != (k, n):
            field = None  # or both need memory
            field, shape = Field(programs, k, n), (k, n)
        row = field.row(roof, threads, m, given["timing"])
        print(json.dumps({"k": k, "n": n, "m": m, **row}), file=output, flush=True)


if __name__ == "__main__":
    main()
