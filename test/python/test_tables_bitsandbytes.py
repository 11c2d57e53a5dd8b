# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nf4-quantize against the package bitsandbytes on a CPU: the same bits."""

import importlib

import numpy as np
import pytest

from oracle import linear_model, run, run_module
from tables import NF4, read_tables

pytestmark = [pytest.mark.quant_opt, pytest.mark.torch]


@pytest.fixture(scope="module")
def quantize():
    """quantize(w, table, block, double) -> codes, absmax or its bytes, state, floats."""
    torch = pytest.importorskip("torch", reason="NOT TESTED: no torch here")
    reason = "NOT TESTED: no bitsandbytes here; pip install 'quantopt[test]'"
    functional = pytest.importorskip("bitsandbytes.functional", reason=reason)
    # Its faster kernel takes the wrong absmax where a row is no whole number of
    # blocks (0.50.2).
    portable = importlib.import_module("bitsandbytes.backends.default.ops")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on which the mean of many blocks depends

    def run_package(w, table, block, double):
        packed, state = functional.quantize_4bit(
            torch.from_numpy(w), blocksize=block, compress_statistics=double, quant_type=table
        )
        octets = packed.numpy().reshape(-1)
        codes = np.stack([octets >> 4, octets & 15], axis=1).reshape(-1)[: w.size]
        if w.shape[1] % block == 0:
            floats = functional.dequantize_4bit(packed, state)
        else:
            absmax = state.absmax
            if double:
                absmax = functional.dequantize_blockwise(absmax, state.state2) + state.offset
            floats = portable._dequantize_4bit_compute(
                packed.reshape(-1), absmax, state.code, block, w.shape, torch.float32
            )
        floats = floats.numpy().reshape(w.shape)
        return codes.reshape(w.shape), state.absmax.numpy(), state, floats

    yield run_package
    torch.set_num_threads(threads)


def _random(shape, seed, deviation=0.05):
    return (np.random.default_rng(seed).standard_normal(shape) * deviation).astype(np.float32)


def _blocks_of_zeros():
    w = _random((8, 128), 1)
    w[1] = 0
    w[3, 64:] = 0
    w[7, 96:] = 0  # with blocks of 32 the last one
    return w


def _zeros_at_the_end():
    w = _random((5, 100), 2)
    w[4] = 0  # a block that is not whole, of zeros
    return w


def _tied():
    """Weights on every border between two codes, and beside it."""
    values = np.sort(np.array(NF4, np.float32))
    borders = (values[1:] + values[:-1]) / np.float32(2)
    near = [np.nextafter(borders, np.float32(side)) for side in (-2, 2)]
    fp4 = np.array([0.0, 0.0625, 2, 3, 4, 6, 8, 12], np.float32) / np.float32(12)
    middles = (fp4[1:] + fp4[:-1]) / np.float32(2)
    line = np.concatenate([borders, *near, values, middles, -middles, [0.0, -0.0, 1.0]])
    w = np.resize(line.astype(np.float32), (8, 128))
    w[:, ::32] = 1  # so that absmax is 1 everywhere
    w[4:] *= 3
    return w


def _small_and_large():
    w = _random((8, 64), 3)
    w[0] *= 1e-37
    w[1] = 1e-40
    w[2] *= 1e30
    w[3, :] = -2.5
    w[4, 1:] = 0
    return w


WEIGHTS = {
    "random": lambda: _random((64, 256), 4),
    "blocks_of_zeros": _blocks_of_zeros,
    "zeros_at_the_end": _zeros_at_the_end,
    "all_zeros": lambda: np.zeros((4, 64), np.float32),
    "tied": _tied,
    "small_and_large": _small_and_large,
    "across_rows": lambda: _random((7, 100), 5),
    "odd": lambda: _random((5, 33), 6),
    "one_weight": lambda: _random((1, 1), 7),
    "one_row": lambda: _random((1, 257), 8),
    # More than 256 blocks, so that there are several nested ones.
    "many": lambda: _random((640, 576), 9) * np.exp(_random((640, 1), 10, 1)),
    "constant_blocks": lambda: np.full((16, 64), 0.25, np.float32),
}


