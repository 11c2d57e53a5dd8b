# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs of a program with what they cost, and the store of measured rows."""

from __future__ import annotations

import atexit
import datetime
import functools
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"
BIN = Path(os.environ.get("QUANTOPT_BIN", ROOT / "build" / "bin"))
PYTHON = os.environ.get("QUANTOPT_PYTHON", str(ROOT / ".venv" / "bin" / "python"))
WORK = ROOT / "demo-out" / "results"
STORE = ROOT / "benchmarks" / "results"


@functools.cache
def scratch() -> Path:
    """A folder of this process alone, which goes with it."""
    WORK.mkdir(parents=True, exist_ok=True)
    folder = tempfile.TemporaryDirectory(dir=WORK)
    atexit.register(folder.cleanup)
    return Path(folder.name)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def run(command, env: dict[str, str] | None = None) -> dict:
    """Runs to the end; wall and CPU seconds and peak memory of the process."""
    say("$ " + " ".join(str(part) for part in command))
    start = datetime.datetime.now()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=log, stderr=subprocess.STDOUT,
            env=dict(os.environ, **(env or {})),
        )  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read().decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"failed ({process.returncode}): {command[0]}\n{output[-4000:]}")
    return {
        "wall": (datetime.datetime.now() - start).total_seconds(),
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1000,
        "output": output,
    }


def cost(finished: dict) -> dict:
    return {key: finished[key] for key in ("wall", "cpu", "peak_mb")}


def processor() -> str:
    """Model and the vector extensions that matter here."""
    model, flags = platform.machine(), set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        if key.strip() == "flags":
            flags = set(value.split())
    known = ["avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni"]
    return " ".join([model, *(flag for flag in known if flag in flags)])


def circumstances() -> dict:
    """Where and when a row is measured, and whether other work ran beside it."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "commit": commit.stdout.strip(),
        # Our own threads count too.
        "busy": os.getloadavg()[0] > 1.5 * os.cpu_count(),
    }


def stored(name: str) -> dict:
    """The figures of benchmarks/results/NAME.json; rows are kept by name."""
    path = STORE / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {"rows": {}}


def store(name: str, row: str, figures: dict, **about) -> None:
    """Puts one row in its place and leaves the others as they are."""
    whole = stored(name)
    whole.update(about)
    whole["rows"][row] = dict(figures, measured=circumstances())
    STORE.mkdir(parents=True, exist_ok=True)
    path = STORE / f"{name}.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(whole, indent=1) + "\n")
    os.replace(partial, path)
