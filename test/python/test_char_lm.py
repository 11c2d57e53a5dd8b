# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The whole way on the model that comes along: quantize, measure, hand over."""

import functools
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from oracle import REPOSITORY, execute, read_weights, run

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
HELD_OUT = REPOSITORY / "examples" / "char-lm" / "heldout.npy"
WINDOWS = 8
PROJECTIONS = [
    *(f"attention.{name}_proj" for name in "qkvo"),
    *(f"mlp.{name}_proj" for name in ("gate", "up", "down")),
]
LINEARS = {f"layers.{i}.{name}" for i in range(4) for name in PROJECTIONS} | {"head"}


class Quantized:
    """One quantization of the model; measured when asked for."""

    def __init__(self, folder, method, options):
        self.path = folder / f"{method}.mlirbc"
        report = folder / f"{method}.json"
        name = f"--{method}-quantize"
        run(
            "quant-opt",
            MODEL,
            f"{name}={options} progress=none report={report}",
            "-o",
            self.path,
        )
        self.report = json.loads(report.read_text())
        self.layers = {layer["name"]: layer for layer in self.report["layers"]}
        self.measured = perplexity(self.path, WINDOWS, folder / f"{method}.ppl.json")


def perplexity(path, windows, output, against=MODEL):
    extra = ["--against", against] if against else []
    run("quant-run", path, "--perplexity", HELD_OUT, "--windows", windows, "--json", output, *extra)
    return json.loads(Path(output).read_text())


@pytest.fixture(scope="module", params=[4, 3])
def bits(request):
    return request.param


@pytest.fixture(scope="module")
def all_models(tmp_path_factory):
    """Makes a quantization when it is first asked for."""

    @functools.cache
    def make(bits, method):
        folder = tmp_path_factory.mktemp(f"char-lm-{bits}-{method}")
        return Quantized(folder, method, f"bits={bits} group-size=64")

    return make


@pytest.fixture(scope="module")
def models(all_models, bits):
    return {method: all_models(bits, method) for method in ("gptq", "rtn")}


@pytest.fixture(scope="module")
def gptq4(all_models):
    return all_models(4, "gptq")


def test_gptq_is_nearer_to_the_float_model_than_rounding(models, bits):
    gptq, rtn = models["gptq"].measured, models["rtn"].measured
    floating = gptq["against_perplexity"]
    assert floating == rtn["against_perplexity"]
    # 3.8 on the first windows, 4.47 on all 435.
    assert 3 < floating < 5
    assert gptq["kl_divergence"] < 0.7 * rtn["kl_divergence"]
    assert gptq["perplexity"] < rtn["perplexity"]
    assert rtn["perplexity"] > floating
    # At 4 bits the cost is within what so few windows scatter.
    assert gptq["perplexity"] > floating * (0.995 if bits == 4 else 1)
    assert gptq["kl_divergence"] < {4: 0.006, 3: 0.05}[bits]
    assert gptq["same_top1"] > rtn["same_top1"]


def test_all_linears_are_reported_none_worse_than_rounding(models, bits):
    for method, model in models.items():
        assert set(model.layers) == LINEARS, method
        for name, layer in model.layers.items():
            assert layer["relative_error"] <= layer["rtn_relative_error"], f"{method} {name}"
            assert layer["fallback"] is None, f"{method} {name}"
        # Two products of activations in each of the four attention blocks, and the embedding.
        reasons = [entry["reason"] for entry in model.report["skipped"]]
        assert "embeddings=quantize takes it too" in reasons.pop(), method
        assert len(reasons) == 8 and all("computed from the input" in r for r in reasons), method


def test_an_embedding_of_few_bits_costs_little(gptq4, tmp_path):
    model = Quantized(tmp_path, "gptq", "embeddings=quantize")
    assert set(model.layers) == LINEARS | {"embedding"}
    # 65 rows of 192 floats, a few files of alignment and text apart.
    saved = gptq4.path.stat().st_size - model.path.stat().st_size
    assert saved > 0.8 * 65 * 192 * 4
    floating = model.measured["against_perplexity"]
    assert model.measured["perplexity"] < 1.01 * floating
    assert model.measured["kl_divergence"] < 1.5 * gptq4.measured["kl_divergence"]


