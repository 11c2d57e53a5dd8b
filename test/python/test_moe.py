# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixtures of experts: found as linears that compute the same, and each expert
quantized on the tokens that are routed to it, against numpy in float64.
"""

import json
import re

import numpy as np
import pytest

from oracle import encode, execute, read_weights, resources, rounded, run, run_module, tensor
from test_asymmetric_oracle import target
from test_gptq_oracle import Scheme, gptq, moment

pytestmark = pytest.mark.quant_opt

# --- modules ------------------------------------------------------------------


def generic(maps, kinds, ins, out, body):
    """linalg.generic of (value, type) pairs; loops are named in the maps."""
    loops = ", ".join(f"d{i}" for i in range(len(kinds)))
    spelled = ", ".join(f"affine_map<({loops}) -> ({m})>" for m in maps)
    words = ", ".join(f'"{"reduction" if k == "r" else "parallel"}"' for k in kinds)
    operands = ", ".join(v for v, _ in ins) + " : " + ", ".join(t for _, t in ins)
    return (
        f"linalg.generic {{indexing_maps = [{spelled}], iterator_types = [{words}]}}\n"
        f"      ins({operands}) outs({out[0]} : {out[1]}) {{\n{body}  }} -> {out[1]}\n"
    )


class Text:
    """Lines of a function's body."""

    def __init__(self):
        self.lines, self.count = [], 0

    def add(self, op):
        self.count += 1
        self.lines.append(f"  %v{self.count} = {op.rstrip()}")
        return f"%v{self.count}"

    def zeros(self, type_, sizes=""):
        empty = self.add(f"tensor.empty({sizes}) : {type_}")
        zero = self.add("arith.constant 0.0 : f32")
        return self.add(f"linalg.fill ins({zero} : f32) outs({empty} : {type_}) -> {type_}")

    def product(self, maps, kinds, x, w, out, dtype):
        wide = (
            ("", "%q") if dtype == "f32" else (f"    %qq = arith.extf %q : {dtype} to f32\n", "%qq")
        )
        body = (
            f"  ^bb0(%p: f32, %q: {dtype}, %o: f32):\n{wide[0]}"
            f"    %t = arith.mulf %p, {wide[1]} : f32\n    %s = arith.addf %o, %t : f32\n"
            "    linalg.yield %s : f32\n"
        )
        return self.add(generic(maps, kinds, [x, w], out, body))

    def experts(self, form, x, ids, name, w, rows, dtype="f32", sizes=""):
        """x [rows, K] (for "batch" [E, rows, K]) times the weights [E, N, K] of the rows' experts."""
        stored = np.swapaxes(w, 1, 2) if form.endswith("kn") else w
        e, a, b = stored.shape
        n, k = w.shape[1:]
        constant_type = tensor(stored.shape, dtype)
        key = f"{name}.weight"
        constant = self.add(f'arith.constant dense_resource<"{key}"> : {constant_type}')
        tail = "d3, d2" if form.endswith("kn") else "d2, d3"
        if form.startswith("batch"):
            y = tensor((e, rows, n))
            return self.product(
                ["d0, d1, d3", "d0, " + tail, "d0, d1, d2"],
                "pppr",
                (x, tensor((e, rows, k))),
                (constant, constant_type),
                (self.zeros(y), y),
                dtype,
            )
        gathered_type = tensor((rows, a, b), dtype)
        empty = self.add(f"tensor.empty({sizes}) : {gathered_type}")
        body = (
            f"  ^bb0(%i: i64, %o: {dtype}):\n    %j = arith.index_cast %i : i64 to index\n"
            "    %a = linalg.index 1 : index\n    %b = linalg.index 2 : index\n"
            f"    %v = tensor.extract {constant}[%j, %a, %b] : {constant_type}\n"
            f"    linalg.yield %v : {dtype}\n"
        )
        gathered = self.add(
            generic(
                ["d0", "d0, d1, d2"],
                "ppp",
                [(ids, tensor((rows,), "i64"))],
                (empty, gathered_type),
                body,
            )
        )
        y = tensor((rows, n))
        tail = tail.replace("d2", "d1").replace("d3", "d2")
        return self.product(
            ["d0, d2", "d0, " + tail, "d0, d1"],
            "ppr",
            (x, tensor((rows, k))),
            (gathered, gathered_type),
            (self.zeros(y, sizes), y),
            dtype,
        )

    def relu(self, x, type_):
        empty = self.add(f"tensor.empty() : {type_}")
        zero = self.add("arith.constant 0.0 : f32")
        body = (
            "  ^bb0(%p: f32, %o: f32):\n"
            f"    %m = arith.maximumf %p, {zero} : f32\n    linalg.yield %m : f32\n"
        )
        same = ["d0, d1", "d0, d1"]
        return self.add(generic(same, "pp", [(x, type_)], (empty, type_), body))

    def function(self, arguments, results, blobs):
        """`arguments` and `results`: (value, type)."""
        body = "\n".join(self.lines)
        heads = ", ".join(f"{v}: {t}" for v, t in arguments)
        values, types = (", ".join(part) for part in zip(*results))
        return (
            f"func.func @main({heads}) -> ({types}) {{\n{body}\n  return {values} : {types}\n}}\n"
            + resources(blobs)
        )