@pytest.mark.parametrize("double", [False, True], ids=["plain", "double"])
@pytest.mark.parametrize("table, block", [("nf4", 32), ("nf4", 64), ("nf4", 256), ("fp4", 64)])
def test_the_same_bits(table, block, double, quantize, tmp_path):
    weights = {name: make() for name, make in WEIGHTS.items()}
    (tmp_path / "float.mlir").write_text(linear_model(weights, dict.fromkeys(weights, 1)))
    options = f"table={table} group-size={block} double-quant={str(double).lower()}"
    text = run("quant-opt", tmp_path / "float.mlir", f"--nf4-quantize={options} progress=none")
    read = read_tables(text)
    for name, w in weights.items():
        codes, absmax, state, floats = quantize(w, table, block, double)
        ours = read[name]
        flat = "flat" in ours.scheme
        assert flat == (w.shape[1] % block != 0), name
        np.testing.assert_array_equal(ours.codes, codes, name)
        np.testing.assert_array_equal(ours.planes["scales"], absmax, name)
        if double:
            np.testing.assert_array_equal(
                ours.planes["nested_scales"], state.state2.absmax.numpy(), name
            )
            assert ours.planes["nested_offset"][0] == state.offset.item(), name
        np.testing.assert_array_equal(ours.dequantized(), floats, name)


@pytest.mark.parametrize("block", [128, 512, 1024, 2048, 4096])
def test_other_blocks(block, quantize, tmp_path):
    w = _random((40, 520), block)
    (tmp_path / "float.mlir").write_text(linear_model({"fc": w}, {"fc": 1}))
    text = run(
        "quant-opt",
        tmp_path / "float.mlir",
        f"--nf4-quantize=group-size={block} double-quant progress=none",
    )
    codes, absmax, state, floats = quantize(w, "nf4", block, True)
    ours = read_tables(text)["fc"]
    np.testing.assert_array_equal(ours.codes, codes)
    np.testing.assert_array_equal(ours.planes["scales"], absmax)
    np.testing.assert_array_equal(ours.dequantized(), floats)


def test_many_nested_blocks(quantize, tmp_path):
    """Enough values that PyTorch's sum goes through its cascade."""
    w = _random((2048, 1024), 11) * np.exp(_random((2048, 1), 12, 0.7))
    (tmp_path / "float.mlir").write_text(linear_model({"fc": w}, {"fc": 1}))
    text = run(
        "quant-opt", tmp_path / "float.mlir", "--nf4-quantize=double-quant progress=none"
    )
    codes, absmax, state, _ = quantize(w, "nf4", 64, True)
    ours = read_tables(text)["fc"]
    np.testing.assert_array_equal(ours.codes, codes)
    np.testing.assert_array_equal(ours.planes["scales"], absmax)
    np.testing.assert_array_equal(ours.planes["nested_scales"], state.state2.absmax.numpy())
    assert ours.planes["nested_offset"][0] == state.offset.item()


def test_what_runs_is_what_the_package_dequantizes(quantize, tmp_path):
    weights = {name: WEIGHTS[name]() for name in ("random", "across_rows", "odd")}
    (tmp_path / "float.mlir").write_text(linear_model(weights))
    run(
        "quant-opt",
        tmp_path / "float.mlir",
        "--nf4-quantize=double-quant progress=none",
        "-o",
        tmp_path / "q.mlirbc",
    )
    run("quant-opt", tmp_path / "q.mlirbc", "--lowbit-to-linalg", "-o", tmp_path / "low.mlirbc")
    identities = [np.eye(w.shape[1], dtype=np.float32) for w in weights.values()]
    for path in ("q.mlirbc", "low.mlirbc"):
        for (name, w), result in zip(
            weights.items(), run_module(tmp_path / path, identities, tmp_path)
        ):
            floats = quantize(w, "nf4", 64, True)[3]
            np.testing.assert_array_equal(result.T, floats, f"{path} {name}")


def test_a_search_in_the_same_format_is_nearer(quantize, tmp_path):
    w = _random((64, 256), 13)
    (tmp_path / "float.mlir").write_text(linear_model({"fc": w}, {"fc": 1}))
    text = run("quant-opt", tmp_path / "float.mlir", "--nf4-quantize=search=lsq progress=none")
    ours = read_tables(text)["fc"]
    assert ours.scheme == "nf4, group = 64, scale = f32"
    floats = quantize(w, "nf4", 64, False)[3]
    assert ((ours.dequantized() - w) ** 2).sum() < 0.85 * ((floats - w) ** 2).sum()
