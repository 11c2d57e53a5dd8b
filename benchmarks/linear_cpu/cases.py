# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What is timed: layers, and which of our kernels stand beside which other programs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

# More than caches hold, so that each product reads its weight from memory. Where many rows
# share a weight, reading it takes no time that counts, and a product takes long.
ROTATED_BYTES, ROTATED_BYTES_OF_MANY_ROWS, MANY_ROWS = 256 << 20, 64 << 20, 128
# Bytes that one step reads, so that the cost of a call from Python does not count.
STEP_BYTES = 32 << 20


@dataclass(frozen=True)
class Scheme:
    """Quantized weights with scales of f16."""

    name: str
    group: int
    table: str = "linear"
    bits: int = 4

    @property
    def attribute(self) -> str:
        head = f"affine<bits = {self.bits}, group = {self.group}, symmetric"
        if self.table != "linear":
            head = f"codebook<{self.table}, group = {self.group}"
        return f"#lowbit.{head}, scale = f16>"


INT4, INT4_SMALL = Scheme("int4 g128", 128), Scheme("int4 g32", 32)
NF4, NF4_SMALL = Scheme("nf4 g128", 128, "nf4"), Scheme("nf4 g64", 64, "nf4")


@dataclass(frozen=True)
class Kernel:
    """One of ours: what products are computed in (i8, bf16 or f32) from which weights. In i8, so
    many columns of x share a scale; as many as of the weight do, unless told otherwise."""

    compute: str
    scheme: Scheme
    columns: int | None = None

    @property
    def name(self) -> str:
        by = f" by {self.columns}" if self.columns else ""
        return f"ours {self.compute}{by}, {self.scheme.name}"


def kernels(computes: str, *schemes: Scheme) -> list[Kernel]:
    return [Kernel(compute, scheme) for scheme in schemes for compute in computes.split()]


# Of each environment: ours with the same weights and numbers as what is installed there, and
# int4 g128 in i8 to compare with all.
KERNELS = {
    "onnxruntime": kernels("i8 f32", INT4, INT4_SMALL) + [Kernel("i8", INT4, columns=32)],
    "ggml": kernels("i8", INT4, INT4_SMALL),
    "openvino": kernels("i8 bf16 f32", INT4) + kernels("i8", INT4_SMALL),
    "zentorch": kernels("i8 bf16", INT4) + kernels("bf16", INT4_SMALL),
    "bitsandbytes": kernels("i8 bf16", INT4) + kernels("bf16", NF4, NF4_SMALL),
}


@dataclass(frozen=True)
class Case:
    """y[m,n] = x[m,k] . W[n,k]^T on so many threads, beside the programs of an environment."""

    environment: str
    threads: int
    k: int
    n: int
    m: int

    @property
    def name(self) -> str:
        plural = "s" if self.threads > 1 else ""
        return (f"{self.environment}, {self.threads} thread{plural}, K = {self.k}, N = {self.n}, "
                f"M = {self.m}")  # fmt: skip


SHAPES = [(4096, 4096), (576, 1536), (4096, 14336), (14336, 4096)]  # K, N
ROWS = [1, 2, 4, 8, 16, 32, 128, 512]
THREADS = [2, 1]


def cases() -> list[Case]:
    """All that is timed, those of the goals first. One thread on one shape alone."""
    return [
        Case(environment, threads, k, n, m)
        for threads in THREADS
        for k, n in (SHAPES if threads > 1 else SHAPES[:1])
        for environment in KERNELS
        for m in ROWS
    ]


def select(all_: list[Case], only: str) -> list[Case]:
    """Those whose name matches the regular expression."""
    return [case for case in all_ if re.search(only, case.name)]


def copies(bytes_: int, many_rows: bool) -> tuple[int, int]:
    """Steps of a weight of so many bytes, and copies in each. Nothing is used twice in turn."""
    each = math.ceil(STEP_BYTES / bytes_)
    rotated = ROTATED_BYTES_OF_MANY_ROWS if many_rows else ROTATED_BYTES
    return max(2, math.ceil(rotated / (each * bytes_))), each