def stored(form, w, dtype="f32"):
    return encode(np.swapaxes(w, 1, 2) if form.endswith("kn") else w, dtype)


def random(rng, *shape, dtype="f32"):
    return rounded(rng.standard_normal(shape), dtype)


# --- one product --------------------------------------------------------------

FORMS = ["gathered nk", "gathered kn", "batch nk", "batch kn"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "experts, rows, n, k, dtype",
    [
        (4, 9, 6, 8, "f32"),
        (3, 5, 7, 13, "f32"),
        (1, 4, 5, 3, "f32"),
        (40, 6, 3, 5, "f32"),  # most experts get no row
        (3, 1, 2, 4, "f32"),
        (3, 6, 4, 7, "bf16"),
        (3, 6, 4, 7, "f16"),
    ],
)
def test_experts_as_linears_compute_the_same(form, experts, rows, n, k, dtype, tmp_path):
    rng = np.random.default_rng(experts + rows)
    w = random(rng, experts, n, k, dtype=dtype)
    text = Text()
    if form.startswith("batch"):
        x = random(rng, experts, rows, k)
        y = text.experts(form, "%x", None, "up", w, rows, dtype)
        arguments, inputs = [("%x", tensor(x.shape))], [x]
        expected = np.einsum("emk,enk->emn", x.astype(np.float64), w)
    else:
        x, ids = random(rng, rows, k), rng.integers(0, experts, rows)
        y = text.experts(form, "%x", "%ids", "up", w, rows, dtype)
        arguments = [("%x", tensor(x.shape)), ("%ids", tensor(ids.shape, "i64"))]
        inputs = [x, ids]
        expected = np.einsum("mk,mnk->mn", x.astype(np.float64), w[ids])
    path = tmp_path / "raw.mlir"
    path.write_text(
        text.function(
            arguments, [(y, tensor(expected.shape))], {"up.weight": stored(form, w, dtype)}
        )
    )
    found = tmp_path / "found.mlir"
    found.write_text(run("quant-opt", path, "--lowbit-find-linears"))
    # A batch of one is no choice of experts.
    single = experts == 1 and form.startswith("batch")
    names = ["up"] if single else [f"up.{e}" for e in range(experts)]
    assert re.findall(r'name = "([^"]*)"', found.read_text()) == names
    lowered = tmp_path / "lowered.mlir"
    lowered.write_text(run("quant-opt", found, "--lowbit-to-linalg"))
    for module in (path, found, lowered):
        (y,) = run_module(module, inputs, tmp_path)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5, err_msg=module.name)


def test_number_of_rows_known_at_run_time(tmp_path):
    rng = np.random.default_rng(3)
    w, dynamic = random(rng, 3, 4, 5), tensor(("?", 5))
    text = Text()
    zero = text.add("arith.constant 0 : index")
    size = text.add(f"tensor.dim %x, {zero} : {dynamic}")
    y = text.experts("gathered nk", "%x", "%ids", "up", w, "?", sizes=size)
    arguments = [("%x", dynamic), ("%ids", tensor(("?",), "i64"))]
    (tmp_path / "raw.mlir").write_text(
        text.function(
            arguments, [(y, tensor(("?", 4)))], {"up.weight": stored("gathered nk", w)}
        )
    )
    found = tmp_path / "found.mlir"
    found.write_text(run("quant-opt", tmp_path / "raw.mlir", "--lowbit-find-linears"))
    assert found.read_text().count("lowbit.linear") == 3
    for rows in (1, 7):
        x, ids = random(rng, rows, 5), rng.integers(0, 3, rows)
        folder = tmp_path / str(rows)
        folder.mkdir()
        (y,) = run_module(found, [x, ids], folder)
        expected = np.einsum("mk,mnk->mn", x.astype(np.float64), w[ids])
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)


