# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What models of billions of parameters cost, from one block of their shapes.

  scripts/results scale [--only REGEX]
  python benchmarks/scale.py FOLDER --hidden 512 --intermediate 1376 --heads 8 --samples 8
      --length 256              the same steps on other shapes, nothing is stored

Makes a decoder layer of Llama-7B's shapes (transformers' own module) with random
weights, and hidden states as a trained model has them: correlated, and a few
channels a hundred times as large as the others; both in bf16, as models of this
size are published. Quantizes it by the runs in RUNS and stores time and peak
memory of each. section() gives the part of
docs/results.md, with what follows for whole models.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path

from measure import BIN, PYTHON, ROOT, WORK, circumstances, cost, run, say, store, stored


@dataclass(frozen=True)
class Shape:
    """A decoder layer; `kv` is the width of keys and values."""

    hidden: int
    intermediate: int
    heads: int
    kv: int
    blocks: int = 1

    @property
    def linears(self) -> list[tuple[int, int, bool]]:
        """(N, K, whether it is the first that reads this input)"""
        h, i = self.hidden, self.intermediate
        return [(h, h, True), (self.kv, h, False), (self.kv, h, False), (h, h, True),
                (i, h, True), (i, h, False), (h, i, True)]  # fmt: skip

    @property
    def weights(self) -> int:
        return sum(n * k for n, k, _ in self.linears)

    def work(self, tokens: int, length: int) -> dict[str, float]:
        """Multiplications of a block by part of the run.

        forward: the linears, and attention scores and values over whole windows.
        Hessian: half of X^T X for each input. solve: a factorisation of K^3 for
        each input, and N K^2 / 2 updates for each linear.
        """
        forward = tokens * (self.weights + 2 * length * self.hidden)
        hessian = sum(tokens * k * k / 2 for _, k, first in self.linears if first)
        solve = sum(n * k * k / 2 + (k**3 if first else 0) for n, k, first in self.linears)
        return {"forward": forward, "hessian": hessian, "solve": solve}

    def bytes(self, tokens: int, length: int) -> dict[str, float]:
        """The large things that are in memory while H of down_proj is factorised, in bf16.

        Weights and samples are mapped from their files and leave memory while nobody reads them.
        """
        return {
            "residual": 2 * tokens * self.hidden,
            "inputs of down_proj": 2 * tokens * self.intermediate,
            "Hessian, its factor and half an fp64 matrix": (4 + 4 + 4) * self.intermediate**2,
            "quantized weights": self.weights / 2,
        }

    def attention_bytes(self, length: int) -> float:
        """What attention holds for a sample that runs: scores as the graph has them, in bf16
        before and after the softmax and in f32 inside it."""
        return (2 + 4 + 2) * self.heads * length**2


MEASURED = Shape(4096, 11008, 32, 4096)
SAMPLES, LENGTH = 32, 2048
MODELS = {
    "Llama-2-7B": Shape(4096, 11008, 32, 4096, blocks=32),
    "Llama-2-70B": Shape(8192, 28672, 64, 1024, blocks=80),
}
CORES = (2, 16, 64)


@dataclass(frozen=True)
class Run:
    name: str
    passName: str
    options: str
    share: float = 1  # of the samples
    threads: int = 2
    dtype: str = "bf16"  # of weights and activations


# The parts of a run are told apart by three of them: the Hessian grows with the
# samples and the solve does not; one thread tells what more threads help.
PARTS = ("GPTQ", "GPTQ, a quarter of the samples", "GPTQ, a quarter, 1 thread")
RUNS = [
    Run("GPTQ", "gptq-quantize", ""),
    Run("GPTQ, a quarter of the samples", "gptq-quantize", "", share=0.25),
    Run("GPTQ, a quarter, 1 thread", "gptq-quantize", "", share=0.25, threads=1),
    Run("balanced", "lowbit-quantize", "preset=balanced"),
    Run("GPTQ, f32", "gptq-quantize", "", dtype="f32"),
]
WIDTH = {"bf16": 2, "f32": 4}

