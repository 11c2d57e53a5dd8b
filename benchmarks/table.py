# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What scripts/results measures: edit this file to have more or other rows.

A row of the page is a method on a model. Its name is also the key under which
its figures are stored: a new name is a new row, and a row that is no longer
listed here is no longer shown.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A run of quant-opt: its passes in order, each with its options.

    `{group}` stands for the model's group size. The report is the last pass's.
    """

    name: str
    passes: str | tuple[str, ...]
    only: frozenset[str] | None = None  # models, if not all

    def arguments(self, group: int) -> list[tuple[str, str]]:
        """(pass, options) of each."""
        passes = (self.passes,) if isinstance(self.passes, str) else self.passes
        found = [entry.format(group=group).partition(" ") for entry in passes]
        return [(name, options) for name, _, options in found]


@dataclass(frozen=True)
class Peer:
    """A run of benchmarks/peer_tools.py with arguments for the tool's function."""

    name: str
    tool: str
    options: dict
    only: frozenset[str] | None = None

    def arguments(self, group: int) -> dict:
        return {key: group if value == GROUP else value for key, value in self.options.items()}


GROUP = "the model's group size"
SMOLLM2 = frozenset({"smollm2"})
LANGUAGE_MODELS = SMOLLM2 | {"tiny1m"}  # those that other tools can load
ENCODERS = frozenset({"minilm", "rxnfp"})
BLOCKS_OF_64 = SMOLLM2 | ENCODERS | {"char-lm"}

METHODS = [
    # 4 bits, integer zero
    Method("RTN", "rtn-quantize group-size={group} search=none"),
    Method("RTN, weighted grid", "rtn-quantize group-size={group} importance=inputs search=grid"),
    Method("AWQ", "awq-quantize group-size={group}"),
    Method("plain GPTQ", "gptq-quantize group-size={group} search=none"),
    Method("GPTQ", "gptq-quantize group-size={group}"),
    Method("AWQ, then GPTQ", "gptq-quantize scaling=awq group-size={group}"),
    Method("fast", "lowbit-quantize preset=fast zero=integer group-size={group}"),
    Method("balanced", "lowbit-quantize preset=balanced zero=integer group-size={group}"),
    Method("best", "lowbit-quantize preset=best zero=integer group-size={group}"),
    # 4 bits, float minimum
    Method("plain GPTQ, float minimum", "gptq-quantize zero=float group-size={group} search=none"),
    Method("GPTQ, float minimum, grid", "gptq-quantize zero=float group-size={group} search=grid"),
    Method("balanced, float minimum",
           "lowbit-quantize preset=balanced zero=float group-size={group}"),
    Method("best, float minimum", "lowbit-quantize preset=best zero=float group-size={group}"),
    Method("best, float minimum, group 128",
           "lowbit-quantize preset=best zero=float group-size=128", SMOLLM2),
    # 4 bits, symmetric
    Method("plain GPTQ, symmetric", "gptq-quantize zero=none group-size={group} search=none"),
    Method("GPTQ, symmetric", "gptq-quantize zero=none group-size={group}"),
    Method("balanced, symmetric", "lowbit-quantize preset=balanced zero=none group-size={group}"),
    Method("best, symmetric", "lowbit-quantize preset=best zero=none group-size={group}"),
    # 3 bits
    Method("plain GPTQ, 3 bits, float minimum, group 128",
           "gptq-quantize bits=3 zero=float group-size=128 search=none", SMOLLM2),
    Method("best, 3 bits, float minimum, group 128",
           "lowbit-quantize preset=best bits=3 zero=float group-size=128", SMOLLM2),
    # Tables of code values
    Method("NF4", "nf4-quantize", BLOCKS_OF_64),
    Method("NF4, double quantization", "nf4-quantize double-quant=true", BLOCKS_OF_64),
    Method("FP4", "nf4-quantize table=fp4", BLOCKS_OF_64),
    Method("GPTQ onto NF4", "gptq-quantize table=nf4 scale-type=f32", BLOCKS_OF_64),
    Method("best, NF4", "lowbit-quantize preset=best table=nf4 scale-type=f32", BLOCKS_OF_64),
    # 8 bits
    Method("RTN, 8 bits, a tensor", "rtn-quantize bits=8 symmetric=true group-size=tensor"),
    Method("RTN, 8 bits, a channel", "rtn-quantize bits=8 symmetric=true group-size=channel"),
]  # fmt: skip

