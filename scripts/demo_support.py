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

    reports = {method: read(method)["model"] for method in ("rtn", "gptq")}
    header = ("", "file", "weights", "bits per", "perplexity", "KL diver-", "same top", "seconds")
    below = ("", "MB", "MB", "weight", "", "gence", "token %", "")
    rows = [header, below]
    for method in ("float", "rtn", "gptq"):
        file = model if method == "float" else folder / f"{name}.{method}.mlirbc"
        report, measured = reports.get(method), read(f"{method}.perplexity")
        row = [method, f"{file.stat().st_size / 1e6:.2f}"]
        if report:
            row += [
                f"{report['weight_bytes_after'] / 1e6:.2f}",
                f"{report['bits_per_weight']:.3f}",
                f"{measured['perplexity']:.4f}",
                f"{measured['kl_divergence']:.5f}",
                f"{100 * measured['same_top1']:.2f}",
                f"{report['wall_seconds']:.1f}",
            ]
        else:
            before = reports["gptq"]["weight_bytes_before"]
            row += [f"{before / 1e6:.2f}", "", f"{measured['perplexity']:.4f}", "", "", ""]
        rows.append(row)
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        print("  ".join(cells).rstrip())
    print(
        f"\nOver {read('gptq.perplexity')['predictions']} predicted tokens. "
        "weights: the quantized layers alone, metadata\n"
        "included; file: with everything that stays float and the calibration samples. KL\n"
        "divergence and same top token: against the float model. seconds: of the pass.\n"
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
