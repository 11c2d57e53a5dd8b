# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The section on kernels for processors, from what benchmarks/linear_cpu has measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable

from gpu import Goal, verdict
from linear_cpu import cases
from linear_cpu.cases import INT4, INT4_SMALL, NF4, NF4_SMALL, Kernel, Scheme
from measure import STORE

SQUARE, UP, DOWN, SMALL = (4096, 4096), (4096, 14336), (14336, 4096), (576, 1536)  # K, N
THREADS = 2
ABOUT = """\
Microseconds of one product, the median, and the share of the roof: of DRAM read bandwidth or of the
rate of the instruction that products are made of, whichever is closer. Programs of one environment and our
kernels took turns in one process, and between the turns roofs were measured; a share is the median of the
turns' best. Ours, which are timed in several environments, are shown by the middle one. On a virtual machine
neighbours slow the memory down for minutes; shares of what is left then are high for everybody, and goals are
judged by rows in which it was fast. Weights rotate over
256 MB (64 MB from M = 128 on), all memory is in large pages. x is f32 in and y f32 out of ours, ONNX
Runtime's, ggml's and OpenVINO's; bf16 with torch. i8: x is quantized to 8 bits inside the product; ours by as
many columns as share a scale of the weight, as ONNX Runtime does, or by 32 where that is said, as ggml does."""


def rows_of(whole: dict, shape: tuple[int, int], m: int, threads: int = THREADS) -> list[dict]:
    """The rows of a layer, one for each environment."""
    return [row for row in whole["rows"].values()
            if (row["k"], row["n"], row["m"], row["threads"]) == (*shape, m, threads)]  # fmt: skip


def undisturbed(rows: list[dict]) -> list[dict]:
    """Those in which the memory was fast: while neighbours of a virtual machine use it, all
    programs reach what is left."""
    best = max((row["roof"]["dram"] for row in rows), default=0)
    return [row for row in rows if row["roof"]["dram"] >= 0.8 * best]


def timed(entry: dict | None) -> bool:
    return entry is not None and "seconds" in entry


def share(compute: str, scheme: Scheme, shape, m: int, kind: str) -> Callable[[dict], float | None]:
    """Of the roof `kind` ("dram" or "peak"), the median of environments."""
    name = Kernel(compute, scheme).name

    def figure(whole):
        rows = [row for row in rows_of(whole, shape, m) if timed(row["entries"].get(name))]
        found = [row["entries"][name][kind] for row in undisturbed(rows)]
        return statistics.median(found) if found else None

    return figure


def least(figures: list[Callable[[dict], float | None]]):
    """The smallest of figures that are all there."""

    def figure(whole):
        values = [one(whole) for one in figures]
        return None if None in values else min(values)

    return figure


def slower(shape, m: int) -> Callable[[dict], float | None]:
    """Best time over that of M = 1, the median of environments."""
    name = Kernel("i8", INT4).name

    def figure(whole):
        times = {}
        for rows in (1, m):
            found = undisturbed([row for row in rows_of(whole, shape, rows)
                                 if timed(row["entries"].get(name))])  # fmt: skip
            times[rows] = [row["entries"][name]["best"] for row in found]
        if not all(times.values()):
            return None
        return statistics.median(times[m]) / statistics.median(times[1])

    return figure


def over_peers(shape) -> Callable[[dict], float | None]:
    """Our fastest time over the fastest peer's of the same environment, at worst."""

    def figure(whole):
        ratios = []
        for m in cases.ROWS:
            for row in rows_of(whole, shape, m):
                times = {True: [], False: []}
                for name, entry in row["entries"].items():
                    if timed(entry):
                        times[name.startswith("ours ")].append(entry["seconds"])
                if not times[True]:
                    return None
                if times[False]:
                    ratios.append(min(times[True]) / min(times[False]))
        return max(ratios, default=None)

    return figure


