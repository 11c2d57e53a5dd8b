# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels for AArch64, run by qemu, against the weights in numpy."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from oracle import run

QEMU = shutil.which("qemu-aarch64")
CLANG = shutil.which("clang-22") or shutil.which("clang")
pytestmark = [
    pytest.mark.quant_opt,
    pytest.mark.skipif(not (QEMU and CLANG), reason="qemu-aarch64 (Debian's qemu-user) or clang is missing"),
]

M, N, K, GROUP = 3, 40, 96, 32


def packed(codes):
    """[N, K] codes of 4 bits as Packing/LineOrder.h orders them."""
    rows, columns = -(-N // 16) * 16, K
    full = np.zeros((rows, columns), np.uint8)
    full[:N] = codes
    # Tiles of 16 rows, blocks of 32 columns: 4 lines of 8 columns, in which byte
    # j of a row's lane has columns j (low half) and 4 + j.
    lines = full.reshape(rows // 16, 16, columns // 8, 2, 4)
    bytes_ = lines[:, :, :, 0] | lines[:, :, :, 1] << 4
    return bytes_.transpose(0, 2, 1, 3).tobytes()


@pytest.mark.parametrize("isa,features", [("neon", "+neon,+dotprod"), ("generic", "+neon")])
@pytest.mark.parametrize("compute,tolerance", [("f32", 1e-5), ("i8", 2e-2)])
def test_aarch64(tmp_path, isa, features, compute, tolerance):
    plan_file, kernel = tmp_path / "plan.json", tmp_path / "kernel.o"
    run(
        "quant-kernels", f"--isa={isa}", "--triple=aarch64-linux-gnu", f"--features={features}",
        f"--compute={compute}", "--type=f32", f"--m={M}", f"--n={N}", f"--k={K}",
        f"--scheme=#lowbit.affine<bits = 4, group = {GROUP}, symmetric, scale = f16>",
        f"--plan={plan_file}", "-o", kernel,
    )  # fmt: skip
    plan = json.loads(plan_file.read_text())
    assert plan["isa"] == isa
    random = np.random.default_rng(7)
    codes = random.integers(0, 16, (N, K), dtype=np.uint8)
    scales = np.zeros((-(-N // 16), K // GROUP, 16), np.float16)
    values = (random.random((N, K // GROUP)) + 0.5).astype(np.float16)
    for n in range(N):
        scales[n // 16, :, n % 16] = values[n]
    x = random.normal(size=(M, K)).astype(np.float32)
    sizes = {operand["name"]: operand["bytes"] for operand in plan["operands"]}
    contents = {"x": x.tobytes(), "codes": packed(codes), "scales": scales.tobytes()}
    given = b"".join(contents.get(name, bytes(size)) for name, size in sizes.items())
    assert len(given) == sum(sizes.values())
    program = tmp_path / "program"
    subprocess.run(
        [
            CLANG, "--target=aarch64-linux-gnu", "-ffreestanding", "-nostdlib", "-static", "-fuse-ld=lld", "-O1", "-w",
            f"-DKERNEL={plan['function']}", f"-DOPERANDS={len(sizes)}",
            f"-DSIZES={','.join(map(str, sizes.values()))}",
            str(Path(__file__).parent / "cross_runner.c"), str(kernel), "-o", str(program),
        ],
        check=True,
    )  # fmt: skip
    done = subprocess.run([QEMU, "-cpu", "max", str(program)], input=given, capture_output=True, timeout=60)
    assert done.returncode == 0
    y = np.frombuffer(done.stdout, np.float32).reshape(M, N)
    weight = (codes.astype(np.float32) - 8).reshape(N, K // GROUP, GROUP) * values.astype(np.float32)[:, :, None]
    reference = x @ weight.reshape(N, K).T
    assert np.abs(y - reference).max() <= tolerance * np.abs(reference).max()
