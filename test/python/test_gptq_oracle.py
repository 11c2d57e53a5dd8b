# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""--gptq-quantize against GPTQ written out in float64 (arXiv:2210.17323).

Group parameters are fixed beforehand from the extremes (search=none); each
layer sees what the quantized layers before it give.
"""

import json

import numpy as np
import pytest

from oracle import encode, execute, read_weights, resources, rounded, run, run_module, tensor

pytestmark = pytest.mark.quant_opt

SAMPLES, ROWS, K, HIDDEN, N = 6, 40, 100, 80, 24


# --- the model: two layers in a row, and one beside the first ------------------


def _model():
    rng = np.random.default_rng(11)
    weights = {
        "first": rng.standard_normal((HIDDEN, K)) / 8,
        "beside": rng.standard_normal((16, K)) / 8,
        "second": rng.standard_normal((N, HIDDEN)) / 8,
    }
    weights = {name: w.astype(np.float32) for name, w in weights.items()}
    # Inputs whose columns hang together and differ in size, one of them dead.
    mix = rng.standard_normal((K, K)) * np.exp(rng.standard_normal(K)) / 6 + np.eye(K)
    samples = (rng.standard_normal((SAMPLES, ROWS, K)) @ mix).astype(np.float32)
    samples[:, :, 17] = 0
    return weights, samples


def _text(weights, dtype="f32"):
    x, h, y = (tensor((ROWS, columns), dtype) for columns in (K, HIDDEN, N))
    types = {name: tensor(w.shape, dtype) for name, w in weights.items()}
    constants = "".join(
        f'  %{name} = arith.constant dense_resource<"{name}.weight"> : {types[name]}\n'
        for name in weights
    )
    z = tensor((ROWS, 16), dtype)
    body = f"""
  %zero = arith.constant 0.0 : {dtype}
  %a = lowbit.linear %x, %first {{name = "first"}} : ({x}, {types["first"]}) -> {h}
  %b = lowbit.linear %x, %beside {{name = "beside"}} : ({x}, {types["beside"]}) -> {z}
  %e = tensor.empty() : {h}
  %r = linalg.generic {{
      indexing_maps = [affine_map<(m, n) -> (m, n)>, affine_map<(m, n) -> (m, n)>],
      iterator_types = ["parallel", "parallel"]}} ins(%a : {h}) outs(%e : {h}) {{
  ^bb0(%i: {dtype}, %o: {dtype}):
    %p = arith.maximumf %i, %zero : {dtype}
    linalg.yield %p : {dtype}
  }} -> {h}
  %y = lowbit.linear %r, %second {{name = "second"}} : ({h}, {types["second"]}) -> {y}
  return %y, %b : {y}, {z}
