# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Our kernels: quant-kernels writes them, the C compiler links them, and they are called as the
other programs are. What packed planes mean is read from Packing/LineOrder.h alone.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from linear_cpu import cases, roofs
from linear_cpu.peers import Layer, Program, Unsupported

HERE = Path(__file__).resolve().parent
ROWS, BLOCK = 16, 32  # rows of W in a tile, k in a block
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip
VALUES = {"linear": np.arange(-8, 8, dtype=np.float32), "nf4": np.array(NF4, np.float32)}


# --- Packed planes ------------------------------------------------------------


def codes_of(plane: np.ndarray, k: int, channels: np.ndarray) -> np.ndarray:
    """[len(channels), k] codes of 4 bits from the bytes of a plane."""
    lines = plane.reshape(-1, -(-k // BLOCK), 4, ROWS, 4)  # tile, block, line, lane, byte
    found = lines[channels // ROWS, :, :, channels % ROWS]
    both = np.stack([found & 15, found >> 4], axis=3)
    return both.reshape(len(channels), -1)[:, :k]


def scales_of(plane: np.ndarray, groups: int, channels: np.ndarray) -> np.ndarray:
    """[len(channels), groups] from the numbers of a plane."""
    return plane.reshape(-1, groups, ROWS)[channels // ROWS, :, channels % ROWS]


def values_of(scheme: cases.Scheme, codes, scales, k: int, channels) -> np.ndarray:
    """[len(channels), k] values, f32."""
    groups = -(-k // scheme.group)
    factors = np.repeat(scales_of(scales, groups, channels), scheme.group, axis=1)[:, :k]
    return VALUES[scheme.table][codes_of(codes, k, channels)] * factors.astype(np.float32)


# --- The library --------------------------------------------------------------


def generate(folder: Path, tool: Path, number: int, wanted) -> dict:
    """Writes the object of a kernel; how it is called."""
    kernel, k, n, m = wanted
    plan = folder / f"kernel{number}.json"
    command = [
        tool, "--isa=host", f"--scheme={kernel.scheme.attribute}", "--type=f32",
        f"--compute={kernel.compute}", f"--input-group={kernel.columns or kernel.scheme.group}",
        f"--m={m}", f"--n={n}", f"--k={k}",
        "-o", folder / f"kernel{number}.o", f"--plan={plan}"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"quant-kernels: {done.stderr.strip()}")
    return json.loads(plan.read_text())


def build(folder: Path, tool: Path, wanted: list[tuple[cases.Kernel, int, int, int]]) -> None:
    """Writes libkernels.so and kernels.json for kernels of (K, N, M) into `folder`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(lambda job: generate(folder, tool, *job), enumerate(wanted)))
    plans = dict(zip((key(kernel.name, *shape) for kernel, *shape in wanted), made))
    # Two kernels may be one function: a row of bf16 is multiplied in f32 where there is AMX.
    objects = {plan["function"]: folder / f"kernel{number}.o" for number, plan in enumerate(made)}
    command = [roofs.compiler(), "-O2", "-shared", "-fPIC", "-fopenmp", HERE / "calls.c",
               *objects.values(),
               "-o", folder / "libkernels.so"]  # fmt: skip
    subprocess.run(command, check=True)
    (folder / "kernels.json").write_text(json.dumps(plans))


def key(name: str, k: int, n: int, m: int) -> str:
    return f"{name}, {k}, {n}, {m}"


def aligned(count: int, bytes_: int) -> np.ndarray:
    """[count, bytes_] of u8, each row at a cache line."""
    padded = -(-bytes_ // 64) * 64
    memory = np.empty(count * padded + 64, np.uint8)
    begin = -memory.ctypes.data % 64
    return memory[begin : begin + count * padded].reshape(count, padded)[:, :bytes_]


def programs(folder: Path, kernels: list[cases.Kernel]) -> list[Program]:
    """They run on as many threads as OMP_NUM_THREADS says."""
    library = ctypes.CDLL(str(folder / "libkernels.so"))
    library.allowMatrices()
    plans = json.loads((folder / "kernels.json").read_text())
    return [
        Program(kernel.name, kernel.compute, kernel.scheme.group,
                lambda *shape, kernel=kernel: layer(library, plans, kernel, *shape))
        for kernel in kernels
    ]  # fmt: skip


def layer(library, plans: dict, kernel: cases.Kernel, k: int, n: int, steps: int,
          each: int) -> Layer:  # fmt: skip
    """A weight of random planes, and the calls of the kernels of any M."""
    for_m = {int(name.rpartition(" ")[2]): plan for name, plan in plans.items()
             if name.startswith(key(kernel.name, k, n, ""))}  # fmt: skip
    if not for_m:
        raise Unsupported(f"no kernels for K = {k}, N = {n}")
    sizes = {
        operand["name"]: operand["bytes"] for operand in next(iter(for_m.values()))["operands"]
    }
    random = np.random.default_rng(0)
    codes = aligned(steps * each, sizes["codes"])
    codes[:] = random.integers(0, 256, sizes["codes"], np.uint8)
    scales = aligned(steps * each, sizes["scales"])
    numbers = random.uniform(0.005, 0.015, sizes["scales"] // 2).astype(np.float16)
    scales[:] = numbers.view(np.uint8)

    def bind(x, count):
        m = len(x)
        plan = for_m[m]
        sizes = {operand["name"]: operand["bytes"] for operand in plan["operands"]}
        x = np.ascontiguousarray(x)
        y = np.zeros((m, n), np.float32)
        assert (sizes["x"], sizes["y"]) == (x.nbytes, y.nbytes)
        workspace = aligned(1, sizes["workspace"])
        fixed = {"x": x, "y": y, "workspace": workspace}
        function = getattr(library, plan["function"])

        def step(number: int):
            planes = range(number * each, (number + 1) * each)
            pointers = [
                (fixed | {"codes": codes[copy], "scales": scales[copy]})[operand["name"]].ctypes.data
                for copy in planes for operand in plan["operands"]
            ]  # fmt: skip
            arguments = (ctypes.c_void_p * len(pointers))(*pointers)

            def call(held=fixed):  # the memory must outlive the step
                library.callEach(function, arguments, len(plan["operands"]), each)

            return call

        # y is that of the last copy; all are equal.
        return [step(number) for number in range(count)], lambda: y

    return Layer(
        sizes["codes"] + sizes["scales"],
        lambda channels: values_of(kernel.scheme, codes[0], numbers, k, channels),
        bind,
    )
