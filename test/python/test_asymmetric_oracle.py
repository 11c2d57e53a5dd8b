# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""--gptq-quantize=asymmetric=... against both streams run in numpy.

Every sample runs in the float model and in the quantized one; the target of a
layer is W + (W D + R)(H + ridge)^-1 in float64, and its codes are those of GPTQ
on it (test_gptq_oracle.py).
"""

import json

import numpy as np
import pytest

from oracle import encode, read_weights, resources, run, tensor
from test_gptq_oracle import Scheme, gptq, moment

pytestmark = pytest.mark.quant_opt

SAMPLES, ROWS, K, HIDDEN, N = 6, 40, 48, 64, 24


# --- the model: one layer, one that adds to what the first gives, one behind ----


def _model():
    rng = np.random.default_rng(5)
    shapes = {"first": (HIDDEN, K), "adds": (HIDDEN, HIDDEN), "last": (N, HIDDEN)}
    weights = {name: rng.standard_normal(shape) / 8 for name, shape in shapes.items()}
    weights = {name: w.astype(np.float32) for name, w in weights.items()}
    mix = rng.standard_normal((K, K)) * np.exp(rng.standard_normal(K)) / 6 + np.eye(K)
    samples = (rng.standard_normal((SAMPLES, ROWS, K)) @ mix).astype(np.float32)
    return weights, samples


BIAS = np.linspace(-1, 1, HIDDEN).astype(np.float32)

FLAT, DEEP = tensor((ROWS, HIDDEN)), tensor((1, ROWS, HIDDEN))
MAP2 = "affine_map<(m, n) -> (m, n)>"
MAP3 = "affine_map<(b, m, n) -> (b, m, n)>"
ZERO3 = "affine_map<(b, m, n) -> (0, m, n)>"
COLUMN3 = "affine_map<(b, m, n) -> (n)>"


def elementwise(result, op, inputs, type_, maps, loops):
    """A linalg.generic of one operation on its inputs."""
    names = [f"%i{i}" for i in range(len(inputs))]
    operands = ", ".join(names + (["%zero"] if op == "maximumf" else []))
    values, types = zip(*inputs)
    block = ", ".join(f"{name}: f32" for name in [*names, "%o"])
    kinds = ", ".join(['"parallel"'] * loops)
    return f"""
  %{result}.init = tensor.empty() : {type_}
  %{result} = linalg.generic {{indexing_maps = [{", ".join(maps)}], iterator_types = [{kinds}]}}
      ins({", ".join(values)} : {", ".join(types)}) outs(%{result}.init : {type_}) {{
  ^bb0({block}):
    %p = arith.{op} {operands} : f32
    linalg.yield %p : f32
  }} -> {type_}
"""


def expand(result, value):
    return (
        f"  %{result} = tensor.expand_shape {value} [[0, 1], [2]] output_shape [1, {ROWS}, {HIDDEN}]"
        f" : {FLAT} into {DEEP}\n"
    )


def collapse(result, value):
    return f"  %{result} = tensor.collapse_shape {value} [[0, 1], [2]] : {DEEP} into {FLAT}\n"


# How %y, what "adds" gives, and %a, what the first layer gives, become %s.
TAILS = {
    "generic": elementwise("s", "addf", [("%y", FLAT), ("%a", FLAT)], FLAT, [MAP2] * 3, 2),
    "named": f"""
  %s = linalg.add ins(%a, %y : {FLAT}, {FLAT}) outs(%e : {FLAT}) -> {FLAT}
