# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Hugging Face's mixtures of experts in a form that can be exported."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

# Weights gathered by expert, then a batched product: of the forms that
# transformers knows, the one without a loop over what the router chose.
EXPORTABLE = "batched_mm"


@contextlib.contextmanager
def exportable_experts(model: torch.nn.Module) -> Iterator[None]:
    """Lets the experts in `model` compute in that form; afterwards as they did before."""
    parts = [part for part in model.modules() if hasattr(part, "set_experts_implementation")]
    before = [part.get_experts_implementation() for part in parts]
    try:
        for part in parts:
            part.set_experts_implementation(EXPORTABLE)
        yield
    finally:
        for part, implementation in zip(parts, before):
            part.set_experts_implementation(implementation)
