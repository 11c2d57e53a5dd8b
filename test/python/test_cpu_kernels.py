# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Generated CPU kernels inside a module, against what its weights mean.

The reference is the same module after lowbit-to-linalg: the weights as floats,
multiplied one product after the other.
"""

import numpy as np
import pytest

from oracle import REPOSITORY, execute, run, run_module

pytestmark = pytest.mark.quant_opt

# The largest error, as a part of the largest result: f32 sums in another order,
# x rounded to 8 bits of precision, x rounded to 127 steps.
TOLERANCE = {"f32": 3e-6, "bf16": 1e-2, "i8": 3e-2}


def module(rows, k, outputs, type_="f32", seed=0):
    """Linears that read one input, and one that reads the first result."""
    random = np.random.default_rng(seed)
    body, results, types = [], [], []
    x = f"tensor<{'x'.join(map(str, rows))}x{k}x{type_}>"
    m = "x".join(map(str, rows))

    def linear(index, value, value_type, inner, n):
        weight = random.normal(size=(n, inner)).astype(np.float32)
        values = ", ".join("[" + ", ".join(f"{v:.5f}" for v in row) + "]" for row in weight)
        y = f"tensor<{m}x{n}x{type_}>"
        body.append(
            f"  %w{index} = arith.constant dense<[{values}]> : tensor<{n}x{inner}x{type_}>\n"
            f'  %y{index} = lowbit.linear {value}, %w{index} {{name = "layer.{index}"}} '
            f": ({value_type}, tensor<{n}x{inner}x{type_}>) -> {y}"
        )
        results.append(f"%y{index}")
        types.append(y)

    for index, n in enumerate(outputs):
        linear(index, "%x", x, k, n)
    linear(len(outputs), "%y0", types[0], outputs[0], 24)
    returned = ", ".join(types)
    return (
        f"func.func @main(%x: {x}) -> ({returned}) {{\n"
        + "\n".join(body)
        + f"\n  return {', '.join(results)} : {returned}\n}}\n"
    )


def check(folder, text, scheme, inputs, compute, threads=2, options=()):
    source = folder / "float.mlir"
    source.write_text(text)
    quantized = folder / "quantized.mlirbc"
    run("quant-opt", source, f"--rtn-quantize={scheme} progress=none", "-o", quantized)
    plain = folder / "plain.mlirbc"
    run("quant-opt", quantized, "--lowbit-to-linalg", "-o", plain)
    expected = run_module(plain, inputs, folder, name=".plain")
    actual = run_module(
        quantized, inputs, folder, name=f".{compute}", options=[f"--compute={compute}", *options], threads=threads
    )
    assert len(expected) == len(actual) > 1
    for y, reference in zip(actual, expected):
        assert y.shape == reference.shape and y.dtype == reference.dtype
        error = np.abs(y.astype(np.float64) - reference.astype(np.float64)).max()
        assert error <= TOLERANCE[compute] * np.abs(reference).max()
    return actual


@pytest.mark.parametrize("compute", ["f32", "bf16", "i8"])
@pytest.mark.parametrize("rows", [(1,), (2, 3), (33,)])
def test_kernels_mean_what_the_weights_mean(tmp_path, rows, compute):
    x = np.random.default_rng(1).normal(size=(*rows, 70)).astype(np.float32)
    check(tmp_path, module(rows, 70, [40, 17]), "group-size=32", [x], compute)


@pytest.mark.parametrize("compute", ["f32", "i8"])
@pytest.mark.parametrize(
    "scheme",
    [
        "bits=2 group-size=16",
        "bits=3 group-size=64 zero=float",
        "bits=5 group-size=channel",
        "bits=8 group-size=tensor zero=none",
        "group-size=128 zero=none scale-type=bf16",
        "group-size=20 scale-type=f32",
    ],
)
def test_every_scheme(tmp_path, scheme, compute):
    x = np.random.default_rng(2).normal(size=(5, 96)).astype(np.float32)
    check(tmp_path, module((5,), 96, [33]), scheme, [x], compute)


@pytest.mark.parametrize("compute", ["f32", "i8"])
def test_groups_without_a_kernel_run_all_the_same(tmp_path, compute):
    x = np.random.default_rng(3).normal(size=(3, 54)).astype(np.float32)
    check(tmp_path, module((3,), 54, [16]), "group-size=9", [x], compute)


def test_threads_do_not_change_a_bit(tmp_path):
    x = np.random.default_rng(4).normal(size=(9, 64)).astype(np.float32)
    text = module((9,), 64, [100, 20])
    results = []
    for threads in (1, 2, 3):
        folder = tmp_path / str(threads)
        folder.mkdir()
        results.append(check(folder, text, "group-size=32", [x], "i8", threads))
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other))


def test_packed_modules_give_the_same_bytes(tmp_path):
    source, packed = tmp_path / "q.mlirbc", tmp_path / "p.mlirbc"
    (tmp_path / "float.mlir").write_text(module((4,), 64, [40, 24]))
    run("quant-opt", tmp_path / "float.mlir", "--rtn-quantize=group-size=32 progress=none", "-o", source)
    run("quant-opt", source, "--lowbit-pack=target=cpu", "-o", packed)
    x = np.random.default_rng(5).normal(size=(4, 64)).astype(np.float32)
    for a, b in zip(run_module(source, [x], tmp_path), run_module(packed, [x], tmp_path)):
        assert np.array_equal(a, b)


def test_not_a_number_stays_in_its_row(tmp_path):
    """Quantized activations have a scale for each row; one bad row is its own."""
    x = np.random.default_rng(6).normal(size=(3, 64)).astype(np.float32)
    x[1, 5] = np.nan
    (tmp_path / "float.mlir").write_text(module((3,), 64, [16]))
    path = tmp_path / "q.mlirbc"
    run("quant-opt", tmp_path / "float.mlir", "--rtn-quantize=group-size=32 progress=none", "-o", path)
    y = run_module(path, [x], tmp_path, options=["--compute=i8"])[0]
    assert np.isnan(y[1]).all() and np.isfinite(y[[0, 2]]).all()


def test_char_lm_keeps_its_perplexity(tmp_path):
    model = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
    path = tmp_path / "q.mlirbc"
    run("quant-opt", model, "--rtn-quantize=progress=none", "-o", path)
    found = {}
    for compute in ("f32", "bf16", "i8"):
        out = run(
            "quant-run", "--perplexity", model.parent / "heldout.npy", "--windows=8", f"--compute={compute}", path
        )
        found[compute] = float(out.split()[-1])
    assert abs(found["bf16"] / found["f32"] - 1) < 2e-3
    assert abs(found["i8"] / found["f32"] - 1) < 5e-3


@pytest.mark.parametrize("option,message", [("--compute=i4", "i4"), ("--input-group=20", "multiple of 32")])
def test_bad_options(tmp_path, option, message):
    path = tmp_path / "q.mlir"
    path.write_text(module((2,), 64, [16]))
    quantized = tmp_path / "q.mlirbc"
    run("quant-opt", path, "--rtn-quantize=group-size=32 progress=none", "-o", quantized)
    x = tmp_path / "x.npy"
    np.save(x, np.zeros((2, 64), np.float32))
    done = execute("quant-run", quantized, option, f"--input={x}")
    assert done.returncode == 1
    assert message in done.stderr.decode()


# --- what follows a linear ----------------------------------------------------

BIAS = """
  %z = linalg.generic {{indexing_maps = [#all, #column, #all], iterator_types = [{parallel}]}}
      ins(%y0, %b : {y}, tensor<{n}x{t}>) outs(%e : {y}) {{
  ^bb0(%a: {t}, %c: {t}, %o: {t}):
    %s = arith.addf %a, %c : {t}
    linalg.yield %s : {t}
  }} -> {y}"""

RESIDUAL = """
  %z = linalg.generic {{indexing_maps = [#all, #row, #all, #none, #all], iterator_types = [{parallel}]}}
      ins(%y0, %f, %r, %h : {y}, tensor<{m}x{t}>, {y}, tensor<{t}>) outs(%e : {y}) {{
  ^bb0(%a: {t}, %c: {t}, %d: {t}, %g: {t}, %o: {t}):
    %s = arith.mulf %a, %c : {t}
    %u = arith.addf %s, %d : {t}
    %v = arith.subf %u, %g : {t}
    linalg.yield %v : {t}
  }} -> {y}"""

GATE = """
  %one = arith.constant 1.0 : {t}
  %z = linalg.generic {{indexing_maps = [#all, #all, #all], iterator_types = [{parallel}]}}
      ins(%y1, %y0 : {y}, {y}) outs(%e : {y}) {{
  ^bb0(%a: {t}, %c: {t}, %o: {t}):
    %s = arith.negf %a : {t}
    %u = math.exp %s : {t}
    %v = arith.addf %u, %one : {t}
    %w = arith.divf %a, %v : {t}
    %p = arith.mulf %w, %c : {t}
    linalg.yield %p : {t}
  }} -> {y}"""


def finished(body, rows, n, k=96, type_="f32"):
    """A module with `body` behind two linears."""
    random = np.random.default_rng(n)
    m = "x".join(map(str, rows))
    dims = [f"d{i}" for i in range(len(rows) + 1)]
    every = ", ".join(dims)
    x, y = f"tensor<{m}x{k}x{type_}>", f"tensor<{m}x{n}x{type_}>"
    lines = [
        f"#all = affine_map<({every}) -> ({every})>",
        f"#column = affine_map<({every}) -> ({dims[-1]})>",
        f"#row = affine_map<({every}) -> ({', '.join(dims[:-1])})>",
        f"#none = affine_map<({every}) -> ()>",
        f"func.func @main(%x: {x}, %b: tensor<{n}x{type_}>, %f: tensor<{m}x{type_}>, "
        f"%r: {y}, %h: tensor<{type_}>) -> ({y}, {y}) {{",
        f"  %e = tensor.empty() : {y}",
    ]
    for index in range(3):
        weight = random.normal(size=(n, k)).astype(np.float32) / 8
        values = ", ".join("[" + ", ".join(f"{v:.5f}" for v in row) + "]" for row in weight)
        w = f"tensor<{n}x{k}x{type_}>"
        lines.append(f"  %w{index} = arith.constant dense<[{values}]> : {w}")
        lines.append(f'  %y{index} = lowbit.linear %x, %w{index} {{name = "layer.{index}"}} : ({x}, {w}) -> {y}')
    parallel = ", ".join(['"parallel"'] * len(dims))
    lines.append(body.format(parallel=parallel, y=y, n=n, m=m, t=type_))
    # The last linear's result is read as it is.
    return "\n".join(lines) + f"\n  return %z, %y2 : {y}, {y}\n}}\n"


def arrays(rows, n, k=96, type_=np.float32):
    random = np.random.default_rng(6)
    sizes = [(*rows, k), (n,), rows, (*rows, n), ()]
    return [np.asarray(random.normal(size=size)).astype(type_) for size in sizes]


@pytest.mark.parametrize("compute", ["f32", "bf16", "i8"])
@pytest.mark.parametrize("rows, n", [((1,), 33), ((3,), 64), ((2, 9), 40), ((37,), 7)])
@pytest.mark.parametrize("body", [BIAS, RESIDUAL, GATE], ids=["bias", "residual", "gate"])
def test_epilogues(tmp_path, body, rows, n, compute):
    check(tmp_path, finished(body, rows, n), "group-size=32", arrays(rows, n), compute)


@pytest.mark.parametrize("body", [BIAS, RESIDUAL, GATE], ids=["bias", "residual", "gate"])
def test_epilogues_of_halves(tmp_path, body):
    text = finished(body, (5,), 40, type_="f16")
    check(tmp_path, text, "group-size=32", arrays((5,), 40, type_=np.float16), "bf16")


@pytest.mark.parametrize("body", [BIAS, RESIDUAL, GATE], ids=["bias", "residual", "gate"])
def test_epilogues_are_in_the_kernels(tmp_path, body):
    (tmp_path / "float.mlir").write_text(finished(body, (2, 9), 40))
    model = tmp_path / "q.mlirbc"
    run("quant-opt", tmp_path / "float.mlir", "--rtn-quantize=group-size=32 progress=none", "-o", model)
    inputs = []
    for index, array in enumerate(arrays((2, 9), 40)):
        np.save(tmp_path / f"{index}.npy", array)
        inputs.append(f"--input={tmp_path / f'{index}.npy'}")
    done = execute("quant-run", model, *inputs, "--print-after=fuse")
    assert done.returncode == 0
    assert b"call @lowbit_linear" in done.stdout and b"linalg.generic" not in done.stdout


@pytest.mark.parametrize("threads", [1, 3])
def test_epilogues_do_not_depend_on_threads(tmp_path, threads):
    results = []
    for count in (2, threads):
        folder = tmp_path / str(count)
        folder.mkdir()
        text = finished(GATE, (19,), 72)
        results.append(check(folder, text, "group-size=32", arrays((19,), 72), "i8", count))
    assert all(np.array_equal(a, b) for a, b in zip(*results))