""",
    "reshaped": expand("y3", "%y")
    + expand("a3", "%a")
    + elementwise("s3", "addf", [("%a3", DEEP), ("%y3", DEEP)], DEEP, [ZERO3, MAP3, MAP3], 3)
    + collapse("s", "%s3"),
    "bias": expand("y3", "%y")
    + elementwise(
        "b3", "addf", [("%y3", DEEP), ("%bias", tensor((HIDDEN,)))], DEEP, [MAP3, COLUMN3, MAP3], 3
    )
    + expand("a3", "%a")
    + elementwise("s3", "addf", [("%b3", DEEP), ("%a3", DEEP)], DEEP, [MAP3] * 3, 3)
    + collapse("s", "%s3"),
    # What follows is no residual.
    "product": elementwise("s", "mulf", [("%y", FLAT), ("%a", FLAT)], FLAT, [MAP2] * 3, 2),
    "twice": elementwise("d", "addf", [("%y", FLAT), ("%y", FLAT)], FLAT, [MAP2] * 3, 2)
    + elementwise("s", "addf", [("%d", FLAT), ("%a", FLAT)], FLAT, [MAP2] * 3, 2),
    "transposed": elementwise(
        "s",
        "addf",
        [("%y", FLAT), ("%at", tensor((HIDDEN, ROWS)))],
        FLAT,
        [MAP2, "affine_map<(m, n) -> (n, m)>", MAP2],
        2,
    ),
}


def sum_of(tail, y, a):
    """The same in numpy."""
    y, a = y.astype(np.float64), a.astype(np.float64)
    if tail == "product":
        return y * a
    if tail == "twice":
        return 2 * y + a
    return y + a + (BIAS if tail == "bias" else 0)


def _text(weights, tail):
    x, z = tensor((ROWS, K)), tensor((ROWS, N))
    types = {name: tensor(w.shape) for name, w in weights.items()}
    constants = "".join(
        f'  %{name} = arith.constant dense_resource<"{name}.weight"> : {types[name]}\n'
        for name in weights
    )
    body = f"""
  %zero = arith.constant 0.0 : f32
  %bias = arith.constant dense_resource<"bias"> : {tensor((HIDDEN,))}
  %e = tensor.empty() : {FLAT}
  %a = lowbit.linear %x, %first {{name = "first"}} : ({x}, {types["first"]}) -> {FLAT}
  %ate = tensor.empty() : {tensor((HIDDEN, ROWS))}
  %at = linalg.transpose ins(%a : {FLAT}) outs(%ate : {tensor((HIDDEN, ROWS))}) permutation = [1, 0]
{elementwise("r", "maximumf", [("%a", FLAT)], FLAT, [MAP2] * 2, 2)}
  %y = lowbit.linear %r, %adds {{name = "adds"}} : ({FLAT}, {types["adds"]}) -> {FLAT}
{TAILS[tail]}
{elementwise("t", "maximumf", [("%s", FLAT)], FLAT, [MAP2] * 2, 2)}
  %z = lowbit.linear %t, %last {{name = "last"}} : ({FLAT}, {types["last"]}) -> {z}
  return %z : {z}