def test_an_index_without_an_expert_is_an_error(tmp_path):
    w = np.ones((3, 4, 5), np.float32)
    text = Text()
    y = text.experts("gathered nk", "%x", "%ids", "up", w, 2)
    (tmp_path / "raw.mlir").write_text(
        text.function(
            [("%x", tensor((2, 5))), ("%ids", tensor((2,), "i64"))],
            [(y, tensor((2, 4)))],
            {"up.weight": stored("gathered nk", w)},
        )
    )
    found = tmp_path / "found.mlir"
    found.write_text(run("quant-opt", tmp_path / "raw.mlir", "--lowbit-find-linears"))
    np.save(tmp_path / "x.npy", np.ones((2, 5), np.float32))
    for ids in ([0, 3], [-1, 2]):
        np.save(tmp_path / "ids.npy", np.array(ids))
        done = execute(
            "quant-run", found, f"--input={tmp_path}/x.npy", f"--input={tmp_path}/ids.npy"
        )
        assert done.returncode == 1
        assert "no such expert: index out of range" in done.stderr.decode()


def test_experts_are_not_copied(tmp_path):
    """The weights lie in the result once, as they lay in the constant."""
    rng = np.random.default_rng(4)
    w = random(rng, 16, 64, 64)
    text = Text()
    y = text.experts("gathered nk", "%x", "%ids", "up", w, 2)
    (tmp_path / "raw.mlir").write_text(
        text.function(
            [("%x", tensor((2, 64))), ("%ids", tensor((2,), "i64"))],
            [(y, tensor((2, 64)))],
            {"up.weight": stored("gathered nk", w)},
        )
    )
    found = tmp_path / "found.mlirbc"
    run("quant-opt", tmp_path / "raw.mlir", "--lowbit-find-linears", "-o", found)
    data = found.read_bytes()
    assert len(data) < 1.1 * w.nbytes
    assert all(expert.tobytes() in data for expert in w)


# --- quantized ----------------------------------------------------------------

SAMPLES, ROWS, K, HIDDEN, N, EXPERTS = 5, 48, 50, 36, 20, 5
SHARE = [0.5, 0.3, 0.19, 0.01, 0.0]  # of the tokens; the last expert gets none


def _layer(form="gathered nk"):
    """A text of up, relu and down, its weights [E, N, K], samples and ids."""
    rng = np.random.default_rng(21)
    weights = {
        "up": random(rng, EXPERTS, HIDDEN, K) / 8,
        "down": random(rng, EXPERTS, N, HIDDEN) / 8,
    }
    # Each expert's tokens lie differently, so that one H for all would show.
    mixes = rng.standard_normal((EXPERTS, K, K)) / 6 + np.eye(K)
    ids = rng.choice(EXPERTS, (SAMPLES, ROWS), p=SHARE)
    x = np.einsum("smk,smkl->sml", rng.standard_normal((SAMPLES, ROWS, K)), mixes[ids])
    text = Text()
    h = text.experts(form, "%x", "%ids", "up", weights["up"], ROWS)
    h = text.relu(h, tensor((ROWS, HIDDEN)))
    y = text.experts(form, h, "%ids", "down", weights["down"], ROWS)
    module = text.function(
        [("%x", tensor((ROWS, K))), ("%ids", tensor((ROWS,), "i64"))],
        [(y, tensor((ROWS, N)))],
        {f"{name}.weight": stored(form, w) for name, w in weights.items()},
    )
    return module, weights, x.astype(np.float32), ids


def _quantize(tmp_path, options, threads=1):
    module, weights, x, ids = _layer()
    (tmp_path / "model.mlir").write_text(module)
    np.savez(tmp_path / "calibration.npz", arg0=x, arg1=ids)
    done = execute(
        "quant-opt",
        tmp_path / "model.mlir",
        f"--gptq-quantize=bits=3 group-size=16 search=none damp=0.01 progress=none "
        f"calibration={tmp_path / 'calibration.npz'} report={tmp_path / 'report.json'} {options}",
        threads=threads,
    )
    assert done.returncode == 0, done.stderr.decode()
    report = json.loads((tmp_path / "report.json").read_text())
    layers = {layer["name"]: layer for layer in report["layers"]}
    return done.stdout.decode(), done.stderr.decode(), layers, weights, x, ids