def goals_of(shape: tuple[int, int], slack: float) -> list[Goal]:
    """Those of issue 6 for a shape; `slack` is what a shape may fall behind."""

    def goal(what, figure, bound, stretch, at_least=True):
        factor = 1 - slack if at_least else 1 / (1 - slack)
        title = f"{what}, K = {shape[0]}, N = {shape[1]}"
        return Goal(title, figure, round(bound * factor, 4), round(stretch * factor, 4), at_least)

    def at(compute, scheme, m, kind, bound, stretch):
        of = "DRAM" if kind == "dram" else f"{compute} peak"
        return goal(f"{compute}, {scheme.name}, M = {m}: share of {of}",
                    share(compute, scheme, shape, m, kind), bound, stretch)  # fmt: skip

    nf4 = [goal(f"bf16, {scheme.name}, M = 32 to 512: share of bf16 peak",
                least([share("bf16", scheme, shape, m, "peak") for m in (32, 128, 512)]), 0.75, 0.85)
           for scheme in (NF4, NF4_SMALL)]  # fmt: skip
    return [
        at("i8", INT4, 1, "dram", 0.85, 0.95),
        goal("i8, int4 g128: M = 4 over M = 1", slower(shape, 4), 1.15, 1.05, False),
        goal("i8, int4 g128: M = 8 over M = 1", slower(shape, 8), 1.35, 1.2, False),
        at("i8", INT4, 16, "peak", 0.65, 0.75),
        at("i8", INT4, 32, "peak", 0.75, 0.82),
        at("i8", INT4, 128, "peak", 0.80, 0.86),
        at("i8", INT4, 512, "peak", 0.82, 0.88),
        at("i8", INT4_SMALL, 128, "peak", 0.68, 0.75),
        at("i8", INT4_SMALL, 512, "peak", 0.68, 0.75),
        at("bf16", INT4, 32, "peak", 0.70, 0.80),
        at("bf16", INT4, 128, "peak", 0.80, 0.90),
        at("bf16", INT4, 512, "peak", 0.88, 0.93),
        at("bf16", NF4, 1, "dram", 0.85, 0.95),
        at("bf16", NF4_SMALL, 1, "dram", 0.85, 0.95),
        *nf4,
    ]


def of_model(figure: Callable[[dict], float | None], choose=max):
    """The best of our forms of a whole model on two threads."""

    def found(whole):
        values = [
            figure(entry)
            for row in whole["models"].values()
            for name, entry in row["entries"].items()
            if row["threads"] == THREADS and name.startswith("ours ")
        ]
        return choose(values, default=None)

    return found


def speedup(kind: str):
    return of_model(lambda entry: entry["speedup"][kind])


def least_slowdown(whole: dict, shape: tuple[int, int], m: int) -> float | None:
    """What the roofs ask of i8 products for m rows, over what they ask for one."""
    rows = rows_of(whole, shape, m)
    entries = [row["entries"].get(Kernel("i8", INT4).name) for row in rows]
    if not any(map(timed, entries)):
        return None
    bytes_ = next(entry["bytes"] for entry in entries if timed(entry))
    rates = best_roofs(rows)
    return max(1, 2 * m * shape[0] * shape[1] / rates["i8"] / (bytes_ / rates["dram"]))


GOALS = [
    *goals_of(SQUARE, 0),
    *goals_of(UP, 0.05),
    *goals_of(DOWN, 0.05),
    Goal("our time over the fastest peer's, every M, K = 576, N = 1536", over_peers(SMALL), 0.8, 0.6,
         at_least=False),
    Goal("SmolLM2-135M, decode: tokens/s over llama.cpp's", speedup("decode"), 2, 3),
    Goal("SmolLM2-135M, 512 tokens at once: tokens/s over llama.cpp's", speedup("prefill"), 2, 3),
    Goal("SmolLM2-135M: perplexity of i8 above that of f32 products, %",
         of_model(lambda entry: 100 * (entry["perplexity"] / entry["exact_perplexity"] - 1)),
         0.5, 0.2, at_least=False),
]  # fmt: skip


