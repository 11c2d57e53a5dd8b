# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a quantized weight means, against an independent reading of its planes.

The identity goes in, so that the matrix that the compiler multiplies with comes
out: it must equal numpy's reading of the planes bit for bit, in quant-run and
after --lowbit-to-linalg.
"""

import numpy as np
import pytest

from oracle import encode, linear_model, read_weights, resources, rounded, run, run_module

pytestmark = pytest.mark.quant_opt

SHAPES = {"even": (6, 96), "short": (5, 100), "odd": (3, 33), "one_row": (1, 257), "tiny": (2, 5)}
GROUPS = ["8", "32", "100", "channel", "tensor"]
ZEROS = ["integer", "float", "none"]
SCALES = ["f16", "bf16", "f32"]
RTN = "--rtn-quantize=progress=none"


def _schemes():
    """Every number of bits with every zero; groups and scale types take turns."""
    cases, turn = [], 0
    for bits in range(2, 9):
        for zero in ZEROS:
            group = GROUPS[(bits + 2 * ZEROS.index(zero)) % len(GROUPS)]
            scale = SCALES[turn % len(SCALES)] if zero != "float" else SCALES[bits % len(SCALES)]
            search = "none" if turn % 3 != 1 else "lsq"
            full = turn % 2 == 0
            cases.append((bits, group, zero, scale, search, full))
            turn += 1
    cases += [
        (4, "tensor", "integer", "f16", "none", True),
        (4, "channel", "float", "f32", "grid", True),
        (4, "8", "none", "f16", "none", False),
        (3, "100", "none", "bf16", "none", True),
        (5, "8", "integer", "bf16", "grid", True),
        (8, "tensor", "float", "bf16", "none", True),
    ]
    return cases


def _weights(seed):
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    # Ranges that leave 0 out, a group of zeros, equal values, small and large ones.
    weights["even"][0] += 5
    weights["even"][1] -= 5
    weights["even"][2, :] = 0
    weights["even"][3, :] = -0.75
    weights["short"][0] *= 1e-4
    weights["short"][1] *= 300
    return {name: w.astype(np.float32) for name, w in weights.items()}


@pytest.mark.parametrize("bits, group, zero, scale, search, full", _schemes())
def test_planes_mean_what_is_computed(bits, group, zero, scale, search, full, tmp_path):
    weights = _weights(bits * 100 + ZEROS.index(zero))
    (tmp_path / "float.mlir").write_text(linear_model(weights))
    options = (
        f"bits={bits} group-size={group} zero={zero} scale-type={scale} search={search} "
        f"full-range={str(full).lower()} progress=none"
    )
    text = run("quant-opt", tmp_path / "float.mlir", f"--rtn-quantize={options}")
    (tmp_path / "quantized.mlir").write_text(text)
    run(
        "quant-opt",
        tmp_path / "quantized.mlir",
        "--lowbit-to-linalg",
        "-o",
        tmp_path / "linalg.mlir",
    )
    read = read_weights(text)
    assert set(read) == set(weights)

    identities = [np.eye(w.shape[1], dtype=np.float32) for w in weights.values()]
    packed = run_module(tmp_path / "quantized.mlir", identities, tmp_path)
    lowered = run_module(tmp_path / "linalg.mlir", identities, tmp_path)
    for (name, w), run_packed, run_lowered in zip(weights.items(), packed, lowered):
        weight = read[name]
        assert (weight.bits, weight.scale_type) == (bits, scale)
        value = weight.dequantized()
        assert value.dtype == np.float32
        np.testing.assert_array_equal(run_lowered.T, value, f"{name}: --lowbit-to-linalg")
        # Kernels multiply codes around their middle and take the scale out of the
        # sum: some units in the last place of a row's largest weight.
        error = np.abs(run_packed.T - value).max(axis=1)
        assert (error <= 1e-6 * np.abs(value).max(axis=1)).all(), f"{name}: quant-run of the planes"
        check_nearest(name, weight, w, value)
        if search == "none":
            check_parameters_from_extremes(name, weight, w, full)


def check_nearest(name, weight, w, value):
    """No other code is nearer to the weight, and inside the range half a step is."""
    every = np.arange(2**weight.bits)
    best = np.full(w.shape, np.inf)
    low, high = np.full(w.shape, np.inf), np.full(w.shape, -np.inf)
    for code in every:
        at = weight.value(np.full(w.shape, code)).astype(np.float64)
        best = np.minimum(best, abs(at - w))
        low, high = np.minimum(low, at), np.maximum(high, at)
    error = abs(value.astype(np.float64) - w)
    step = abs(weight.expand(weight.scales)).astype(np.float64)
    # The codes are chosen in f32: that much may tip a tie.
    tolerance = 1e-3 * step + 2e-7 * abs(w)
    assert (error <= best + tolerance).all(), f"{name}: a code is not the nearest"
    inside = (w >= low) & (w <= high)
    assert (error <= step / 2 + tolerance)[inside].all(), f"{name}: more than half a step"


def check_parameters_from_extremes(name, weight, w, full):
    """Scales and offsets follow from minimum and maximum of each group."""
    k, group, kind = weight.k, weight.group, weight.scale_type
    rows = w.reshape(1, -1) if weight.per_tensor else w
    length = rows.shape[1] if weight.per_tensor else group
    largest, middle = 2**weight.bits - 1, 2 ** (weight.bits - 1)
    for row in range(rows.shape[0]):
        for index, begin in enumerate(range(0, rows.shape[1], length)):
            values = rows[row, begin : begin + length].astype(np.float64)
            low, high = values.min(), values.max()
            scale = weight.scales[row, index]
            if weight.zero == "symmetric":
                most = low if -low >= high else high
                expected = -most / middle if full else 2 * abs(most) / largest
            elif weight.zero == "integer_zero":
                low, high = min(low, 0), max(high, 0)
                expected = (high - low) / largest
            else:
                expected = (high - low) / largest
            smallest = 2.0**-24 if kind == "f16" else np.finfo(np.float32).tiny
            precision = {"f16": 2.0**-11, "bf16": 2.0**-8, "f32": 2.0**-24}[kind]
            place = f"{name}: row {row} group {index} of K = {k}"
            assert abs(scale - expected) <= abs(expected) * precision * 1.01 + smallest, place
            if weight.zero == "integer_zero":
                zero = 0 if scale == 0 else np.clip(-low / scale, 0, largest)
                assert abs(weight.offsets[row, index] - zero) <= 0.5 + 1e-5, place
            elif weight.zero == "float_minimum":
                assert weight.offsets[row, index] == rounded(np.float32(low), kind), place


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_half_width_weights_are_quantized_from_their_exact_values(dtype, tmp_path):
    rng = np.random.default_rng(7)
    weights = {"fc": rounded(rng.standard_normal((4, 72)), dtype)}
    (tmp_path / "half.mlir").write_text(linear_model(weights, dtype=dtype))
    (tmp_path / "full.mlir").write_text(linear_model(weights))
    options = "--rtn-quantize=progress=none search=none group-size=16 bits=5"
    texts = {}
    for name in ("half", "full"):
        texts[name] = run("quant-opt", tmp_path / f"{name}.mlir", options)
        (tmp_path / f"{name}.q.mlir").write_text(texts[name])
    read = {name: read_weights(text)["fc"] for name, text in texts.items()}
    np.testing.assert_array_equal(read["half"].codes, read["full"].codes)
    np.testing.assert_array_equal(read["half"].scales, read["full"].scales)
    run("quant-opt", tmp_path / "half.q.mlir", "--lowbit-to-linalg", "-o", tmp_path / "low.mlir")
    identity = [np.eye(72, dtype=np.float32)]
    for path in ("half.q.mlir", "low.mlir"):
        (y,) = run_module(tmp_path / path, identity, tmp_path)
        np.testing.assert_array_equal(y.T, read["half"].dequantized(), path)


def test_bytecode_and_text_hold_the_same_planes(tmp_path):
    (tmp_path / "float.mlir").write_text(linear_model(_weights(3)))
    options = "--rtn-quantize=bits=3 group-size=32 progress=none"
    text = run("quant-opt", tmp_path / "float.mlir", options)
    run("quant-opt", tmp_path / "float.mlir", options, "-o", tmp_path / "q.mlirbc")
    assert run("quant-opt", tmp_path / "q.mlirbc") == text


@pytest.mark.parametrize("size", [2, 8, 24, 40, 64])
def test_small_bytecode_files_are_read(size, tmp_path):
    """Files too small to be mapped, whose blobs want more alignment than malloc gives."""
    weights = {"fc": np.eye(size, dtype=np.float32) * 3 - 1}
    (tmp_path / "in.mlir").write_text(linear_model(weights))
    for name, options in (("float", []), ("packed", ["--rtn-quantize=progress=none"])):
        path = tmp_path / f"{name}.mlirbc"
        text = run("quant-opt", tmp_path / "in.mlir", *options)
        run("quant-opt", tmp_path / "in.mlir", *options, "-o", path)
        assert run("quant-opt", path) == text
        (y,) = run_module(path, [np.eye(size, dtype=np.float32)], tmp_path)
        assert y.shape == (size, size)


def test_output_over_the_input_file(tmp_path):
    """The input is mapped while the output is written; it must not be pulled away."""
    weights = {"fc": np.random.default_rng(8).standard_normal((128, 128)).astype(np.float32)}
    (tmp_path / "in.mlir").write_text(linear_model(weights))
    for name in ("same", "other"):
        run("quant-opt", tmp_path / "in.mlir", "-o", tmp_path / f"{name}.mlirbc")
    run("quant-opt", tmp_path / "same.mlirbc", RTN, "-o", tmp_path / "same.mlirbc")
    run("quant-opt", tmp_path / "other.mlirbc", RTN, "-o", tmp_path / "third.mlirbc")
    assert (tmp_path / "same.mlirbc").read_bytes() == (tmp_path / "third.mlirbc").read_bytes()


def test_layers_with_strange_and_equal_names(tmp_path):
    """Names become resource keys: none may clash, or be lost on the way through text."""
    names = ["a b/c.d", "a", "a.codes", "ünï", "0", "%5", "x\\22y", "line\\0Abreak", "a"]
    rng = np.random.default_rng(9)
    weights = [rng.standard_normal((4, 8)).astype(np.float32) for _ in names]
    lines = [
        f'  %w{i} = arith.constant dense_resource<k{i}> : tensor<4x8xf32>\n  %y{i} = lowbit.linear '
        f'%x, %w{i} {{name = "{name}"}} : (tensor<2x8xf32>, tensor<4x8xf32>) -> tensor<2x4xf32>\n'
        for i, name in enumerate(names)
    ]
    values = ", ".join(f"%y{i}" for i in range(len(names)))
    types = ", ".join(["tensor<2x4xf32>"] * len(names))
    (tmp_path / "in.mlir").write_text(
        f"func.func @main(%x: tensor<2x8xf32>) -> ({types}) {{\n{''.join(lines)}"
        f"  return {values} : {types}\n}}\n"
        + resources({f"k{i}": encode(w, "f32") for i, w in enumerate(weights)})
    )
    run("quant-opt", tmp_path / "in.mlir", f"{RTN} bits=8", "-o", tmp_path / "once.mlir")
    run("quant-opt", tmp_path / "once.mlir", "-o", tmp_path / "twice.mlir")
    x = rng.standard_normal((2, 8)).astype(np.float32)
    for path in ("once.mlir", "twice.mlir"):
        results = run_module(tmp_path / path, [x], tmp_path)
        for name, w, y in zip(names, weights, results):
            assert abs(y - x @ w.T).max() < 0.1, f"{path}: layer '{name}'"


def test_a_module_quantized_in_two_parts_is_the_same_as_in_one(tmp_path):
    (tmp_path / "float.mlir").write_text(linear_model(_weights(4)))
    options = "bits=4 group-size=32 progress=none"
    once = run("quant-opt", tmp_path / "float.mlir", f"--rtn-quantize={options}")
    run(
        "quant-opt",
        tmp_path / "float.mlir",
        f"--rtn-quantize={options} only=^short$,^tiny$",
        "-o",
        tmp_path / "half.mlir",
    )
    half = read_weights((tmp_path / "half.mlir").read_text())
    assert set(half) == {"short", "tiny"}
    twice = run("quant-opt", tmp_path / "half.mlir", f"--rtn-quantize={options}")
    first, second = read_weights(once), read_weights(twice)
    for name in SHAPES:
        np.testing.assert_array_equal(first[name].dequantized(), second[name].dequantized())


def test_quantized_product_with_other_inputs(tmp_path):
    """y = x W^T of many and of one row, not only of the identity."""
    weights = _weights(5)
    for rows in (1, 7):
        folder = tmp_path / str(rows)
        folder.mkdir()
        leading = dict.fromkeys(weights, rows)
        (folder / "float.mlir").write_text(linear_model(weights, leading))
        text = run(
            "quant-opt", folder / "float.mlir", "--rtn-quantize=group-size=32 progress=none"
        )
        (folder / "q.mlir").write_text(text)
        run("quant-opt", folder / "q.mlir", "--lowbit-to-linalg", "-o", folder / "l.mlir")
        rng = np.random.default_rng(rows)
        inputs = [
            rng.standard_normal((rows, w.shape[1])).astype(np.float32) for w in weights.values()
        ]
        read = read_weights(text)
        for path in ("q.mlir", "l.mlir"):
            results = run_module(folder / path, inputs, folder)
            for name, x, y in zip(weights, inputs, results):
                w = read[name].dequantized().astype(np.float64)
                room = 1e-5 * (abs(x) @ abs(w).T) + 1e-12
                assert (abs(y - x @ w.T) <= room).all(), f"{path} {name}"