MAKE = """
import json, sys, torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding
from quantopt import from_torch
from quantopt._safetensors import save
from quantopt.importer import store
hidden, intermediate, heads, kv, samples, length = json.loads(sys.argv[1])
folder, dtype = sys.argv[2], {"bf16": torch.bfloat16, "f32": torch.float32}[sys.argv[3]]
config = LlamaConfig(hidden_size=hidden, intermediate_size=intermediate, num_attention_heads=heads,
    num_key_value_heads=kv * heads // hidden, num_hidden_layers=1, max_position_embeddings=length,
    attn_implementation="eager")
chance = torch.Generator().manual_seed(0)

class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = LlamaDecoderLayer(config, 0)
        mask = torch.full((1, 1, length, length), torch.finfo(dtype).min).triu(1)
        self.register_buffer("mask", mask, persistent=False)
        positions = torch.arange(length)[None]
        cosine, sine = LlamaRotaryEmbedding(config)(torch.zeros(1), positions)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    def forward(self, hidden):
        return self.layer(hidden, attention_mask=self.mask,
                          position_embeddings=(self.cosine, self.sine))

block = Block().eval().requires_grad_(False)
for value in block.layer.parameters():
    if value.ndim == 2:
        # Rows of different length, as training leaves them.
        value.normal_(std=value.shape[1] ** -0.5, generator=chance)
        value.mul_(torch.empty(len(value), 1).log_normal_(0, 0.3, generator=chance))
    else:
        value.log_normal_(-0.7, 0.3, generator=chance)
block.to(dtype)
from_torch(block, torch.zeros(1, length, hidden, dtype=dtype), output=folder + "/block.mlirbc")
del block

scale = torch.empty(hidden).log_normal_(0, 0.5, generator=chance)
scale[torch.randperm(hidden, generator=chance)[: max(4, hidden // 1000)]] *= 100
rank = hidden // 8
mixing = torch.empty(rank, hidden).normal_(std=rank ** -0.5, generator=chance)
states = torch.empty(samples, 1, length, hidden, dtype=dtype)
for sample in range(samples):
    common = torch.empty(length, rank).normal_(generator=chance) @ mixing
    own = torch.empty(length, hidden).normal_(generator=chance)
    states[sample, 0] = (common + 0.5 * own) * scale
save(folder + "/states.safetensors", {"arg0": store(states)})
"""


def make(folder: Path, shape: Shape, samples: int, length: int, dtype: str) -> None:
    """FOLDER/block.mlirbc and FOLDER/states.safetensors, [samples, 1, length, hidden]."""
    if (folder / "states.safetensors").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [shape.hidden, shape.intermediate, shape.heads, shape.kv, samples, length]
    run([PYTHON, "-c", MAKE, json.dumps(sizes), folder, dtype],
        {"PYTHONPATH": str(ROOT / "python"), "QUANTOPT_BIN": str(BIN)})  # fmt: skip


def quantize(folder: Path, entry: Run, shape: Shape, samples: int, length: int) -> dict:
    folder = folder / entry.dtype
    make(folder, shape, samples, length, entry.dtype)
    report, output = folder / "report.json", folder / "quantized.mlirbc"
    used = max(1, round(entry.share * samples))
    finished = run([
        BIN / "quant-opt", folder / "block.mlirbc",
        f"--{entry.passName}={entry.options} calibration={folder / 'states.safetensors'} "
        f"samples={used} threads={entry.threads} progress=none report={report}", "-o", output])  # fmt: skip
    table = json.loads(report.read_text())
    output.unlink()
    return {
        "options": f"--{entry.passName}={entry.options}", "dtype": entry.dtype,
        "samples": used, "threads": entry.threads, "cost": cost(finished),
        "wall": table["model"]["wall_seconds"],
        "layers": {layer["name"]: layer["seconds"] for layer in table["layers"]},
    }  # fmt: skip


def measure(only: str = "") -> None:
    for entry in RUNS:
        if re.search(only, entry.name):
            say(f"== scale: {entry.name}")
            store("scale", entry.name,
                  quantize(WORK / "scale", entry, MEASURED, SAMPLES, LENGTH))  # fmt: skip


# --- The page -----------------------------------------------------------------


def parts(rows: dict[str, dict]) -> dict[str, dict[str, float]]:
    """Wall seconds of each part in the runs of PARTS.

    While a layer is quantized all samples wait, so what the layers did not take
    is the forward pass. Of what they took the Hessian grows with the samples.
    """
    whole, quarter, single = (rows[name] for name in PARTS)
    share = quarter["samples"] / whole["samples"]
    found = {}
    for name, row in zip(PARTS, (whole, quarter, single)):
        layers = sum(row["layers"].values())
        found[name] = {"forward": row["wall"] - layers, "layers": layers}
    hessian = (found[PARTS[0]]["layers"] - found[PARTS[1]]["layers"]) / (1 - share)
    found[PARTS[0]] |= {"hessian": hessian, "solve": found[PARTS[0]]["layers"] - hessian}
    return found


def amdahl(one: float, two: float) -> float:
    """The part that more threads do not help, from the times of one and two."""
    return min(max(2 * two / one - 1, 0), 1)


