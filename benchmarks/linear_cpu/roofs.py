# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What this processor can do at most, measured by roofs.c."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In the order of roofs.c: bytes read a second, then multiplications and additions a second, with
# vectors and with AMX's matrices.
KINDS = ("dram", "i8", "bf16", "f32", "i8 matrices", "bf16 matrices")
BUFFER = 256 << 20


def compiler() -> str:
    for name in (os.environ.get("CC"), "clang-22", "clang", "gcc", "cc"):
        if name and shutil.which(name):
            return name
    raise RuntimeError("no C compiler; set CC")


def build(folder: Path) -> Path:
    """Compiles roofs.c for this machine; the library."""
    library = folder / "libroofs.so"
    flags = ["-O3", "-march=native", "-shared", "-fPIC", "-pthread"]
    subprocess.run([compiler(), *flags, HERE / "roofs.c", "-o", library], check=True)
    return library


class Roofs:
    """Measures, with as many threads as told. Without an instruction for a kind the rate is 0."""

    def __init__(self, library: Path, buffer: int = BUFFER):
        self.library = ctypes.CDLL(str(library))
        self.library.allocate.restype = ctypes.c_void_p
        self.library.rate.restype = ctypes.c_double
        self.bytes = ctypes.c_size_t(buffer)
        self.buffer = ctypes.c_void_p(self.library.allocate(self.bytes))
        if not self.buffer:
            raise MemoryError(f"no {buffer} bytes for the roofs")

    def measure(self, threads: int, repeats: int = 2) -> dict[str, float]:
        """Best of `repeats` of each kind."""
        return {
            kind: self.library.rate(number, threads, self.buffer, self.bytes, repeats)
            for number, kind in enumerate(KINDS)
        }