def test_float_perplexity_has_not_moved(tmp_path):
    """4.4746 on all windows (examples/char-lm/README.md); 40 of them are measured here.

    3.8231 is what quant-run gave for these 40 when it gave 4.47 for all.
    """
    measured = perplexity(MODEL, 40, tmp_path / "float.json", against=None)
    assert measured["predictions"] == 40 * 255
    assert measured["perplexity"] == pytest.approx(3.8231, rel=1e-3)


def test_file_is_smaller_by_what_the_report_says(models):
    for method, model in models.items():
        totals = model.report["model"]
        saved = totals["weight_bytes_before"] - totals["weight_bytes_after"]
        measured = MODEL.stat().st_size - model.path.stat().st_size
        # Keys, types and alignment of three planes instead of one constant.
        assert 0 <= saved - measured <= 600 * len(LINEARS), method


def test_bits_per_weight_are_those_of_the_planes(models, bits):
    model = models["gptq"]
    read = read_weights(run("quant-opt", model.path))
    assert set(read) == LINEARS
    total = count = 0
    for name, weight in read.items():
        layer = model.layers[name]
        assert (weight.n, weight.k, weight.bits) == (layer["n"], layer["k"], bits)
        stored = sum(weight.plane_bits.values())
        assert layer["bits_per_weight"] == pytest.approx(stored / (weight.n * weight.k)), name
        total, count = total + stored, count + weight.n * weight.k
    assert model.report["model"]["bits_per_weight"] == pytest.approx(total / count)
    # Bytes hold what was counted, and of padding at most a byte a row and plane.
    bytes_after = model.report["model"]["weight_bytes_after"]
    padding = sum(2 * weight.n for weight in read.values())
    assert total / 8 <= bytes_after <= total / 8 + padding


def test_groups_that_do_not_divide_k(tmp_path):
    """K = 192 in groups of 128: one whole and one short, and every layer still works."""
    quantized = tmp_path / "q.mlirbc"
    run("quant-opt", MODEL, "--rtn-quantize=group-size=128 progress=none", "-o", quantized)
    read = read_weights(run("quant-opt", quantized))
    assert read["layers.0.attention.q_proj"].scales.shape == (192, 2)
    measured = perplexity(quantized, 2, tmp_path / "ppl.json")
    assert measured["kl_divergence"] < 0.05


def test_lowered_to_linalg_is_the_same_model(gptq4, tmp_path):
    lowered = tmp_path / "linalg.mlirbc"
    run("quant-opt", gptq4.path, "--lowbit-to-linalg", "-o", lowered)
    direct = perplexity(gptq4.path, 2, tmp_path / "direct.json", against=None)
    through = perplexity(lowered, 2, tmp_path / "through.json", against=gptq4.path)
    assert through["perplexity"] == pytest.approx(direct["perplexity"], rel=1e-4)
    assert abs(through["kl_divergence"]) < 1e-6


def test_stock_mlir_opt_reads_the_lowered_model(gptq4, tmp_path):
    tool = shutil.which("mlir-opt-22") or shutil.which("mlir-opt", path="/usr/lib/llvm-22/bin")
    if not tool:
        pytest.skip("NOT TESTED: no mlir-opt of LLVM 22 here")
    lowered = tmp_path / "linalg.mlirbc"
    run("quant-opt", gptq4.path, "--lowbit-to-linalg", "-o", lowered)
    done = subprocess.run(
        [tool, str(lowered), "--mlir-elide-elementsattrs-if-larger=8", "--verify-each"]
        + ["--mlir-elide-resource-strings-if-larger=8", "--canonicalize"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "linalg." in done.stdout and "lowbit." not in done.stdout


def test_quantizing_twice_says_that_nothing_is_left(gptq4, tmp_path):
    done = execute("quant-opt", gptq4.path, "--rtn-quantize", "-o", tmp_path / "again.mlirbc")
    assert done.returncode == 1
    assert b"already quantized" in done.stderr