def section(rows: dict[str, dict] | None = None, shape: Shape = MEASURED,
            samples: int = SAMPLES, length: int = LENGTH) -> list[str]:  # fmt: skip
    from page import machines, table

    rows = stored("scale")["rows"] if rows is None else rows
    if not rows:
        return []
    tokens = samples * length
    weights = {dtype: width * shape.weights / 1e6 for dtype, width in WIDTH.items()}
    lines = [[name, row["dtype"], str(row["samples"]), str(row["threads"]),
              f"{row['cost']['wall']:.0f}", f"{row['cost']['cpu']:.0f}",
              f"{row['cost']['peak_mb']:.0f}",
              f"{row['cost']['peak_mb'] - weights[row['dtype']]:.0f}"]
             for name, row in rows.items()]  # fmt: skip
    text = [
        "## Scale: one block of Llama-7B's shapes",
        f"{shape.hidden} and {shape.intermediate}, random weights ({weights['bf16']:.0f} MB in "
        f"bf16), {samples} samples of {length} tokens with outlier channels; benchmarks/scale.py. "
        "Weights and activations are bf16, as models of this size are published. "
        + machines(rows.values(), column=False),
        table(["run", "graph", "samples", "threads", "wall s", "CPU s", "peak MB",
               "less the weights"], lines),
    ]
    if not all(name in rows for name in PARTS):
        return text
    times = parts(rows)
    whole, work = times[PARTS[0]], shape.work(tokens, length)
    total = sum(whole[part] for part in work)
    # What a thread more brings: the forward pass and the layers, each as a whole.
    serial = {"forward": amdahl(times[PARTS[2]]["forward"], times[PARTS[1]]["forward"])}
    serial["hessian"] = serial["solve"] = amdahl(
        times[PARTS[2]]["layers"], times[PARTS[1]]["layers"]
    )
    text += [
        "While a layer is quantized all samples wait, so what the layers did not take is the "
        "forward pass; of what they took, the part that grows with the samples is the Hessian, the "
        "rest the solve (factorisation, scales and codes). Rates are multiplications and additions "
        "by the counts in scale.py; the serial part is what the times of one and of two threads "
        "say by Amdahl's law.",
        table(["part", "wall s", "share", "GFLOP/s", "serial part"],
              [[part, f"{whole[part]:.0f}", f"{whole[part] / total:.0%}",
                f"{2 * work[part] / whole[part] / 1e9:.0f}", f"{serial[part]:.1%}"]
               for part in work]),
    ]  # fmt: skip
    lines = []
    for name, model in MODELS.items():
        count, size = model.work(tokens, length), model.bytes(tokens, length)
        seconds = {part: whole[part] * count[part] / work[part] * model.blocks for part in work}
        hours = [sum(seconds[part] * (serial[part] + (1 - serial[part]) * 2 / cores)
                     / (serial[part] + (1 - serial[part])) for part in work) / 3600
                 for cores in CORES]  # fmt: skip
        lines.append([name, str(model.blocks), *(f"{value:.1f}" for value in hours),
                      f"{sum(size.values()) / 1e9:.1f}",
                      ", ".join(f"{key} {value / 1e9:.1f}" for key, value in size.items()),
                      f"{model.attention_bytes(length) / 1e9:.1f}"])  # fmt: skip
    size = shape.bytes(tokens, length)
    estimate = (sum(size.values()) - size["residual"]) / 1e6
    text += [
        "Whole models, on paper: each part grows with its count of multiplications (the solve with "
        "the cube of K, the others with its square) and with the blocks; more cores shorten all but "
        f"the serial part, as far as there are samples to run at once ({samples} here: beyond that "
        "many cores the forward pass needs more samples). Memory is one block's, whatever the "
        "number of blocks but for what is quantized already. It is widest where H of down_proj is "
        "factorised: the sum of what is listed, weights and samples being mapped from their files; "
        f"for the block above {estimate:.0f} MB, as in the last block nobody waits for the residual, "
        f"where {rows[PARTS[0]]['cost']['peak_mb']:.0f} MB were measured for the whole process, "
        "program included. Attention with its scores written "
        "out, as this graph has it, needs the last column for each thread, so with many cores it "
        "is what takes most.",
        table(["model", "blocks", *(f"hours, {cores} cores" for cores in CORES), "GB", "of which",
               "GB a thread in attention"], lines),
    ]  # fmt: skip
    return text


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    for name in ("hidden", "intermediate", "heads", "samples", "length"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    shape = Shape(options.hidden, options.intermediate, options.heads, options.hidden)
    rows = {
        entry.name: dict(
            quantize(options.folder, entry, shape, options.samples, options.length),
            measured=circumstances(),
        )
        for entry in RUNS
        if re.search(options.only, entry.name)
    }
    print("\n\n".join(section(rows, shape, options.samples, options.length)))


if __name__ == "__main__":
    main()
