# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hugging Face causal language models as modules of one input.

Any architecture that AutoModelForCausalLM builds: the wrapper passes an
explicit 4-D causal mask and explicit positions, which every such model takes
as they are, and returns the logits. Nothing here knows a model by name.
"""

from __future__ import annotations

import importlib.util
import inspect
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ._progress import step

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class ModelError(ValueError):
    """The model cannot be found or is not one that can be imported."""


@dataclass(frozen=True)
class Source:
    """Where a model lies: a Hugging Face folder, or a GGUF file in a folder."""

    folder: Path
    gguf: str | None = None

    @property
    def arguments(self) -> dict[str, str]:
        return {"gguf_file": self.gguf} if self.gguf else {}


def resolve(name: str | os.PathLike[str]) -> Source:
    """What `name` means: a folder, a .gguf file, or an installed Python module with one inside."""
    path = Path(name)
    if path.is_file():
        if path.suffix != ".gguf":
            raise ModelError(f"{path}: not a .gguf file; give a GGUF file or a Hugging Face folder")
        return Source(path.parent, path.name)
    if path.is_dir():
        return _in_folder(path)
    module = str(name).replace("-", "_")
    if module.isidentifier():
        found = importlib.util.find_spec(module)
        if found is not None and found.submodule_search_locations:
            return _in_folder(Path(list(found.submodule_search_locations)[0]))
    raise ModelError(
        f"no model '{name}': give a Hugging Face folder (with config.json), a .gguf file, "
        "or the name of an installed Python package that holds one"
    )


def _in_folder(folder: Path) -> Source:
    if (folder / "config.json").is_file():
        return Source(folder)
    files = sorted(file.name for file in folder.glob("*.gguf"))
    if len(files) == 1:
        return Source(folder, files[0])
    what = f"{len(files)} GGUF files" if files else "neither config.json nor a GGUF file"
    raise ModelError(f"{folder}: holds {what}; name one GGUF file or a Hugging Face folder")


def load_tokenizer(source: Source):
    """The model's own tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(source.folder, **source.arguments)


def load(source: Source, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """The causal language model of `source`, ready for inference."""
    import transformers

    with step(f"loading {source.gguf or source.folder.name}"):
        # from_pretrained draws its own bars; ours is the line above.
        transformers.utils.logging.disable_progress_bar()
        config = transformers.AutoConfig.from_pretrained(source.folder, **source.arguments)
        _undo_float32(config)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            source.folder,
            config=config,
            dtype=dtype,
            attn_implementation="eager",
            **source.arguments,
        )
    return model.eval().requires_grad_(False)


def _undo_float32(config) -> None:
    """Gives a number that GGUF keeps as float32 the value that was meant (1e-5, not 9.99999975e-06)."""
    for key, value in list(vars(config).items()):
        if isinstance(value, float) and value == float(np.float32(value)):
            setattr(config, key, float(str(np.float32(value))))


def check_window(model: torch.nn.Module, length: int, option: str) -> None:
    """Raises ModelError if tokens of a text of `length` do not see all before them."""
    window = getattr(model.config, "sliding_window", None)
    if window and getattr(model.config, "use_sliding_window", True) and length > window:
        raise ModelError(
            f"the model attends to {window} tokens only and {length} were asked for: "
            f"use {option} {window} or less"
        )


class CausalLM(torch.nn.Module):
    """Token ids [1, length] to logits [1, length, vocabulary], and nothing else."""

    PREFIX = "wrapped."

    def __init__(self, model: torch.nn.Module, length: int):
        super().__init__()
        check_window(model, length, "--seq-len")
        self.wrapped = model
        mask = torch.full(
            (1, 1, length, length), torch.finfo(model.dtype).min, dtype=model.dtype
        ).triu(1)
        self.register_buffer("causal_mask", mask, persistent=False)
        self.register_buffer("position_ids", torch.arange(length)[None], persistent=False)
        known = inspect.signature(model.forward).parameters
        if "attention_mask" not in known:
            raise ModelError(
                f"{type(model).__name__} takes no attention mask: not a model of the kind supported"
            )
        self._takes_positions = "position_ids" in known

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        positions = {"position_ids": self.position_ids} if self._takes_positions else {}
        return self.wrapped(
            input_ids=input_ids,
            attention_mask=self.causal_mask,
            use_cache=False,
            return_dict=True,
            **positions,
        ).logits

    @classmethod
    def checkpoint_name(cls, name: str) -> str:
        """A parameter's name without the wrapper: as the checkpoint has it."""
        return name.removeprefix(cls.PREFIX)