"""
    return (
        f"func.func @main(%x: {x}) -> ({y}, {z}) {{\n{constants}{body}}}\n"
        + resources({f"{name}.weight": encode(w, dtype) for name, w in weights.items()})
    )


# --- GPTQ in float64 ----------------------------------------------------------


class Scheme:
    def __init__(self, bits, group, zero, scale_type="f16"):
        self.bits, self.group, self.zero, self.scale_type = bits, group, zero, scale_type
        self.largest, self.middle = 2**bits - 1, 2 ** (bits - 1)

    def parameters(self, w):
        """Scale and offset of each weight, [n, k], from the extremes of its group."""
        n, k = w.shape
        scale, offset = np.zeros((n, k)), np.zeros((n, k))
        for begin in range(0, k, self.group):
            part = w[:, begin : begin + self.group].astype(np.float64)
            low, high = part.min(1), part.max(1)
            if self.zero == "none":
                s = -np.where(-low >= high, low, high) / self.middle
            else:
                if self.zero == "integer":
                    low, high = np.minimum(low, 0), np.maximum(high, 0)
                s = (high - low) / self.largest
            s = rounded(s, self.scale_type).astype(np.float64)
            if self.zero == "none":
                o = np.full(n, float(self.middle))
            elif self.zero == "integer":
                o = np.clip(np.rint(-low / s), 0, self.largest)
            else:
                o = rounded(low, self.scale_type).astype(np.float64)
            scale[:, begin : begin + self.group] = s[:, None]
            offset[:, begin : begin + self.group] = o[:, None]
        return scale, offset

    def codes(self, w, scale, offset):
        base, zero = (offset, 0) if self.zero == "float" else (0, offset)
        return np.clip(np.rint((w - base) / scale + zero), 0, self.largest)

    def values(self, codes, scale, offset):
        return codes * scale + offset if self.zero == "float" else (codes - offset) * scale


def column_order(diagonal, act_order, group):
    order = np.argsort(-diagonal, kind="stable")
    if act_order == "none":
        return np.arange(len(diagonal))
    if act_order == "gar":
        most = [diagonal[g : g + group].max() for g in range(0, len(diagonal), group)]
        rank = np.argsort(np.argsort(-np.array(most), kind="stable"))
        order = np.array(sorted(order, key=lambda c: rank[c // group]))
    return order


def gptq(w, h, scheme, act_order="static", damp=0.01):
    """Codes, values and the two relative errors."""
    k = w.shape[1]
    w = w.astype(np.float64).copy()
    dead = np.diag(h) == 0
    w[:, dead] = 0
    scale, offset = scheme.parameters(w.astype(np.float32))
    order = column_order(np.diag(h), act_order, scheme.group)
    damped = h + np.diag(np.where(dead, np.diag(h)[~dead].mean(), 0))
    damped += damp * np.diag(h)[~dead].mean() * np.eye(k)
    upper = np.linalg.cholesky(np.linalg.inv(damped[np.ix_(order, order)])).T
    rest, codes = w[:, order], np.zeros(w.shape)
    for i, column in enumerate(order):
        codes[:, column] = scheme.codes(rest[:, i], scale[:, column], offset[:, column])
        value = scheme.values(codes[:, column], scale[:, column], offset[:, column])
        error = (rest[:, i] - value) / upper[i, i]
        rest[:, i:] -= error[:, None] * upper[i, i:]
    nearest = scheme.codes(w, scale, offset)

    def row_errors(c):
        d = scheme.values(c, scale, offset) - w
        return ((d @ h) * d).sum(1)

    # Rows that rounding to nearest serves better keep it.
    better = row_errors(nearest) < row_errors(codes)
    codes[better] = nearest[better]
    reference = ((w @ h) * w).sum()
    return (
        codes.astype(int),
        row_errors(codes).sum() / reference,
        row_errors(nearest).sum() / reference,
        lambda c: row_errors(c).sum() / reference,
    )


def moment(x):
    x = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return x.T @ x / len(x)


@pytest.mark.parametrize(
    "bits, group, zero, act_order, damp",
    [
        (4, 32, "integer", "static", 0.01),
        (3, 16, "integer", "static", 0.01),
        (4, 32, "float", "static", 0.01),
        (2, 64, "float", "static", 0.05),
        (4, 8, "none", "static", 0.01),
        (8, 100, "integer", "static", 0.01),
        (4, 32, "integer", "none", 0.01),
        (3, 32, "integer", "gar", 0.1),
    ],
)
def test_codes_and_report_are_those_of_float64(bits, group, zero, act_order, damp, tmp_path):
    weights, samples = _model()
    (tmp_path / "model.mlir").write_text(_text(weights))
    np.savez(tmp_path / "calibration.npz", arg0=samples)
    report = tmp_path / "report.json"
    text = run(
        "quant-opt",
        tmp_path / "model.mlir",
        f"--gptq-quantize=bits={bits} group-size={group} zero={zero} search=none "
        f"act-order={act_order} damp={damp} calibration={tmp_path / 'calibration.npz'} "
        f"report={report} progress=none threads=1",
    )
    read = read_weights(text)
    layers = {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}
    assert set(read) == set(layers) == set(weights)

    def check(name, inputs):
        scheme = Scheme(bits, min(group, weights[name].shape[1]), zero)
        h = moment(inputs)
        codes, error, nearest_error, measure = gptq(weights[name], h, scheme, act_order, damp)
        dead = np.diag(h) == 0
        assert layers[name]["dead_columns"] == dead.sum(), name
        differing = (codes != read[name].codes)[:, ~dead].mean()
        assert differing <= 0.005, f"{name}: {differing:.2%} of the codes differ"
        assert measure(read[name].codes) == pytest.approx(error, rel=0.01), name
        assert layers[name]["relative_error"] == pytest.approx(error, rel=0.01), name
        assert layers[name]["rtn_relative_error"] == pytest.approx(nearest_error, rel=0.01), name
        assert layers[name]["relative_error"] <= layers[name]["rtn_relative_error"], name
        assert layers[name]["damp"] == pytest.approx(damp), name
        assert layers[name]["fallback"] is None, name

    check("first", samples)
    check("beside", samples)
    # The input of the second layer comes from the quantized first one, as stored.
    hidden = np.maximum(samples @ read["first"].dequantized().T, 0)
    check("second", hidden)


def test_dequantized_weights_are_what_calibration_multiplied_with(tmp_path):
    """The report's error of a layer is that of the module that comes out."""
    weights, samples = _model()
    (tmp_path / "model.mlir").write_text(_text(weights))
    np.savez(tmp_path / "calibration.npz", arg0=samples)
    report = tmp_path / "report.json"
    text = run(
        "quant-opt",
        tmp_path / "model.mlir",
        f"--gptq-quantize=bits=3 group-size=32 calibration={tmp_path / 'calibration.npz'} "
        f"report={report} progress=none",
    )
    (tmp_path / "q.mlir").write_text(text)
    layers = {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}
    beside = []
    for i, sample in enumerate(samples[:2]):
        folder = tmp_path / str(i)
        folder.mkdir()
        beside.append(run_module(tmp_path / "q.mlir", [sample], folder)[1])
    read = read_weights(text)
    for sample, y in zip(samples, beside):
        np.testing.assert_allclose(y, sample @ read["beside"].dequantized().T, rtol=0, atol=1e-3)
    x = samples.reshape(-1, K).astype(np.float64)
    live = weights["beside"].astype(np.float64)
    difference = (read["beside"].dequantized() - live) @ x.T
    error = (difference**2).sum() / ((live @ x.T) ** 2).sum()
    assert layers["beside"]["relative_error"] == pytest.approx(error, rel=0.01)
    for layer in layers.values():
        assert layer["relative_error"] <= layer["rtn_relative_error"], layer["name"]


