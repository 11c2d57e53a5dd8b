# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""docs/results.md, from the stored figures alone."""

from __future__ import annotations

import cpu
import gpu
import scale
from measure import ROOT, stored
from subjects import SUBJECTS
from table import GOALS, METHODS, ORDERING, PEERS, PRESETS, RATIOS

PAGE = ROOT / "docs" / "results.md"
INTRODUCTION = """\
Written by `scripts/results` from benchmarks/results/*.json - run it again rather than edit this
page. CPU seconds and peak memory are those of the whole process, loading and writing included.
Unless a row says otherwise: 4 bits, integer zero, scales in f16. Peers run on the same machine with
the same calibration windows, and their weights are put into the same graph and measured by the same
forward pass; embeddings stay float throughout."""

FIGURES = {  # of `quality`: heading, format
    "perplexity": ("perplexity", ".3f"),
    "kl_divergence": ("KL divergence", ".4f"),
    "same_top1": ("same top-1", ".4f"),
    "relative_error": ("output error", ".5f"),
}


def table(headings: list[str], rows: list[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def rows_of(name: str) -> dict[str, dict]:
    """The stored rows of a model that are still listed, in the order of the lists."""
    found = {}
    for entries, file in ((METHODS, name), (PEERS, f"peers-{name}")):
        rows = stored(file)["rows"]
        found |= {entry.name: rows[entry.name] for entry in entries if entry.name in rows}
    return found


def quality_table(name: str) -> str:
    subject, rows = SUBJECTS[name], rows_of(name)
    headings = ["method", "bits/weight", *(FIGURES[key][0] for key in subject.figures),
                "error/RTN median (max)", "CPU s", "wall s", "peak MB", "at"]  # fmt: skip
    lines = []
    first = next(iter(rows.values()))["quality"]
    if "against_perplexity" in first:
        dashes = ["–"] * (len(headings) - 3)
        lines.append(["float", "32", f"{first['against_perplexity']:.3f}", *dashes])
    for title, row in rows.items():
        ratio = "–"
        if row.get("error_measure") == "outputs":
            ratio = f"{row['ratio_median']:.3f} ({row['ratio_max']:.3f})"
        cost = row["cost"]
        busy = "*" if row["measured"]["busy"] else ""
        lines.append([
            title, f"{row['bits_per_weight']:.5g}",
            *(f"{row['quality'][key]:{FIGURES[key][1]}}" for key in subject.figures), ratio,
            f"{cost['cpu']:.1f}{busy}", f"{cost['wall']:.1f}{busy}", f"{cost['peak_mb']:.0f}",
            row["measured"]["commit"]])  # fmt: skip
    return table(headings, lines)


def machines(rows, column: bool = True) -> str:
    seen = sorted({
        f"{row['measured']['cores']} cores, {row['measured']['processor']}, "
        f"{row['measured']['date']}" for row in rows
    })  # fmt: skip
    text = f"Measured on {'; '.join(seen)}" + (
        "; the last column is the commit." if column else "."
    )
    if any(row["measured"]["busy"] for row in rows):
        text += " A star: other work ran on the machine meanwhile, so the seconds are too high."
    return text


def figure(row: dict, path: str) -> float:
    for key in path.split("."):
        row = row[key]
    return row


def verdict(value: float, bound: float) -> str:
    return "reached" if value <= bound else "**missed**"


def goals() -> str | None:
    lines = []
    for goal in GOALS:
        row = rows_of(goal.model).get(goal.row)
        if row is None:
            continue
        value = figure(row, goal.figure)
        bounds = f"{goal.at_most:.4g}" + (f" ({goal.stretch:.4g})" if goal.stretch else "")
        reached = verdict(value, goal.at_most)
        if goal.stretch and value <= goal.stretch:
            reached += ", stretch too"
        lines.append([f"{goal.model}: {goal.what}", goal.row, f"{value:.4g}", bounds, reached])
    for row in stored("torch")["rows"].values():
        value = row["ours"]["run_seconds"] / row["torch"]["seconds"]
        lines.append([f"smollm2: forward of 512 tokens over torch eager's, {row['threads']} threads",
                      "float", f"{value:.4g}", "1.1", verdict(value, 1.1)])  # fmt: skip
    for name, subject in SUBJECTS.items():
        rows = rows_of(name)
        for better, worse, bound in RATIOS if subject.judge == "relative_error" else []:
            if better in rows and worse in rows:
                value = (rows[better]["quality"][subject.judge]
                         / rows[worse]["quality"][subject.judge])  # fmt: skip
                lines.append([f"{name}: {FIGURES[subject.judge][0]} over that of {worse}", better,
                              f"{value:.4g}", f"{bound:.4g}", verdict(value, bound)])  # fmt: skip
        # What is not measured yet is left out of the order.
        order = [row for row in ORDERING if row in rows]
        values = [rows[row]["quality"][subject.judge] for row in order]
        if len(order) > 1:
            holds = all(one < other or (one == other and row == ORDERING[0])
                        for row, one, other in zip(order, values, values[1:]))  # fmt: skip
            lines.append([f"{name}: {FIGURES[subject.judge][0]} in order", " < ".join(order),
                          ", ".join(f"{value:.4g}" for value in values), "",
                          "reached" if holds else "**missed**"])  # fmt: skip
    headings = ["goal", "row", "measured", "at most (stretch)", ""]
    return table(headings, lines) if lines else None


def presets() -> list[str]:
    """What each preset gains over rounding and over plain GPTQ, and what it costs."""
    lines = []
    for name, subject in SUBJECTS.items():
        rows = rows_of(name)
        if not {"RTN", "plain GPTQ", *PRESETS} <= rows.keys():
            continue
        errors = {row: rows[row]["quality"][subject.judge] for row in rows}
        for row in PRESETS:
            lines.append([
                name, row, f"{errors[row]:.4g}", f"{errors[row] / errors['RTN']:.2f}",
                f"{errors[row] / errors['plain GPTQ']:.2f}", f"{rows[row]['cost']['cpu']:.1f}",
                f"{rows[row]['cost']['cpu'] / rows['plain GPTQ']['cost']['cpu']:.2f}"])  # fmt: skip
    headings = ["model", "preset", "KL divergence or output error", "over RTN's", "over plain GPTQ's",
                "CPU s", "over plain GPTQ's"]  # fmt: skip
    return ["## What the presets gain and cost", table(headings, lines)] if lines else []


def forward() -> list[str]:
    rows = stored("torch")["rows"]
    if not rows:
        return []
    lines = []
    for row in rows.values():
        ours, theirs = row["ours"]["run_seconds"], row["torch"]["seconds"]
        lines.append([str(row["threads"]), f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}",
                      f"{row['ours']['compile_seconds']:.1f}"])  # fmt: skip
    return ["## Forward pass of the float SmolLM2-135M, 512 tokens",
            "Fastest of six, one after the other. " + machines(rows.values(), column=False),
            table(["threads", "ours s", "torch eager s", "ours/torch", "compile s"], lines)]  # fmt: skip


def text() -> str:
    parts = ["# Results", INTRODUCTION]
    for name, subject in SUBJECTS.items():
        rows = rows_of(name)
        if rows:
            parts += [f"## {subject.title}", f"{subject.about} {machines(rows.values())}",
                      quality_table(name)]  # fmt: skip
    parts += presets()
    goal_table = goals()
    if goal_table:
        parts += ["## Goals", goal_table]
    parts += forward() + scale.section() + cpu.section(table) + gpu.section(table)
    return "\n\n".join(parts) + "\n"


def render() -> None:
    PAGE.write_text(text())
