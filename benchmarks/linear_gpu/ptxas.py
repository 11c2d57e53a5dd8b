# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ptxas: where it is, and what it says of a kernel."""

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path


class NotFound(Exception):
    """There is no ptxas here."""


class Failed(Exception):
    """ptxas refused the text."""


def find() -> Path:
    """On the PATH, in $CUDA_HOME or in PyPI's nvidia-cuda-nvcc; else NotFound."""
    if on_path := shutil.which("ptxas"):
        return Path(on_path)
    folders = [Path(os.environ[name]) for name in ("CUDA_HOME", "CUDA_PATH") if name in os.environ]
    folders.append(Path("/usr/local/cuda"))
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations if package else []:
        folders.append(Path(folder) / "cu13")
    for folder in folders:
        if os.access(folder / "bin" / "ptxas", os.X_OK):
            return folder / "bin" / "ptxas"
    raise NotFound("no ptxas: install a CUDA toolkit or PyPI's nvidia-cuda-nvcc (scripts/setup python)")


@dataclass
class Kernel:
    """What ptxas -v says of an entry."""

    registers: int = 0
    shared: int = 0  # bytes, static
    stack: int = 0  # bytes
    spills: int = 0  # bytes stored and loaded


@dataclass
class Assembled:
    cubin: bytes
    kernels: dict[str, Kernel] = field(default_factory=dict)
    # Lines of advice: "(C7510) Potential Performance Loss: wgmma ... serialized".
    remarks: list[str] = field(default_factory=list)


def parse(text: str) -> tuple[dict[str, Kernel], list[str]]:
    """The kernels and remarks in what `ptxas -v` prints."""
    kernels, remarks, current = {}, [], Kernel()
    for line in text.splitlines():
        if match := re.search(r"Compiling entry function '([^']+)'", line):
            current = kernels.setdefault(match[1], Kernel())
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            current.stack = int(match[1])
            current.spills = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            current.registers = int(match[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                current.shared = int(shared[1])
        elif re.search(r"\(C\d+\)|warning", line):
            remarks.append(line.strip())
    return kernels, remarks


def assemble(ptx: str, chip: str) -> Assembled:
    """The cubin of `ptx` for `chip` ("sm_90a")."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "kernel.ptx", Path(folder) / "kernel.cubin"
        source.write_text(ptx)
        command = [find(), "-v", f"-arch={chip}", source, "-o", target]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise Failed(done.stderr or done.stdout)
        kernels, remarks = parse(done.stderr + done.stdout)
        return Assembled(target.read_bytes(), kernels, remarks)
