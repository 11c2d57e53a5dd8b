# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Experts in generated CPU kernels, against numpy in float64 on decoded planes."""

import numpy as np
import pytest

from oracle import dense, read_weights, run, run_module
from test_cpu_kernels import TOLERANCE

pytestmark = pytest.mark.quant_opt


def chain(numbers, m, n, k, leading=None, type_="f32"):
    """The experts of `numbers`, in this order, over one x."""
    random = np.random.default_rng(n + k)
    rows = leading or (m,)
    shape = "x".join(map(str, rows))
    x, y, r = f"tensor<{shape}x{k}x{type_}>", f"tensor<{shape}x{n}x{type_}>", f"tensor<{shape}xi64>"
    w = f"tensor<{n}x{k}x{type_}>"
    lines = [f"func.func @main(%x: {x}, %r: {r}, %others: {y}) -> {y} {{"]
    before = "%others"
    for number in numbers:
        weight = dense(random.normal(size=(n, k)).astype(np.float32), type_)
        lines.append(f"  %w{number} = arith.constant {weight}")
        lines.append(
            f"  %y{number} = lowbit.linear %x, %w{number} routed(%r, {before}) "
            f'{{expert = {number} : i64, name = "up.{number}"}} : ({x}, {w}, {r}, {y}) -> {y}'
        )
        before = f"%y{number}"
    return "\n".join(lines) + f"\n  return {before} : {y}\n}}\n"


def arrays(m, n, k, choices, leading=None):
    random = np.random.default_rng(m)
    rows = leading or (m,)
    x = random.normal(size=(*rows, k)).astype(np.float32)
    others = random.normal(size=(*rows, n)).astype(np.float32)
    return [x, random.choice(choices, size=rows), others]


def quantize(folder, text, scheme):
    (folder / "float.mlir").write_text(text)
    path = folder / "quantized.mlir"
    run("quant-opt", folder / "float.mlir", f"--rtn-quantize={scheme} progress=none", "-o", path)
    return path


def expected(path, inputs, floats=None):
    """Rows of experts that are not in the module are the others."""
    weights = {name: weight.dequantized() for name, weight in read_weights(path.read_text()).items()}
    weights.update(floats or {})
    x, routing, y = inputs
    y = y.astype(np.float64)
    for name, weight in weights.items():
        chosen = routing == int(name.split(".")[1])
        y[chosen] = x[chosen].astype(np.float64) @ weight.astype(np.float64).T
    return y


def check(path, inputs, compute, folder, threads=2, **options):
    reference = expected(path, inputs, **options)
    (y,) = run_module(path, inputs, folder, [f"--compute={compute}"], f".{compute}{threads}", threads=threads)
    assert y.shape == reference.shape
    assert np.abs(y - reference).max() <= TOLERANCE[compute] * np.abs(reference).max()
    return y


@pytest.mark.parametrize("m", [1, 2, 7, 40])
def test_rows_go_to_their_experts(tmp_path, m):
    path = quantize(tmp_path, chain(range(5), m, 37, 70), "group-size=32")
    # Expert 3 gets no row, and 9 and -1 are none.
    inputs = arrays(m, 37, 70, [0, 1, 2, 2, 2, 4, 9, -1])
    for compute in ("f32", "bf16", "i8"):
        check(path, inputs, compute, tmp_path)


@pytest.mark.parametrize("n, k", [(1, 1), (16, 64), (17, 33), (81, 200)])
def test_shapes(tmp_path, n, k):
    path = quantize(tmp_path, chain(range(3), 9, n, k), "group-size=64")
    check(path, arrays(9, n, k, [0, 1, 2]), "f32", tmp_path)


@pytest.mark.parametrize(
    "scheme",
    [
        "bits=2 group-size=16",
        "bits=3 group-size=64 zero=float",
        "bits=4 group-size=128 zero=none",
        "bits=5 group-size=channel",
        "bits=8 group-size=tensor zero=none",
        "group-size=20 scale-type=f32",
        "group-size=18",  # groups that have no kernel
    ],
)
def test_every_scheme(tmp_path, scheme):
    path = quantize(tmp_path, chain(range(4), 11, 33, 90), scheme)
    inputs = arrays(11, 33, 90, [0, 1, 3, 5])
    for compute in ("f32", "i8"):
        check(path, inputs, compute, tmp_path)


@pytest.mark.parametrize("compute", ["f32", "bf16", "i8"])
def test_tables(tmp_path, compute):
    """The values of tables are those of lowbit-to-linalg, which other tests compare with numpy."""
    path = quantize(tmp_path, chain(range(4), 11, 33, 96), "table=nf4 double-quant=true")
    plain = tmp_path / "plain.mlir"
    run("quant-opt", path, "--lowbit-to-linalg", "-o", plain)
    inputs = arrays(11, 33, 96, [0, 1, 3, 5])
    (y,) = run_module(path, inputs, tmp_path, [f"--compute={compute}"])
    (reference,) = run_module(plain, inputs, tmp_path)
    assert np.abs(y - reference).max() <= TOLERANCE[compute] * np.abs(reference).max()


@pytest.mark.parametrize("numbers", [[7, 8, 9], [2, 1, 0], [0, 1, 5, 6, 3]])
def test_numbers_of_experts(tmp_path, numbers):
    path = quantize(tmp_path, chain(numbers, 20, 40, 64), "group-size=32")
    check(path, arrays(20, 40, 64, [*range(10)]), "f32", tmp_path)


def test_some_experts_are_others(tmp_path):
    """One is not quantized, one has other codes."""
    text = chain(range(5), 20, 40, 64)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text('layers:\n  - match: "up.1$"\n    skip: true\n  - match: "up.3$"\n    bits: 8\n')
    path = quantize(tmp_path, text, f"group-size=32 recipe={recipe}")
    random = np.random.default_rng(104)
    floats = [random.normal(size=(40, 64)).astype(np.float32) for _ in range(2)]
    inputs = arrays(20, 40, 64, [*range(6)])
    check(path, inputs, "f32", tmp_path, floats={"up.1": floats[1]})


def test_leading_dimensions(tmp_path):
    path = quantize(tmp_path, chain(range(3), 0, 24, 64, leading=(2, 5)), "group-size=32")
    check(path, arrays(0, 24, 64, [0, 1, 2, 7], leading=(2, 5)), "i8", tmp_path)


@pytest.mark.parametrize("compute", ["f32", "bf16", "i8"])
def test_threads_do_not_change_a_bit(tmp_path, compute):
    path = quantize(tmp_path, chain(range(6), 150, 100, 64), "group-size=32")
    inputs = arrays(150, 100, 64, [*range(7)])
    first, *others = [check(path, inputs, compute, tmp_path, threads) for threads in (1, 2, 3, 4)]
    assert all(np.array_equal(first, other) for other in others)


def test_packed_weights_give_the_same_bytes(tmp_path):
    path = quantize(tmp_path, chain(range(4), 12, 40, 64), "group-size=32")
    packed = tmp_path / "packed.mlir"
    run("quant-opt", path, "--lowbit-pack=target=cpu", "-o", packed)
    inputs = arrays(12, 40, 64, [0, 1, 3])
    (a,), (b,) = (run_module(module, inputs, tmp_path) for module in (path, packed))
    assert np.array_equal(a, b)
