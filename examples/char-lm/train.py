# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains the example model on a text file, one core, a fixed seed.

The last tenth of the text is held out: no training step sees it, and the
figures printed at the end are measured on it.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from model import CharLM, Config

HERE = Path(__file__).resolve().parent
TEXT = HERE.parents[2] / "shared" / "data" / "text" / "tinyshakespeare" / "input.txt"


@torch.no_grad()
def evaluate(model: CharLM, tokens: torch.Tensor) -> float:
    """Nats per character over whole windows, each on its own, its first character unscored."""
    length = model.config.context
    windows = tokens[: len(tokens) // length * length].view(-1, length)
    total = 0.0
    for batch in windows.split(16):
        logits = model(batch)[:, :-1]
        total += F.cross_entropy(
            logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum"
        ).item()
    return total / (len(windows) * (length - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "text", nargs="?", type=Path, default=TEXT, help="the text file (default: %(default)s)"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("char-lm.safetensors"),
        help="the checkpoint; calibration.npy goes beside it",
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=HERE,
        help="folder for vocab.json and heldout.npy",
    )
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--weight-decay", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--bf16",
        action="store_true",
        help="bfloat16 products, quicker where the processor has them",
    )
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(1)

    text = options.text.read_text(encoding="utf-8")
    vocabulary = sorted(set(text))
    if len(vocabulary) > 256:
        parser.error(
            f"{options.text}: {len(vocabulary)} different characters, at most 256 fit uint8 token ids"
        )
    index = {character: i for i, character in enumerate(vocabulary)}
    tokens = np.array([index[character] for character in text], dtype=np.uint8)
    split = len(tokens) * 9 // 10
    config = Config(vocabulary=len(vocabulary))
    model = CharLM(config)

    # Calibration windows come from the training part, at even distances.
    starts = np.linspace(0, split - config.context, 64).astype(np.int64)
    calibration = np.stack([tokens[start : start + config.context] for start in starts]).astype(
        np.int64
    )
    (options.data / "vocab.json").write_text(
        json.dumps("".join(vocabulary)) + "\n", encoding="utf-8"
    )
    np.save(options.data / "heldout.npy", tokens[split:])
    np.save(options.output.parent / "calibration.npy", calibration)

    train = torch.from_numpy(tokens[:split].astype(np.int64))
    heldout = torch.from_numpy(tokens[split:].astype(np.int64))
    matrices = [p for p in model.parameters() if p.dim() == 2]
    gains = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": gains, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    count = sum(p.numel() for p in model.parameters())
    print(
        f"{count} parameters, {split} characters to train on, {len(heldout)} held out", flush=True
    )

    warmup = max(1, options.steps // 20)
    offsets = torch.arange(config.context + 1)
    begin = time.monotonic()
    for step in range(options.steps):
        progress = max(0, step - warmup) / max(1, options.steps - warmup)
        rate = options.rate * min(
            (step + 1) / warmup, 0.02 + 0.49 * (1 + math.cos(math.pi * progress))
        )
        for group in optimizer.param_groups:
            group["lr"] = rate
        starts = torch.randint(split - config.context, (options.batch, 1))
        batch = train[starts + offsets]
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if (step + 1) % 50 == 0 or step < 3:
            seconds = time.monotonic() - begin
            left = seconds / (step + 1) * (options.steps - step - 1)
            print(
                f"step {step + 1}/{options.steps}  loss {loss.item():.4f}  {seconds:.0f} s, {left:.0f} s left",
                flush=True,
            )

    model.eval()
    nats = evaluate(model, heldout)
    save_file(model.state_dict(), options.output)
    print(
        f"held out: {nats:.4f} nats per character, perplexity {math.exp(nats):.4f}; wrote {options.output}"
    )


if __name__ == "__main__":
    main()
