# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Functions that read a prompt and write one token after another.

Both take token ids, the position of the first of them in each sequence, and
the key/value caches, which are arguments and, with the new keys and values in
their place, results. What a cache holds behind a sequence's last token is
masked: a function may write anything there.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Sequence

import torch
import transformers

from .importer import Function
from .models import ModelError, check_window


def functions(
    model: torch.nn.Module,
    cache_length: int,
    prefill_length: int,
    batch: int,
    cache_type: torch.dtype | None = None,
) -> list[Function]:
    """`prefill` and `decode` of the Hugging Face model `model`, for import_functions.

    prefill(tokens [batch, prefill_length], positions [batch], last [batch], caches...)
      -> (logits [batch, vocabulary] of token `last` of each sequence, caches...)
    decode(tokens [batch, 1], positions [batch], caches...) -> the same
    with int64 numbers and, for each layer, the caches of its keys and values,
    [batch, heads, cache_length, size of a head], in `cache_type` or, without
    one, the type that the model computes in.
    """
    if cache_length % prefill_length:
        raise ModelError(
            f"a cache of {cache_length} tokens is not filled by whole pieces of {prefill_length}: "
            f"give a --cache-length that is a multiple of --prefill-length"
        )
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest and cache_length > longest:
        raise ModelError(
            f"the model knows {longest} positions and a cache of {cache_length} was asked for: "
            f"use --cache-length {longest} or less"
        )
    check_window(model, cache_length, "--cache-length")
    caches = _empty_caches(model, batch, cache_length, cache_type)
    result = []
    for name, length in (("prefill", prefill_length), ("decode", 1)):
        # Tensors of their own: torch.export takes one given twice for one input.
        shapes = [(batch, length), (batch,), (batch,)][: 3 if name == "prefill" else 2]
        numbers = [torch.zeros(shape, dtype=torch.int64) for shape in shapes]
        places = {len(numbers) + i: 1 + i for i in range(len(caches))}
        cached = CachedLM(model, cache_length, picks_row=name == "prefill")
        result.append(Function(name, cached, (*numbers, *caches), places))
    return result


class CachedLM(torch.nn.Module):
    """Tokens and caches to logits of one token of each sequence, and caches."""

    def __init__(self, model: torch.nn.Module, cache_length: int, picks_row: bool):
        super().__init__()
        self.wrapped = model
        self.cache_length = cache_length
        self.picks_row = picks_row
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters

    def forward(self, tokens: torch.Tensor, positions: torch.Tensor, *rest: torch.Tensor):
        last, caches = (rest[0], rest[1:]) if self.picks_row else (None, rest)
        length = tokens.shape[1]
        places = positions[:, None] + torch.arange(length)
        visible = torch.arange(self.cache_length) <= places[:, None, :, None]
        dtype = self.wrapped.dtype
        mask = torch.where(visible, 0.0, torch.finfo(dtype).min).to(dtype)
        cache = _Cache(caches, _starts(positions, self.cache_length - length), length)
        with _one_row(self.wrapped, last):
            logits = self.wrapped(
                input_ids=tokens,
                attention_mask=mask,
                past_key_values=cache,
                use_cache=True,
                return_dict=True,
                **({"position_ids": places} if self._takes_positions else {}),
            ).logits
        return (logits[:, 0], *cache.tensors)


def _starts(positions: torch.Tensor, most: int) -> list[torch.SymInt]:
    """Each sequence's position as a number that slices can begin at."""
    starts = []
    for position in positions.unbind():
        start = position.item()
        torch._check(start >= 0)
        torch._check(start <= most)
        starts.append(start)
    return starts


class _Cache(transformers.Cache):
    """Caches of a given size, to which each layer adds its keys and values."""

    def __init__(self, tensors: Sequence[torch.Tensor], starts: Sequence[torch.SymInt], length: int):
        super().__init__(layers=[])
        self.tensors = list(tensors)
        self.starts = starts
        self.length = length

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0  # positions and mask say all that models ask this for

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        for i, new in enumerate((key_states, value_states), start=2 * layer_idx):
            self.tensors[i] = self._write(self.tensors[i], new)
        return tuple(self.tensors[2 * layer_idx + i].to(key_states.dtype) for i in range(2))

    def _write(self, cache: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        for b, start in enumerate(self.starts):
            row = torch.slice_scatter(
                cache[b : b + 1], new[b : b + 1].to(cache.dtype), 2, start, start + self.length
            )
            cache = torch.slice_scatter(cache, row, 0, b, b + 1)
        return cache


@contextlib.contextmanager
def _one_row(model: torch.nn.Module, rows: torch.Tensor | None) -> Iterator[None]:
    """Lets the output layer of `model` see row `rows[b]` of sequence b alone."""

    def pick(head, arguments):
        hidden = arguments[0]
        if rows is None:
            return None
        index = rows[:, None, None].expand(-1, 1, hidden.shape[-1])
        return (hidden.gather(1, index),)

    hook = model.get_output_embeddings().register_forward_pre_hook(pick)
    try:
        yield
    finally:
        hook.remove()


def _empty_caches(
    model: torch.nn.Module, batch: int, length: int, dtype: torch.dtype | None
) -> list[torch.Tensor]:
    """As many caches, and as large, as a run of `model` fills."""
    if model.get_output_embeddings() is None:
        raise ModelError(f"{type(model).__name__} has no output layer to generate with")
    shapes = {}

    class Shapes(transformers.DynamicCache):
        def update(self, key_states, value_states, layer_idx, *args, **kwargs):
            shapes[layer_idx] = (key_states, value_states)
            return key_states, value_states

    with torch.no_grad():
        model(input_ids=torch.zeros(1, 1, dtype=torch.int64), past_key_values=Shapes(), use_cache=True)
    if not shapes or sorted(shapes) != list(range(len(shapes))):
        raise ModelError(f"{type(model).__name__} keeps no keys and values in each of its layers")
    return [
        torch.zeros(batch, states.shape[1], length, states.shape[3], dtype=dtype or states.dtype)
        for layer in sorted(shapes)
        for states in shapes[layer]
    ]