def _check_expert(name, read, layer, w, tokens, scheme, floor=1):
    """The codes and the row of the report of one expert that saw `tokens` [tokens, K]."""
    assert layer["tokens"] == len(tokens), name
    if len(tokens) < floor:
        scale, offset = scheme.parameters(w)
        np.testing.assert_array_equal(read.codes, scheme.codes(w, scale, offset), err_msg=name)
        assert "rounded to nearest" in layer["fallback"], name
        return
    codes, error, nearest_error, measure = gptq(w, moment(tokens), scheme)
    assert (codes != read.codes).mean() <= 0.01, name
    assert measure(read.codes) == pytest.approx(error, rel=0.02), name
    assert layer["relative_error"] == pytest.approx(error, rel=0.02), name
    assert layer["rtn_relative_error"] == pytest.approx(nearest_error, rel=0.02), name
    assert layer["fallback"] is None, name


def test_each_expert_is_quantized_on_its_own_tokens(tmp_path):
    text, _, layers, weights, x, ids = _quantize(tmp_path, "")
    read = read_weights(text)
    assert list(layers) == [f"{part}.{e}" for part in ("up", "down") for e in range(EXPERTS)]
    scheme = Scheme(3, 16, "integer")
    up = np.stack([read[f"up.{e}"].dequantized() for e in range(EXPERTS)])
    hidden = np.maximum(np.einsum("smk,smnk->smn", x, up[ids]), 0)
    for e in range(EXPERTS):
        for part, inputs in (("up", x), ("down", hidden)):
            name = f"{part}.{e}"
            _check_expert(
                name, read[name], layers[name], weights[part][e], inputs[ids == e], scheme
            )
    # The whole, with the weights as they were read.
    (tmp_path / "quantized.mlir").write_text(text)
    (y,) = run_module(tmp_path / "quantized.mlir", [x[0], ids[0]], tmp_path)
    down = np.stack([read[f"down.{e}"].dequantized() for e in range(EXPERTS)])
    expected = np.einsum("mk,mnk->mn", hidden[0], down[ids[0]])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4)


def test_an_expert_that_no_token_reached_is_warned_of(tmp_path):
    _, error, layers, *_ = _quantize(tmp_path, "")
    unreached = [name for name, layer in layers.items() if layer["tokens"] == 0]
    assert unreached == ["up.4", "down.4"]
    assert "no calibration token reached 2 layers" in error
    assert "up.4, down.4" in error


def test_a_floor_on_tokens(tmp_path):
    text, _, layers, weights, x, ids = _quantize(tmp_path, "min-tokens=20")
    read = read_weights(text)
    few = [e for e in range(EXPERTS) if (ids == e).sum() < 20]
    assert 3 in few and 0 < (ids == 3).sum() < 20
    scheme = Scheme(3, 16, "integer")
    for e in range(EXPERTS):
        _check_expert(
            f"up.{e}", read[f"up.{e}"], layers[f"up.{e}"], weights["up"][e], x[ids == e], scheme, 20
        )
    assert f"{(ids == 3).sum()} calibration tokens reached it" in layers["up.3"]["fallback"]


def test_number_of_threads_changes_no_byte_of_an_expert(tmp_path):
    texts = set()
    for threads, openmp in ((1, 1), (3, 2), (1, 3)):
        text, *_ = _quantize(tmp_path, f"threads={threads}", openmp)
        texts.add(text)
    assert len(texts) == 1


def test_experts_are_skipped_by_name(tmp_path):
    text, _, layers, weights, x, ids = _quantize(tmp_path, r"skip=up\.[02]$")
    assert set(layers) == {"up.1", "up.3", "up.4"} | {f"down.{e}" for e in range(EXPERTS)}
    read = read_weights(text)
    (tmp_path / "quantized.mlir").write_text(text)
    (y,) = run_module(tmp_path / "quantized.mlir", [x[1], ids[1]], tmp_path)

    def weight(part, e):
        name = f"{part}.{e}"
        return read[name].dequantized() if name in read else weights[part][e]

    up = np.stack([weight("up", e) for e in range(EXPERTS)])
    down = np.stack([weight("down", e) for e in range(EXPERTS)])
    hidden = np.maximum(np.einsum("mk,mnk->mn", x[1], up[ids[1]]), 0)
    np.testing.assert_allclose(
        y, np.einsum("mk,mnk->mn", hidden, down[ids[1]]), rtol=0, atol=1e-4
    )
    # What the skipped ones give goes on as float, and the next layer sees it.
    all_hidden = np.maximum(np.einsum("smk,smnk->smn", x, up[ids]), 0)
    _check_expert(
        "down.0",
        read["down.0"],
        layers["down.0"],
        weights["down"][0],
        all_hidden[ids == 0],
        Scheme(3, 16, "integer"),
    )