"""
    data = {f"{name}.weight": encode(w, "f32") for name, w in weights.items()}
    return f"func.func @main(%x: {x}) -> {z} {{\n{constants}{body}}}\n" + resources(
        data | {"bias": encode(BIAS, "f32")}
    )


# --- both streams in float64 -----------------------------------------------------


def rows(x):
    return x.reshape(-1, x.shape[-1]).astype(np.float64)


class Moments:
    """H, D and R of some samples, in both streams."""

    def __init__(self, xq, xf, hq=None, hf=None):
        x, drift = rows(xq), rows(xf) - rows(xq)
        self.count = len(x)
        self.h = x.T @ x / len(x)
        self.d = drift.T @ x / len(x)
        self.r = 0 if hq is None else (rows(hf) - rows(hq)).T @ x / len(x)

    def asked(self, w):
        return w @ self.d + self.r

    def step(self, w):
        ridge = 0.01 * np.diag(self.h)[np.diag(self.h) > 0].mean()
        return np.linalg.solve(self.h + ridge * np.eye(len(self.h)), self.asked(w).T).T


def target(mode, w, streams):
    """The weight to quantize and the strength of the step to it."""
    w = w.astype(np.float64)
    whole = Moments(*streams)
    if mode == "on":
        return w + whole.step(w), 1
    half = len(streams[0]) // 2
    first = Moments(*(s[:half] for s in streams))
    second = Moments(*(s[half:] for s in streams))
    d = first.step(w)
    move = ((d @ second.h) * d).sum()
    best = np.clip((d * second.asked(w)).sum() / move, 0, 1) if move > 0 else 0
    part = first.count / whole.count
    strength = best / (best + part * (1 - best)) if best > 0 else 0
    return w + strength * whole.step(w), strength


def quantize(tmp_path, weights, samples, options, tail="generic"):
    """What quant-opt makes of it: weights and the entries of the report."""
    (tmp_path / "model.mlir").write_text(_text(weights, tail))
    np.savez(tmp_path / "calibration.npz", arg0=samples)
    report = tmp_path / "report.json"
    text = run(
        "quant-opt",
        tmp_path / "model.mlir",
        f"--gptq-quantize={options} calibration={tmp_path / 'calibration.npz'} "
        f"report={report} progress=none",
    )
    layers = {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}
    return read_weights(text), layers


def check(mode, tail, bits, group, zero, tmp_path):
    weights, samples = _model()
    read, layers = quantize(
        tmp_path,
        weights,
        samples,
        f"bits={bits} group-size={group} zero={zero} search=none asymmetric={mode}",
        tail,
    )

    def check_layer(name, xq, xf, *residual):
        w, streams = weights[name], (xq, xf, *residual)
        scheme = Scheme(bits, min(group, w.shape[1]), zero)
        values, strength = target(mode, w, streams)
        assert layers[name]["asymmetric_strength"] == pytest.approx(strength, abs=2e-3), name
        codes, error, nearest_error, _ = gptq(values, moment(xq), scheme)
        differing = (codes != read[name].codes).mean()
        assert differing <= 0.005, f"{name}: {differing:.2%} of the codes differ"
        assert layers[name]["relative_error"] == pytest.approx(error, rel=0.01), name
        assert layers[name]["rtn_relative_error"] == pytest.approx(nearest_error, rel=0.01), name
        # Each part of the target counts, or the test says nothing.
        less = [(xq, xq, *residual)] if name != "first" else []
        less += [(xq, xf)] if residual else []
        for part in less:
            other = gptq(target(mode, w, part)[0], moment(xq), scheme)[0]
            assert (other != codes).mean() > 0.02, name
        yq = xq.astype(np.float64) @ read[name].dequantized().T
        yf = xf.astype(np.float64) @ w.T
        drift = ((yq - yf) ** 2).sum() / (yf**2).sum()
        assert layers[name]["output_drift"] == pytest.approx(drift, rel=1e-3), name
        return yq, yf

    aq, af = check_layer("first", samples, samples)
    assert layers["first"]["asymmetric_strength"] == (1 if mode == "on" else 0)
    residual = () if tail in ("product", "twice", "transposed") else (aq, af)
    yq, yf = check_layer("adds", np.maximum(aq, 0), np.maximum(af, 0), *residual)
    sq, sf = sum_of(tail, yq, aq), sum_of(tail, yf, af)
    check_layer("last", np.maximum(sq, 0), np.maximum(sf, 0))


@pytest.mark.parametrize("mode", ["on", "auto"])
@pytest.mark.parametrize(
    "bits, group, zero", [(4, 32, "integer"), (3, 16, "float"), (2, 64, "none")]
)
def test_codes_are_those_of_the_target_in_float64(mode, bits, group, zero, tmp_path):
    check(mode, "generic", bits, group, zero, tmp_path)


@pytest.mark.parametrize("tail", sorted(TAILS.keys() - {"generic"}))
def test_what_the_result_is_added_to_is_found(tail, tmp_path):
    check("on", tail, 3, 16, "integer", tmp_path)


def test_number_of_threads_changes_no_byte(tmp_path):
    weights, samples = _model()
    (tmp_path / "model.mlir").write_text(_text(weights, "bias"))
    np.savez(tmp_path / "calibration.npz", arg0=samples)
    outputs = {}
    for threads, openmp in ((1, 1), (2, 2), (3, 3), (7, 7), (1, 3), (3, 1)):
        path = tmp_path / f"{threads}-{openmp}.mlirbc"
        run(
            "quant-opt",
            tmp_path / "model.mlir",
            f"--gptq-quantize=group-size=16 asymmetric=auto refine=1 level-tokens=.5 "
            f"calibration={tmp_path / 'calibration.npz'} threads={threads} progress=none",
            "-o",
            path,
            threads=openmp,
        )
        outputs[path.name] = path.read_bytes()
    first = next(iter(outputs.values()))
    assert [name for name, data in outputs.items() if data != first] == []


def test_layers_that_do_not_ask_for_it_are_as_ever(tmp_path):
    """The float stream alone changes nothing; one that asks changes what comes after it."""
    weights, samples = _model()
    options = "bits=3 group-size=16"
    plain, report = quantize(tmp_path, weights, samples, options)
    assert all(layer["asymmetric_strength"] is None for layer in report.values())
    assert all(layer["output_drift"] is None for layer in report.values())
    (tmp_path / "recipe.yaml").write_text("layers:\n  - match: last\n    asymmetric: on\n")
    one, report = quantize(
        tmp_path, weights, samples, f"{options} recipe={tmp_path / 'recipe.yaml'}"
    )
    assert report["adds"]["asymmetric_strength"] is None
    assert report["adds"]["output_drift"] > 0
    assert report["last"]["asymmetric_strength"] == 1
    assert (one["first"].codes == plain["first"].codes).all()
    assert (one["adds"].codes == plain["adds"].codes).all()
    assert (one["last"].codes != plain["last"].codes).any()


def test_one_sample_cannot_be_judged(tmp_path):
    weights, samples = _model()
    options = "bits=3 group-size=16 samples=1"
    plain, _ = quantize(tmp_path, weights, samples, options)
    auto, report = quantize(tmp_path, weights, samples, f"{options} asymmetric=auto")
    for name in weights:
        assert report[name]["asymmetric_strength"] == 0
        assert (auto[name].codes == plain[name].codes).all()


def test_streams_that_part_are_not_compared(tmp_path):
    """A branch that the float model takes and the quantized one does not."""
    x, w, y = tensor((1, 4)), tensor((4, 4)), tensor((1, 4))
    path, report = tmp_path / "model.mlir", tmp_path / "report.json"
    # The first result is .038 in float; two bits from 0 to 1 do not give that.
    path.write_text(f"""
