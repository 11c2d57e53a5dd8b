#!/usr/bin/env python3
# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Builds the folder that linear_gpu is: kernels, plan, and the program that times them.

  benchmarks/linear_gpu/build.py FOLDER [--chip sm_90a ...] [--ptx]

Needs a built quant-kernels; assembles with ptxas where there is one, else the driver does
when the kernels are loaded. Copy FOLDER to a machine with a GPU and PyTorch; there:

  python3 FOLDER/run.py
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(HERE), str(ROOT / "python")]

import ptxas
from quantopt import tools

CARRIED = ["driver.py", "packed.py", "peers.py", "run.py"]


def scheme(name, bits, group, zero="symmetric", table="linear", scale="f16"):
    zeros = {"symmetric": "symmetric", "integer": "integer_zero", "minimum": "float_minimum"}
    head = f"affine<bits = {bits}, group = {group}, {zeros[zero]}"
    if table != "linear":
        head = f"codebook<{table}, group = {group}"
    return {"name": name, "bits": bits, "group": group, "zero": zero, "table": table,
            "scale": scale, "attribute": f"#lowbit.{head}, scale = {scale}>"}  # fmt: skip


INT4 = scheme("int4 g128", 4, 128)
NF4 = scheme("nf4 g64", 4, 64, table="nf4")
OTHERS = [
    scheme("int4 g128, zeros", 4, 128, "integer"),
    scheme("int4 g32", 4, 32),
    scheme("int2 g64, minima", 2, 64, "minimum"),
    scheme("int3 g128, zeros", 3, 128, "integer"),
    scheme("int8 g128", 8, 128),
]
# N x K. Those of the goals, and two that are small beside the second-level cache.
SHAPES = [(8192, 8192), (28672, 8192), (8192, 28672), (4096, 4096), (14336, 4096)]
ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 2048]


def case(scheme, m, n, k, type_):
    return {"name": f"{scheme['name']} {type_}, M = {m}, {n} x {k}", "scheme": scheme,
            "m": m, "n": n, "k": k, "type": type_}  # fmt: skip


def cases():
    """All that is timed."""
    all_ = [case(INT4, m, n, k, "bf16") for n, k in SHAPES for m in ROWS]
    all_ += [case(NF4, m, n, k, "bf16") for n, k in SHAPES for m in ROWS if m <= 16]
    all_ += [case(INT4, m, 8192, 8192, "f16") for m in ROWS]
    all_ += [case(s, m, 8192, 8192, "bf16") for s in [NF4, *OTHERS] for m in (1, 16, 128, 2048)
             if not (s is NF4 and m <= 16)]  # fmt: skip
    return all_


def generate(folder: Path, number: int, entry: dict, chip: str, assemble: bool) -> dict:
    """Writes the kernels of a case for a chip; where they are and how they are launched."""
    stem = folder / "kernels" / f"{number:03}"
    text, plan = stem.with_suffix(f".{chip}.ptx"), stem.with_suffix(f".{chip}.json")
    tools.run("quant-kernels", [
        f"--scheme={entry['scheme']['attribute']}", f"--chip={chip}", f"--type={entry['type']}",
        f"--m={entry['m']}", f"--n={entry['n']}", f"--k={entry['k']}",
        "-o", str(text), f"--plan={plan}"])  # fmt: skip
    kernels = json.loads(plan.read_text())
    plan.unlink()
    image = text
    if assemble:
        image = text.with_suffix(".cubin")
        image.write_bytes(ptxas.assemble(text.read_text(), chip).cubin)
        text.unlink()
    return kernels | {"image": f"kernels/{image.name}"}


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True
    )
    return done.stdout.strip()


def build(folder: Path, entries: list[dict], chips: list[str], assemble: bool) -> None:
    """Fills `folder`; plan.json comes last, so that a folder with it is complete."""
    (folder / "kernels").mkdir(parents=True, exist_ok=True)
    jobs = [(number, entry, chip) for number, entry in enumerate(entries) for chip in chips]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda job: generate(folder, *job, assemble), jobs))
    planned = [entry | {"kernels": {}} for entry in entries]
    for (number, _, chip), kernels in zip(jobs, made):
        planned[number]["kernels"][chip] = kernels
    for name in CARRIED:
        shutil.copy(HERE / name, folder / name)
    about = {"commit": commit(), "date": date.today().isoformat(), "cases": planned}
    (folder / "plan.json").write_text(json.dumps(about, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--chip", action="append", help="sm_90a if none is given")
    parser.add_argument("--ptx", action="store_true", help="leave the kernels to the driver")
    options = parser.parse_args()
    assemble = not options.ptx
    try:
        ptxas.find()
    except ptxas.NotFound as error:
        print(f"build.py: the driver will assemble the kernels ({error})", file=sys.stderr)
        assemble = False
    try:
        build(options.folder, cases(), options.chip or ["sm_90a"], assemble)
    except (tools.ToolNotFound, tools.ToolFailed, ptxas.Failed, OSError) as error:
        sys.exit(f"build.py: error: {error}")
    print(f"now, on a machine with a GPU and PyTorch: python3 {options.folder}/run.py")


if __name__ == "__main__":
    main()