# --- with the float stream ------------------------------------------------------


def test_an_expert_makes_up_for_the_drift_of_its_tokens(tmp_path):
    text, _, layers, weights, x, ids = _quantize(tmp_path, "asymmetric=on")
    read, scheme = read_weights(text), Scheme(3, 16, "integer")
    up = np.stack([read[f"up.{e}"].dequantized() for e in range(EXPERTS)])

    def hidden(w):
        return np.maximum(np.einsum("smk,smnk->smn", x, w[ids]), 0)

    quantized, floats = hidden(up), hidden(weights["up"])
    for e in range(EXPERTS):
        name, w, mine = f"down.{e}", weights["down"][e], ids == e
        if not mine.any():
            assert layers[name]["output_drift"] is None
            continue
        asked, _ = target("on", w, (quantized[mine], floats[mine]))
        _check_expert(name, read[name], layers[name], asked, quantized[mine], scheme)
        drift = quantized[mine] @ read[name].dequantized().T - floats[mine] @ w.T
        size = ((floats[mine] @ w.T) ** 2).sum()
        assert layers[name]["output_drift"] == pytest.approx((drift**2).sum() / size, rel=1e-3)


def test_rows_that_go_elsewhere_in_the_float_model_count_as_they_are(tmp_path):
    """The experts get the result of a linear, whose sign says which: as many in both models."""
    rng = np.random.default_rng(8)
    weights = {"first": random(rng, HIDDEN, K) / 8, "up": random(rng, 2, N, HIDDEN) / 8}
    x = rng.standard_normal((SAMPLES, ROWS // 2, K)).astype(np.float32)
    x = np.concatenate([x, -x], axis=1)
    inputs, middle = tensor((ROWS, K)), tensor((ROWS, HIDDEN))
    text = Text()
    type_ = tensor((HIDDEN, K))
    w = text.add(f'arith.constant dense_resource<"first.weight"> : {type_}')
    out = (text.zeros(middle), middle)
    maps = ["d0, d2", "d1, d2", "d0, d1"]
    h = text.product(maps, "ppr", ("%x", inputs), (w, type_), out, "f32")
    index = tensor((ROWS,), "i64")
    zero, empty = text.add("arith.constant 0.0 : f32"), text.add(f"tensor.empty() : {index}")
    body = (
        f"  ^bb0(%p: f32, %o: i64):\n    %c = arith.cmpf ogt, %p, {zero} : f32\n"
        "    %e = arith.extui %c : i1 to i64\n    linalg.yield %e : i64\n"
    )
    ids = text.add(generic(["d0, 0", "d0"], "p", [(h, middle)], (empty, index), body))
    y = text.experts("gathered nk", h, ids, "up", weights["up"], ROWS)
    blobs = {f"{name}.weight": encode(w, "f32") for name, w in weights.items()}
    (tmp_path / "model.mlir").write_text(
        text.function([("%x", inputs)], [(y, tensor((ROWS, N)))], blobs)
    )
    np.savez(tmp_path / "calibration.npz", arg0=x)
    read = read_weights(
        run(
            "quant-opt",
            tmp_path / "model.mlir",
            "--gptq-quantize=bits=2 group-size=16 search=none asymmetric=on progress=none "
            f"calibration={tmp_path / 'calibration.npz'} report={tmp_path / 'report.json'}",
        )
    )
    report = json.loads((tmp_path / "report.json").read_text())
    layers = {layer["name"]: layer for layer in report["layers"]}
    quantized, floats = x @ read["first"].dequantized().T, x @ weights["first"].T
    assert ((quantized[..., 0] > 0) != (floats[..., 0] > 0)).any()
    for e in range(2):
        mine, theirs = (quantized[..., 0] > 0) == e, (floats[..., 0] > 0) == e
        paired = np.where((mine & theirs)[..., None], floats, quantized)
        asked, _ = target("on", weights["up"][e], (quantized[mine], paired[mine]))
        name = f"up.{e}"
        assert layers[name]["asymmetric_strength"] == 1
        _check_expert(
            name, read[name], layers[name], asked, quantized[mine], Scheme(2, 16, "integer")
        )