def test_number_of_threads_changes_no_byte(tmp_path):
    weights, samples = _model()
    (tmp_path / "model.mlir").write_text(_text(weights))
    np.savez(tmp_path / "calibration.npz", arg0=samples)
    outputs = {}
    for threads, openmp in ((1, 1), (2, 2), (3, 3), (1, 3), (3, 1)):
        path = tmp_path / f"{threads}-{openmp}.mlirbc"
        run(
            "quant-opt",
            tmp_path / "model.mlir",
            f"--gptq-quantize=group-size=32 calibration={tmp_path / 'calibration.npz'} "
            f"threads={threads} progress=none",
            "-o",
            path,
            threads=openmp,
        )
        outputs[path.name] = path.read_bytes()
    first = next(iter(outputs.values()))
    assert [name for name, data in outputs.items() if data != first] == []


def test_inputs_in_bf16_are_summed_as_in_f32(tmp_path):
    """The first linears of a bf16 graph read what those of an f32 graph read: same codes."""
    weights, samples = _model()
    weights = {name: rounded(w, "bf16") for name, w in weights.items()}
    np.savez(tmp_path / "calibration.npz", arg0=rounded(samples, "bf16"))
    read = {}
    for dtype in ("f32", "bf16"):
        (tmp_path / "model.mlir").write_text(_text(weights, dtype))
        read[dtype] = read_weights(run(
            "quant-opt", tmp_path / "model.mlir",
            "--gptq-quantize=group-size=32 level-tokens=0.5 progress=none "
            f"calibration={tmp_path / 'calibration.npz'}"))  # fmt: skip
    for name in ("first", "beside"):
        np.testing.assert_array_equal(read["bf16"][name].codes, read["f32"][name].codes)
    assert (read["bf16"]["second"].codes == read["f32"]["second"].codes).mean() > 0.9


def test_first_samples_of_a_file(tmp_path):
    """samples=3 is a file of the first three; numpy.savez may name and compress it."""
    weights, samples = _model()
    (tmp_path / "model.mlir").write_text(_text(weights))
    np.savez(tmp_path / "all.npz", arg0=samples)
    np.savez_compressed(tmp_path / "three.npz", samples[:3])
    texts = []
    for options in ("all.npz samples=3", "three.npz"):
        quantize = f"--gptq-quantize=group-size=32 progress=none calibration={tmp_path}/{options}"
        texts.append(run("quant-opt", tmp_path / "model.mlir", quantize))
    assert texts[0] == texts[1]


def test_layer_that_no_sample_reaches_is_named(tmp_path):
    """Under an if that is never taken: rounded to nearest or refused, and said so."""
    path, report = tmp_path / "model.mlir", tmp_path / "report.json"
    x, w, v = tensor((1, 4)), tensor((2, 4)), tensor((2, 2))
    path.write_text(f"""
func.func @main(%x: {x}) -> tensor<1x2xf32> {{
  %w = arith.constant dense<[[0.0, 5.0, 10.0, 15.0], [15.0, 0.0, 1.0, 2.0]]> : {w}
  %v = arith.constant dense<[[0.0, 5.0], [15.0, 2.0]]> : {v}
  %zero = arith.constant 0 : index
  %ten = arith.constant 10.0 : f32
  %y = lowbit.linear %x, %w {{name = "always"}} : ({x}, {w}) -> tensor<1x2xf32>
  %first = tensor.extract %x[%zero, %zero] : {x}
  %large = arith.cmpf ogt, %first, %ten : f32
  %r = scf.if %large -> tensor<1x2xf32> {{
    %z = lowbit.linear %y, %v {{name = "never"}} : (tensor<1x2xf32>, {v}) -> tensor<1x2xf32>
    scf.yield %z : tensor<1x2xf32>
  }} else {{
    scf.yield %y : tensor<1x2xf32>
  }}
  return %r : tensor<1x2xf32>
}}
""")
    np.savez(tmp_path / "c.npz", arg0=np.ones((3, 1, 4), np.float32))
    done = execute(
        "quant-opt",
        path,
        f"--gptq-quantize=progress=none calibration={tmp_path / 'c.npz'} report={report}",
    )
    error = done.stderr.decode()
    if done.returncode == 0:
        entries = json.loads(report.read_text())
        assert {layer["name"] for layer in entries["layers"]} <= {"always", "never"}
        never = [e for e in entries["layers"] + entries["skipped"] if e["name"] == "never"]
        assert never and (never[0].get("fallback") or never[0].get("reason"))
    else:
        assert "never" in error and "damaged" not in error, error
        assert not report.exists()
