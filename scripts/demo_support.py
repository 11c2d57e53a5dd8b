# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What scripts/demo needs beside the tools: its table, and a text to tokenize."""

import json
import sys
from pathlib import Path


def table(folder: Path, model: Path) -> None:
    """Prints the reports and measurements in `folder` as one table."""
    name = model.stem

    def read(what: str):
        return json.loads((folder / f"{name}.{what}.json").read_text())

    reports = {method: read(method) for method in ("rtn", "gptq")}
    weights = sum(layer["n"] * layer["k"] for layer in reports["gptq"]["layers"])
    before = reports["gptq"]["model"]["weight_bytes_before"]
    rows = [
        ("", "file", "weights", "bits per", "perplexity", "KL diver-", "same top", "time", "CPU", "peak"),
        ("", "MB", "MB", "weight", "", "gence", "token %", "s", "s", "MB"),
        (
            "float",
            f"{model.stat().st_size / 1e6:.2f}",
            f"{before / 1e6:.2f}",
            f"{8 * before / weights:.3f}",
            f"{read('float.perplexity')['perplexity']:.4f}",
        ),
    ]
    for method, report in reports.items():
        file, total = folder / f"{name}.{method}.mlirbc", report["model"]
        measured = read(f"{method}.perplexity")
        rows.append(
            (
                method,
                f"{file.stat().st_size / 1e6:.2f}",
                f"{total['weight_bytes_after'] / 1e6:.2f}",
                f"{total['bits_per_weight']:.3f}",
                f"{measured['perplexity']:.4f}",
                f"{measured['kl_divergence']:.5f}",
                f"{100 * measured['same_top1']:.2f}",
                f"{total['wall_seconds']:.1f}",
                f"{total['cpu_seconds']:.1f}",
                f"{total['peak_bytes'] / 1e6:.0f}",
            )
        )
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    print(
        f"\nMeasured over {read('gptq.perplexity')['predictions']} predicted tokens. "
        "weights: of the layers that were quantized,\n"
        "metadata included; file: with all that stays float and the calibration samples. KL\n"
        "divergence and same top token: against the float model. time, CPU and peak memory:\n"
        "of the quantizing pass.\n"
        f"Layer by layer: {folder / f'{name}.gptq.json'}"
    )


def text(train: Path, test: Path) -> None:
    """Writes the held-out text of the example model as two files."""
    import numpy as np

    example = Path(__file__).resolve().parents[1] / "examples" / "char-lm"
    characters = json.loads((example / "vocab.json").read_text())
    letters = "".join(characters[i] for i in np.load(example / "heldout.npy").reshape(-1))
    # The first part must hold 32 windows of 512 tokens.
    cut = len(letters) * 7 // 10
    train.write_text(letters[:cut])
    test.write_text(letters[cut:])


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    {"table": table, "text": text}[command](*map(Path, arguments))
