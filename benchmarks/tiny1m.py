# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A Llama of 1 M parameters that tells small stories, to compare methods on.

  python benchmarks/tiny1m.py FOLDER

Writes to FOLDER, from llama-tiny1m and TinyStories in ../shared/data:

  tiny1m.mlirbc     the float model with 128 calibration windows attached
  test.npy          [160, 128] token ids for quant-run --perplexity: float 6.693
  heldout.npz       128 calibration windows (arg0) that no test window shares

The protocol is that of ../shared/docs/peers-quality.md: windows of 128 tokens;
every paragraph starts with <s> and a space. Calibration there is the start of
the second file, which is the text of the first: it is not held out, and so a
method that fits the calibration data too closely looks better than it is.
heldout.npz is for judging that.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"
MODEL = DATA / "llama-tiny1m"
STORIES = DATA / "text" / "tinystories"

LENGTH, TEST, CALIBRATION = 128, 160, 128
BOS = 1


class Tokenizer:
    """SentencePiece BPE: the pair whose piece scores highest is merged first."""

    def __init__(self, path: Path):
        pieces = json.loads(path.read_text())
        self.bytes = {}
        self.numbers = {}
        self.scores = {}
        for entry in pieces:
            piece = entry["piece"]
            if piece.startswith("<0x"):
                self.bytes[int(piece[1:-1], 16)] = entry["id"]
            elif entry["id"] > 2:
                self.numbers[piece] = entry["id"]
                self.scores[piece] = entry["score"]

    @functools.cache
    def word(self, text: str) -> list[int]:
        parts = list(text)
        while True:
            pairs = [a + b for a, b in zip(parts, parts[1:])]
            known = [pair for pair in pairs if pair in self.scores]
            if not known:
                break
            best = max(known, key=self.scores.__getitem__)
            at = pairs.index(best)
            parts[at : at + 2] = [best]
        ids = []
        for part in parts:
            number = self.numbers.get(part)
            ids += [self.bytes[b] for b in part.encode()] if number is None else [number]
        return ids

    def paragraph(self, text: str) -> list[int]:
        """No piece reaches over the start of a word."""
        words = text.split(" ")
        return [BOS, *(number for word in words for number in self.word("▁" + word))]


def paragraphs(name: str) -> list[str]:
    path = STORIES / name
    if not path.exists():
        sys.exit(f"{path} is missing: tiny1m reads TinyStories there")
    lines = (line.strip() for line in path.read_text(encoding="utf-8").split("\n"))
    return [line for line in lines if line]


def windows(tokenizer: Tokenizer, texts: list[str], count: int) -> np.ndarray:
    """The first `count` windows, [count, LENGTH]."""
    ids = [number for text in texts for number in tokenizer.paragraph(text)]
    return np.array(ids[: count * LENGTH], dtype=np.int64).reshape(count, LENGTH)


def load():
    import torch
    import transformers
    from safetensors.torch import load_file

    stored = json.loads((MODEL / "config.json").read_text())
    config = transformers.LlamaConfig(
        hidden_size=stored["hidden_size"],
        num_hidden_layers=stored["num_layers"],
        num_attention_heads=stored["num_heads"],
        num_key_value_heads=stored["num_kv_heads"],
        head_dim=stored["head_dim"],
        intermediate_size=stored["intermediate_size"],
        vocab_size=stored["vocab_size"],
        max_position_embeddings=stored["max_position"],
        rms_norm_eps=stored["rms_norm_eps"],
        rope_theta=stored["rope_theta"],
        tie_word_embeddings=stored["tie_embeddings"],
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(load_file(MODEL / "tiny1m.safetensors"))
    return model.eval().requires_grad_(False)


def make(folder: Path) -> None:
    import torch

    sys.path.insert(0, str(ROOT / "python"))
    from quantopt import from_torch
    from quantopt.models import CausalLM

    tokenizer = Tokenizer(MODEL / "tokens.json")
    first = paragraphs("TinyStories_77k_excerpt.txt")
    second = paragraphs("tinystories_200k_excerpt.txt")
    unseen = [text for text in second if text not in set(first)]
    calibration = windows(tokenizer, second, CALIBRATION)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "test.npy", windows(tokenizer, first, TEST))
    np.savez(folder / "heldout.npz", arg0=windows(tokenizer, unseen, CALIBRATION))
    from_torch(
        CausalLM(load(), LENGTH),
        torch.zeros(1, LENGTH, dtype=torch.int64),
        calibration[:, None],
        folder / "tiny1m.mlirbc",
        rename=CausalLM.checkpoint_name,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    make(parser.parse_args().folder)


if __name__ == "__main__":
    main()