PEERS = [
    Peer("llm-compressor GPTQ, symmetric, static", "llmcompressor",
         {"bits": 4, "symmetric": True, "group": GROUP}, LANGUAGE_MODELS),
    Peer("llm-compressor GPTQ, integer zero, static", "llmcompressor",
         {"bits": 4, "symmetric": False, "group": GROUP}, LANGUAGE_MODELS),
    Peer("AutoRound, integer zero, 100 iterations", "autoround",
         {"bits": 4, "symmetric": False, "group": GROUP, "iterations": 100}, frozenset({"tiny1m"})),
    Peer("bitsandbytes NF4", "bitsandbytes", {"kind": "nf4"}, SMOLLM2 | ENCODERS),
    Peer("bitsandbytes NF4, double quantization", "bitsandbytes",
         {"kind": "nf4", "nested": True}, SMOLLM2 | ENCODERS),
    Peer("bitsandbytes FP4", "bitsandbytes", {"kind": "fp4"}, SMOLLM2 | ENCODERS),
    Peer("HQQ, axis 1", "hqq", {"bits": 4, "group": GROUP, "axis": 1}, LANGUAGE_MODELS | ENCODERS),
    Peer("HQQ, axis 0", "hqq", {"bits": 4, "group": GROUP, "axis": 0}, LANGUAGE_MODELS | ENCODERS),
    Peer("llama.cpp Q4_0", "llamacpp", {"kind": "Q4_0"}, SMOLLM2),
    Peer("llama.cpp Q4_K_M", "llamacpp", {"kind": "Q4_K_M"}, SMOLLM2),
]  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """A bound on one figure of a stored row: a path of keys into it."""

    what: str
    model: str
    row: str
    figure: str
    at_most: float
    stretch: float | None = None


GOALS = [
    Goal("perplexity of the float model, torch 30.087", "smollm2", "RTN",
         "quality.against_perplexity", 30.087 * 1.001),
    Goal("KL divergence", "smollm2", "best, float minimum", "quality.kl_divergence", .040, .035),
    Goal("KL divergence", "smollm2", "best", "quality.kl_divergence", .080, .070),
    Goal("KL divergence", "smollm2", "best, symmetric", "quality.kl_divergence", .095, .085),
    Goal("KL divergence", "smollm2", "best, float minimum, group 128",
         "quality.kl_divergence", .072, .065),
    Goal("KL divergence", "smollm2", "best, 3 bits, float minimum, group 128",
         "quality.kl_divergence", .31, .26),
    Goal("KL divergence", "smollm2", "best, NF4", "quality.kl_divergence", .070, .062),
    Goal("KL divergence", "smollm2", "AWQ", "quality.kl_divergence", .135, .12),
    Goal("KL divergence", "tiny1m", "best, float minimum", "quality.kl_divergence", .037, .032),
    Goal("CPU seconds", "smollm2", "fast", "cost.cpu", 10),
    Goal("CPU seconds", "smollm2", "balanced", "cost.cpu", 130),
    Goal("CPU seconds", "smollm2", "best", "cost.cpu", 420),
    Goal("KL divergence", "smollm2", "GPTQ", "quality.kl_divergence", .095),
    Goal("KL divergence", "smollm2", "GPTQ, float minimum, grid", "quality.kl_divergence", .046),
    Goal("KL divergence", "smollm2", "GPTQ, symmetric", "quality.kl_divergence", .11),
    Goal("error over RTN's, median of the layers", "smollm2", "GPTQ", "ratio_median", .24),
    Goal("error over RTN's, worst layer", "smollm2", "GPTQ", "ratio_max", 1),
    Goal("CPU seconds", "smollm2", "GPTQ", "cost.cpu", 95),
    Goal("peak MB", "smollm2", "GPTQ", "cost.peak_mb", 1200),
]  # fmt: skip

PRESETS = ["fast", "balanced", "best"]

# On every model each of these is better than the one after it (the first two may be equal).
ORDERING = ["best", "balanced", "plain GPTQ", "RTN"]

# On the models whose weights were never quantized the error of a row is at most
# so many times that of another of equal bits.
RATIOS = [
    ("best", "plain GPTQ", .75),
    ("best, float minimum", "plain GPTQ, float minimum", .75),
    ("best, symmetric", "plain GPTQ, symmetric", .75),
    ("balanced", "plain GPTQ", 1),
    ("balanced, float minimum", "plain GPTQ, float minimum", 1),
    ("balanced, symmetric", "plain GPTQ, symmetric", 1),
]  # fmt: skip