func.func @main(%x: {x}) -> {y} {{
  %w = arith.constant dense<[[0.035, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, -1.0],
                             [1.0, 0.5, 0.0, 0.0], [0.3, 0.7, 1.0, 0.2]]> : {w}
  %u = arith.constant dense<[[1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.5],
                             [0.3, 0.1, 0.2, 0.9], [2.0, 1.0, 0.0, 1.0]]> : {w}
  %v = arith.constant dense<[[0.3, 0.1, 0.2, 0.9], [2.0, 1.0, 0.0, 1.0],
                             [1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.5]]> : {w}
  %e = tensor.empty() : {y}
  %zero = arith.constant 0 : index
  %low = arith.constant 0.03 : f32
  %high = arith.constant 0.04 : f32
  %a = lowbit.linear %x, %w {{name = "first"}} : ({x}, {w}) -> {y}
  %p = tensor.extract %a[%zero, %zero] : {y}
  %above = arith.cmpf ogt, %p, %low : f32
  %below = arith.cmpf olt, %p, %high : f32
  %between = arith.andi %above, %below : i1
  %r = scf.if %between -> {y} {{
    %n = linalg.negf ins(%a : {y}) outs(%e : {y}) -> {y}
    %b = lowbit.linear %n, %u {{name = "float alone"}} : ({y}, {w}) -> {y}
    scf.yield %b : {y}
  }} else {{
    %m = linalg.abs ins(%a : {y}) outs(%e : {y}) -> {y}
    %c = lowbit.linear %m, %v {{name = "quantized alone"}} : ({y}, {w}) -> {y}
    scf.yield %c : {y}
  }}
  %z = lowbit.linear %r, %w {{name = "after"}} : ({y}, {w}) -> {y}
  return %z : {y}
}}
""")
    samples = np.full((3, 1, 4), 1e-3, np.float32)
    samples[:, 0, 0] = 1
    np.savez(tmp_path / "c.npz", arg0=samples)
    run(
        "quant-opt",
        path,
        f"--gptq-quantize=bits=2 group-size=4 search=none asymmetric=on calibration={tmp_path / 'c.npz'} "
        f"progress=none report={report}",
    )
    layers = {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}
    assert layers["first"]["output_drift"] > 0
    assert layers["float alone"]["tokens"] == 0
    assert layers["quantized alone"]["tokens"] == 3
    assert layers["quantized alone"]["output_drift"] is None
    assert layers["quantized alone"]["asymmetric_strength"] is None
    # It shares the weight of the first.
    assert layers["after"]["output_drift"] is None


def test_drift_is_measured_where_asked_for(tmp_path):
    weights, samples = _model()
    plain, _ = quantize(tmp_path, weights, samples, "bits=3 group-size=16")
    read, layers = quantize(tmp_path, weights, samples, "bits=3 group-size=16 drift=true")
    for name in weights:
        assert (read[name].codes == plain[name].codes).all()
        assert layers[name]["asymmetric_strength"] is None
    yq, yf = (
        samples.astype(np.float64) @ w.T for w in (read["first"].dequantized(), weights["first"])
    )
    drift = ((yq - yf) ** 2).sum() / (yf**2).sum()
    assert layers["first"]["output_drift"] == pytest.approx(drift, rel=1e-3)
    assert layers["last"]["output_drift"] > drift
