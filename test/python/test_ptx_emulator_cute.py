# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Kernels that nvcc compiles from CuTe headers run right on the PTX emulator.

CuTe chooses every layout, fragment order and descriptor of these, so that they
check the emulator independently of what this repository thinks of PTX. Needed:
nvcc, on the PATH or from PyPI's nvidia-cuda-nvcc, and the headers of PyPI's
nvidia-cutlass: `scripts/setup python` installs them.
"""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).resolve().parents[2] / "unittests" / "PtxEmulator" / "cute"


def package_folder(name):
    specification = importlib.util.find_spec(name)
    if specification is None:
        return None
    return Path(next(iter(specification.submodule_search_locations)))


def find_nvcc():
    """nvcc and the include folders that it does not know by itself."""
    package = package_folder("nvidia")
    if package is not None and (package / "cu13" / "bin" / "nvcc").exists():
        return package / "cu13" / "bin" / "nvcc", [package / "cu13" / "include" / "cccl"]
    return shutil.which("nvcc"), []


def compile_to_ptx(name, chip, folder):
    nvcc, includes = find_nvcc()
    cutlass = package_folder("cutlass_library")
    missing = [what for what, found in (("nvcc", nvcc), ("nvidia-cutlass", cutlass)) if not found]
    if missing:
        pytest.skip(f"NOT TESTED: no {', '.join(missing)} here; run scripts/setup python")
    includes = [cutlass / "source" / "include", *includes]
    output = folder / f"{name}.ptx"
    flags = [f"-arch={chip}", "-ptx", "-std=c++17", "--expt-relaxed-constexpr"]
    flags += [f"-I{include}" for include in includes]
    result = subprocess.run(
        [str(nvcc), *flags, str(SOURCES / f"{name}.cu"), "-o", str(output)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return output


def run_products(ptx, threads):
    folder = os.environ.get("QUANTOPT_BIN")
    if not folder or not (Path(folder) / "run-ptx-product").exists():
        pytest.skip("NOT TESTED: no run-ptx-product in QUANTOPT_BIN")
    result = subprocess.run(
        [str(Path(folder) / "run-ptx-product"), str(ptx), str(threads)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def test_sm80_mma_with_ldmatrix(tmp_path):
    ptx = compile_to_ptx("sm80_mma", "sm_80", tmp_path)
    text = ptx.read_text()
    assert "ldmatrix.sync.aligned.x4.m8n8.shared.b16" in text
    assert "ldmatrix.sync.aligned.x4.trans.m8n8.shared.b16" in text
    assert run_products(ptx, 32).count("right") == 2


def test_sm90_wgmma(tmp_path):
    ptx = compile_to_ptx("sm90_wgmma", "sm_90a", tmp_path)
    # Register A, and A by descriptor; B with every swizzle, K- and MN-major.
    assert ptx.read_text().count("wgmma.mma_async") == 4 * 10
    assert run_products(ptx, 128).count("right") == 10
