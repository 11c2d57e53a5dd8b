# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Operations of a router in terms of plain tensor arithmetic.

torch-mlir lowers sorting and scattering to a dialect of its own, which no other
compiler reads. Rows as short as a list of experts need neither: comparing each
pair gives every element its place.
"""

from __future__ import annotations

import torch

# Every pair of a row is compared: longer ones are left as they are.
LONGEST_ROW = 1024


def decomposition_table() -> dict:
    """What torch.export's run_decompositions takes, from ATen operator to function."""
    aten = torch.ops.aten
    return {
        aten.topk.default: topk,
        aten.sort.default: sort,
        aten.sort.stable: sort_stable,
        aten.scatter.value: scatter_value,
        aten.scatter.src: scatter_source,
    }


def topk(x, k, dim=-1, largest=True, sorted=True):
    """The k largest of each row, falling, and where they stood; of equals the first first."""
    if x.dim() == 0 or x.shape[dim] > LONGEST_ROW:
        return NotImplemented
    x = x.movedim(dim, -1)
    size = x.shape[-1]
    position = torch.arange(size, device=x.device)
    mine, other = x.unsqueeze(-1), x.unsqueeze(-2)
    before = other > mine if largest else other < mine
    before = before | ((other == mine) & (position < position[:, None]))
    rank = before.to(torch.int64).sum(-1)
    chosen = rank.unsqueeze(-2) == torch.arange(k, device=x.device)[:, None]
    # One element of each row is chosen, so that the sums are exact.
    values = torch.where(chosen, x.unsqueeze(-2), torch.zeros_like(x).unsqueeze(-2)).sum(-1)
    indices = torch.where(chosen, position, torch.zeros_like(position)).sum(-1)
    return values.to(x.dtype).movedim(-1, dim), indices.movedim(-1, dim)


def sort(x, dim=-1, descending=False):
    if x.dim() == 0:
        return NotImplemented
    return topk(x, x.shape[dim], dim, descending)


def sort_stable(x, *, stable=False, dim=-1, descending=False):
    return sort(x, dim, descending)


def _hits(x, dim, index):
    """[..., entries of index, size]: whether an entry names a position, dim moved to the end."""
    position = torch.arange(x.shape[dim], device=x.device)
    return index.movedim(dim, -1).unsqueeze(-1) == position


def _scatters(x, dim, index):
    """Whether each row of `x` along `dim` has a row of `index` of its own."""
    if x.dim() == 0 or x.shape[dim] > LONGEST_ROW:
        return False
    dim %= x.dim()
    return all(x.shape[d] == index.shape[d] for d in range(x.dim()) if d != dim)


def scatter_value(x, dim, index, value):
    if not _scatters(x, dim, index):
        return NotImplemented
    hit = _hits(x, dim, index).any(-2).movedim(-1, dim)
    return torch.where(hit, torch.full_like(x, value), x)


def scatter_source(x, dim, index, source):
    """As long as no position is named twice, where ATen leaves open which value counts."""
    if not _scatters(x, dim, index) or source.shape != index.shape:
        return NotImplemented
    hits = _hits(x, dim, index)
    values = source.movedim(dim, -1).unsqueeze(-1)
    chosen = torch.where(hits, values, torch.zeros_like(values)).sum(-2).to(x.dtype)
    return torch.where(hits.any(-2).movedim(-1, dim), chosen.movedim(-1, dim), x)
