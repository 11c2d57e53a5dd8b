# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A small decoder-only transformer over characters.

Rotary positions, RMSNorm, SwiGLU; separate query, key and value projections,
no biases. The width 192 is no multiple of 128, so groups of 128 end in a
short one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Config:
    """The sizes of the model; the defaults are those of char-lm.mlirbc."""

    vocabulary: int = 65
    context: int = 256
    width: int = 192
    hidden: int = 512
    heads: int = 6
    layers: int = 4


class RMSNorm(nn.Module):
    """x over the root of its mean square, times a gain."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


class Attention(nn.Module):
    """Causal self-attention with rotary positions."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads = config.heads
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(config.width, config.width, bias=False))

    def forward(self, x, cosine, sine, mask):
        batch, length, width = x.shape

        def split(y):
            return y.view(batch, length, self.heads, width // self.heads).transpose(1, 2)

        def rotate(y):
            left, right = y.chunk(2, -1)
            return torch.cat((left * cosine - right * sine, right * cosine + left * sine), -1)

        q, k, v = (
            rotate(split(self.q_proj(x))),
            rotate(split(self.k_proj(x))),
            split(self.v_proj(x)),
        )
        # Written out: torch's fused operator, exported, guards against rows that
        # are masked entirely, which no row here is.
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5 + mask
        y = scores.softmax(-1) @ v
        return self.o_proj(y.transpose(1, 2).reshape(batch, length, width))


class MLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: Config):
        super().__init__()
        self.gate_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.up_proj = nn.Linear(config.width, config.hidden, bias=False)
        self.down_proj = nn.Linear(config.hidden, config.width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention and MLP, each behind a norm and beside a residual."""

    def __init__(self, config: Config):
        super().__init__()
        self.attention_norm = RMSNorm(config.width)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.width)
        self.mlp = MLP(config)

    def forward(self, x, cosine, sine, mask):
        x = x + self.attention(self.attention_norm(x), cosine, sine, mask)
        return x + self.mlp(self.mlp_norm(x))


class CharLM(nn.Module):
    """Token ids [batch, length] to logits [batch, length, vocabulary]."""

    def __init__(self, config: Config = Config()):
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        half = config.width // config.heads // 2
        angles = torch.arange(config.context)[:, None] * 10000.0 ** (-torch.arange(half) / half)
        mask = torch.full((config.context, config.context), float("-inf")).triu(1)
        self.register_buffer("cosine", angles.cos(), persistent=False)
        self.register_buffer("sine", angles.sin(), persistent=False)
        self.register_buffer("mask", mask, persistent=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                # The layers that write to the residual stream begin smaller.
                depth = (
                    2 * config.layers if name.endswith(("o_proj.weight", "down_proj.weight")) else 1
                )
                nn.init.normal_(
                    parameter,
                    std=0.02 if "embedding" in name else (depth * parameter.shape[1]) ** -0.5,
                )

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        cosine, sine, mask = self.cosine[:length], self.sine[:length], self.mask[:length, :length]
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, cosine, sine, mask)
        return self.head(self.norm(x))
