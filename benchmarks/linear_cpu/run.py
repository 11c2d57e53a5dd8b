#!/usr/bin/env python3
# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Times our linear layers and those of other programs on this processor, beside its roofs.

  benchmarks/linear_cpu/setup FOLDER                the other programs, each in its environment
  benchmarks/linear_cpu/run.py --peers FOLDER [--only REGEX] [--minutes 40]
  benchmarks/linear_cpu/run.py --list

Each environment has processes of its own in which its programs and our kernels take turns, and
between the turns the roofs are measured: DRAM read bandwidth, and the rates of 8-bit dot products,
bf16 dot products and f32 FMA. Data are random; weights rotate over 256 MB (64 MB from 128 rows
on). Where it is allowed (root), timing runs at real-time priority. Cases whose time has run out
are left out. Figures are seconds of one product, median and best; the weight's bytes are its codes
and scales; errors are against a product in f64 of the dequantized weight, over the largest value.

Rows go into benchmarks/results/linear_cpu.PROCESSOR.json, in place of older ones of their names;
scripts/results render writes them into docs/results.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from linear_cpu import cases, ours, roofs
from measure import BIN, STORE, circumstances

ROUNDS, BUDGET = 5, 0.03  # turns of a program, and seconds of each


def slug() -> str:
    """The processor, as a part of a file name."""
    found = {}
    for line in Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines():
        key, _, value = line.partition(":")
        found[key.strip()] = value.strip()
    keys = ("model name", "cpu family", "model")
    text = " ".join(found[key] for key in keys if key in found)
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "unknown"


def default_output() -> Path:
    return STORE / f"linear_cpu.{slug()}.json"


def interpreters(folder: Path | None, told: list[str]) -> dict[str, Path]:
    """The Python of each environment that is there."""
    found = {}
    for name in cases.KERNELS:
        python = folder / name / "bin" / "python" if folder else None
        if python and python.exists():
            found[name] = python
    for entry in told:
        name, _, path = entry.partition("=")
        if name not in cases.KERNELS or not Path(path).exists():
            raise ValueError(f"no such environment or no such file: '{entry}'")
        found[name] = Path(path)
    return found


def lines(name: str, row: dict) -> list[str]:
    """A row as text."""
    rates = ", ".join(f"{kind} {rate / 1e9:.0f}" for kind, rate in row["roof"].items() if rate)
    text = [f"{name}: roofs in G/s: {rates}" + ("" if row["real_time"] else "; no real time")]
    for program, entry in row["entries"].items():
        if "seconds" not in entry:
            reason = "; ".join(f"{kind}: {why}" for kind, why in entry.items())
            text.append(f"  {program:32} {reason}")
            continue
        text.append(
            f"  {program:32} {entry['seconds'] * 1e6:10.1f} us, best {entry['best'] * 1e6:10.1f}, "
            f"{entry['dram']:4.0%} of DRAM, {entry['peak']:4.0%} of {entry['compute']:4}, "
            f"error {entry['error']:.1e}"
        )
    return text


class Store:
    """The file of results, written anew after each row."""

    def __init__(self, path: Path):
        self.path = path
        self.whole = {"versions": {}, "models": {}, "rows": {}}
        if path.exists():
            self.whole = json.loads(path.read_text())
        self.measured = circumstances()
        for key in ("processor", "cores"):
            self.whole[key] = self.measured[key]
        self.added: set[str] = set()

    def add(self, name: str, row: dict, kind: str = "rows") -> None:
        about = {key: self.measured[key] for key in ("date", "commit")}
        self.whole[kind][name] = rounded(row | about)
        self.added.add(name)
        partial = self.path.with_suffix(".partial")
        # A row is a line, or the file would be mostly white space.
        rows = ",\n".join(
            f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in self.whole["rows"].items()
        )
        head = json.dumps({key: value for key, value in self.whole.items() if key != "rows"})
        partial.write_text(f'{head[:-1]},\n "rows": {{\n{rows}\n}}}}\n')
        os.replace(partial, self.path)


def rounded(value):
    """Numbers with the digits that mean something."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return value


def wanted(chosen: list[cases.Case], environments) -> list[tuple[cases.Kernel, int, int, int]]:
    """Our kernels for the cases of some environments."""
    return list(dict.fromkeys(
        (kernel, case.k, case.n, case.m)
        for case in chosen if case.environment in environments
        for kernel in cases.KERNELS[case.environment]
    ))  # fmt: skip


def child(python: Path, environment: str, threads: int, group: list[cases.Case], given: dict,
          seconds: float, store: Store) -> str | None:  # fmt: skip
    """Times cases of an environment; what went wrong."""
    given = given | {
        "environment": environment, "threads": threads, "seconds": seconds,
        "cases": [[case.k, case.n, case.m] for case in group],
    }  # fmt: skip
    variables = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
    )
    variables |= {
        # LLVM's OpenMP spins for 200 ms otherwise, into the turns of others.
        "KMP_BLOCKTIME": "5",
        # Kernels are compared, not allocators: reading small pages takes a quarter longer.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [python, "-m", "linear_cpu.child", json.dumps(given)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | variables,
        )  # fmt: skip
        for line in process.stdout:
            row = json.loads(line)
            if "version" in row:
                store.whole["versions"][environment] = row["version"]
                continue
            case = cases.Case(environment, threads, row["k"], row["n"], row["m"])
            store.add(case.name, {"environment": environment, "threads": threads} | row)
            print("\n".join(lines(case.name, row)), flush=True)
        if process.wait():
            log.seek(0)
            return f"{environment}: exit code {process.returncode}\n{log.read()[-2000:]}"
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="the folder that was given to setup")
    parser.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH",
                        help="an environment that lies elsewhere")  # fmt: skip
    parser.add_argument("--only", default="", help="cases whose name matches")
    parser.add_argument("--minutes", type=float, default=40, help="no case begins later")
    parser.add_argument("--output", type=Path, default=default_output())
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args()
    chosen = cases.select(cases.cases(), options.only)
    if not chosen:
        sys.exit(f"run.py: error: no case matches '{options.only}'; see --list")
    if options.list:
        print("\n".join(case.name for case in chosen))
        return
    end = time.monotonic() + 60 * options.minutes
    try:
        pythons = interpreters(options.peers, options.python)
    except ValueError as error:
        sys.exit(f"run.py: error: {error}")
    missing = sorted({case.environment for case in chosen} - pythons.keys())
    if missing:
        print(f"run.py: left out, no environment: {', '.join(missing)}", file=sys.stderr)
    store, failures = Store(options.output), []
    with tempfile.TemporaryDirectory() as folder:
        try:
            ours.build(Path(folder), BIN / "quant-kernels", wanted(chosen, pythons))
        except (OSError, RuntimeError) as error:
            sys.exit(f"run.py: error: {error}")
        given = {
            "roofs": str(roofs.build(Path(folder))),
            "kernels": folder,
            "timing": {"rounds": ROUNDS, "budget": BUDGET},
        }
        # Consecutive cases of an environment share a process.
        for (environment, threads), group in itertools.groupby(
            chosen, lambda case: (case.environment, case.threads)
        ):
            left = end - time.monotonic()
            if environment not in pythons or left <= 0:
                continue
            failure = child(
                pythons[environment], environment, threads, list(group), given, left, store
            )
            if failure:
                failures.append(failure)
    left_out = sum(case.name not in store.added for case in chosen)
    print(f"wrote {options.output}: {len(store.added)} rows; {left_out} left out")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