def cell(rows: list[dict], name: str) -> str:
    """The middle one of a program's rows."""
    rows = undisturbed([row for row in rows if timed(row["entries"].get(name))])
    if not rows:
        return "–"
    entries = sorted((row["entries"][name] for row in rows), key=lambda entry: entry["seconds"])
    entry = entries[len(entries) // 2]
    us = entry["seconds"] * 1e6
    return f"{us:.{0 if us >= 100 else 1}f} ({max(entry['dram'], entry['peak']):.0%})"


def layer_table(whole: dict, shape: tuple[int, int], threads: int, table) -> str | None:
    columns = {m: rows_of(whole, shape, m, threads) for m in cases.ROWS}
    names, about = [], {}
    for rows in columns.values():
        for row in rows:
            for name, entry in row["entries"].items():
                if timed(entry) and name not in about:
                    names.append(name)
                    about[name] = entry
    if not names:
        return None
    names.sort(key=lambda name: not name.startswith("ours "))
    return table(["", "products", "error", *(f"M = {m}" for m in columns)], [
        [name, about[name]["compute"], f"{about[name]['error']:.0e}",
         *(cell(rows, name) for rows in columns.values())]
        for name in names])  # fmt: skip


def best_roofs(rows: list[dict]) -> dict[str, float]:
    """The highest of each roof."""
    return {kind: max(row["roof"][kind] for row in rows) for kind in rows[0]["roof"]}


def roofs_text(rows: list[dict]) -> str:
    parts = []
    for threads in sorted({row["threads"] for row in rows}):
        best = best_roofs([row for row in rows if row["threads"] == threads])
        parts.append(
            f"{threads} thread{'s' if threads > 1 else ''}: DRAM {best['dram'] / 1e9:.0f} GB/s, "
            + ", ".join(f"{kind} {rate / 1e9:.0f} GOP/s"
                        for kind, rate in best.items() if kind != "dram" and rate)
        )
    return "; ".join(parts)


def model_table(row: dict, table) -> str:
    def figures(entry):
        ratio = entry["speedup"]
        read = entry["bytes"] * entry["decode"] / row["roof"]["dram"]
        words = "–"
        if "perplexity" in entry:
            words = f"{entry['perplexity']:.3f} ({entry['exact_perplexity']:.3f})"
        return [f"{entry['bytes'] / 1e6:.0f}",
                f"{entry['prefill']:.0f} ({ratio['prefill']:.2f}x)",
                f"{entry['decode']:.0f} ({ratio['decode']:.2f}x)", f"{read:.0%}",
                words]  # fmt: skip

    return table(["", "file MB", "512 tokens at once, tokens/s", "one by one, tokens/s",
                  "file read, of DRAM", "perplexity (in f32)"],
                 [[name, *figures(entry)] for name, entry in row["entries"].items()])  # fmt: skip


def processor_section(whole: dict, table) -> list[str]:
    rows = [*whole["rows"].values(), *whole["models"].values()]
    dates = sorted({row["date"] for row in rows})
    commits = sorted({row["commit"] for row in rows})
    parts = [
        f"### {whole['processor']}",
        f"{whole['cores']} cores, {' to '.join(sorted({dates[0], dates[-1]}))}, commit "
        f"{', '.join(commits)}; {'; '.join(whole['versions'].values())}. The highest roofs: "
        f"{roofs_text(rows)}.",
    ]
    values = [(goal, goal.figure(whole)) for goal in GOALS]
    lines = [[goal.what, f"{value:.3g}", f"{goal.bound:g} ({goal.stretch:g})", verdict(goal, value)]
             for goal, value in values if value is not None]  # fmt: skip
    if lines:
        parts.append(table(["goal", "measured", "bound (stretch)", ""], lines))
    least_ = {m: least_slowdown(whole, SQUARE, m) for m in (4, 8)}
    if None not in least_.values():
        parts.append("By the highest roofs i8 products alone take "
                     + " and ".join(f"{value:.2f} (M = {m})" for m, value in least_.items())
                     + " times what M = 1 takes, and less where memory was slower.")  # fmt: skip
    for name, row in whole["models"].items():
        parts += [f"**{name}** (over llama.cpp Q4_0; perplexity of 12 windows of WikiText-2)",
                  model_table(row, table)]  # fmt: skip
    for threads in cases.THREADS:
        for shape in cases.SHAPES:
            found = layer_table(whole, shape, threads, table)
            if found:
                plural = "s" if threads > 1 else ""
                parts += [f"**K = {shape[0]}, N = {shape[1]}, {threads} thread{plural}**", found]
    return parts


def section(table) -> list[str]:
    """Markdown; `table` makes one of headings and rows."""
    files = sorted(STORE.glob("linear_cpu.*.json"))
    if not files:
        return []
    parts = ["## Kernels for processors", ABOUT]
    for file in files:
        parts += processor_section(json.loads(file.read_text()), table)
    return parts
