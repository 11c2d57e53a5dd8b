# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The section on kernels for GPUs, from what benchmarks/linear_gpu has measured."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

from measure import STORE

NOT_MEASURED = """\
**Not measured yet.** There is no figure from a GPU: no file benchmarks/results/linear_gpu.*.json. The
kernels' results are checked on the PTX emulator, and registers, spills and instructions with ptxas,
both by the tests; neither says how fast they are. To measure: `benchmarks/linear_gpu/build.py FOLDER`
here, `python3 FOLDER/run.py` on a machine with a GPU and PyTorch."""


@dataclass(frozen=True)
class Goal:
    """A bound on a figure of a results file; None where a row is missing."""

    what: str
    figure: Callable[[dict], float | None]
    bound: float
    stretch: float
    at_least: bool = True


def name(m: int, shape: str, scheme: str = "int4 g128") -> str:
    return f"{scheme} bf16, M = {m}, {shape}"


def needs(*names: str):
    """A figure of these rows, None unless all are there."""

    def decorate(compute):
        def figure(whole):
            rows = [whole["rows"].get(row) for row in names]
            return None if None in rows else compute(whole, *rows)

        return figure

    return decorate


def seconds(row: dict, who: str = "ours") -> float:
    return row[who]["seconds"]


def copy_share(row: str):
    return needs(row)(lambda whole, r: r["bytes"] / seconds(r) / whole["copy"])


def ratio(row: str, other: str):
    return needs(row, other)(lambda whole, r, o: seconds(r) / seconds(o))


def teraflops(row: str):
    return needs(row)(lambda whole, r: r["operations"] / seconds(r) / 1e12)


def over_cublas(row: str):
    return needs(row)(lambda whole, r: seconds(r, "cuBLAS") / seconds(r))


def worst_error(whole: dict) -> float | None:
    """The largest error over that of cuBLAS on the weight in bf16."""
    ratios = [
        row["ours"]["error"] / row["cuBLAS"]["error"]
        for row in whole["rows"].values()
        if "error" in row["cuBLAS"]
    ]
    return max(ratios, default=None)


SQUARE, UP, DOWN = "8192 x 8192", "28672 x 8192", "8192 x 28672"
GOALS = [
    Goal(f"M = 1, {SQUARE}: share of copy bandwidth", copy_share(name(1, SQUARE)), 0.50, 0.70),
    *(Goal(f"M = 1, {shape}: share of copy bandwidth", copy_share(name(1, shape)), 0.62, 0.85)
      for shape in (UP, DOWN)),
    Goal(f"M = 16 over M = 1, {SQUARE}", ratio(name(16, SQUARE), name(1, SQUARE)), 1.10, 1.03, False),
    Goal(f"M = 32 over M = 1, {SQUARE}", ratio(name(32, SQUARE), name(1, SQUARE)), 1.25, 1.10, False),
    Goal(f"cuBLAS over ours, M = 16, {SQUARE}", over_cublas(name(16, SQUARE)), 2.2, 3.0),
    *(Goal(f"M = 128, {shape}: TFLOP/s", teraflops(name(128, shape)), 350, 540)
      for shape in (UP, DOWN)),
    Goal(f"M = 2048, {SQUARE}: TFLOP/s", teraflops(name(2048, SQUARE)), 450, 650),
    *(Goal(f"NF4 over int4, M = {m}, {SQUARE}",
           ratio(name(m, SQUARE, "nf4 g64"), name(m, SQUARE)), 1.3, 1.1, False) for m in (1, 16)),
    Goal("largest error over that of cuBLAS", worst_error, 1, 1, False),
]  # fmt: skip


def verdict(goal: Goal, value: float) -> str:
    def reaches(bound):
        return value >= bound if goal.at_least else value <= bound

    if not reaches(goal.bound):
        return "**missed**"
    return "reached, stretch too" if reaches(goal.stretch) else "reached"


def peer(row: dict, who: str) -> str:
    found = row.get(who, {})
    return f"{found['seconds'] * 1e6:.1f}" if "seconds" in found else "–"


def device_section(whole: dict, table) -> list[str]:
    smi = whole["nvidia_smi"]
    clocks = ", ".join(f"{key} {smi[key]}" for key in smi if key.startswith("clocks"))
    parts = [
        f"### {whole['device']}",
        f"{whole['date']}, commit {whole['commit']}, torch {whole['torch']}, driver "
        f"{smi.get('driver_version', 'unknown')}, {clocks or 'clocks unknown'} MHz. Measured in the "
        f"same run: copy {whole['copy'] / 1e9:.0f} GB/s, cuBLAS bf16 {whole['peak'] / 1e12:.0f} TFLOP/s.",
    ]
    values = [(goal, goal.figure(whole)) for goal in GOALS]
    parts.append(table(["goal", "measured", "bound (stretch)", ""], [
        [goal.what, f"{value:.3g}", f"{goal.bound:g} ({goal.stretch:g})", verdict(goal, value)]
        for goal, value in values if value is not None]))  # fmt: skip
    rows = whole["rows"].items()
    peers = sorted({key for _, row in rows for key, value in row.items()
                    if isinstance(value, dict) and key != "ours" and "seconds" in value})  # fmt: skip
    headings = ["layer", "us", "of copy", "of bf16 peak", "error", "cuBLAS' error",
                *(f"{who} us" for who in peers)]  # fmt: skip
    lines = []
    for title, row in rows:
        time = seconds(row)
        lines.append([
            title, f"{time * 1e6:.1f}", f"{row['bytes'] / time / whole['copy']:.1%}",
            f"{row['operations'] / time / whole['peak']:.1%}", f"{row['ours']['error']:.1e}",
            f"{row['cuBLAS']['error']:.1e}" if "error" in row["cuBLAS"] else "–",
            *(peer(row, who) for who in peers)])  # fmt: skip
    return [*parts, table(headings, lines)]


def section(table) -> list[str]:
    """Markdown; `table` makes one of headings and rows."""
    parts = ["## Kernels for GPUs"]
    files = sorted(STORE.glob("linear_gpu.*.json"))
    if not files:
        return [*parts, NOT_MEASURED]
    for file in files:
        parts += device_section(json.loads(file.read_text()), table)
    return parts
