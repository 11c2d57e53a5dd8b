# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""AWQ: the scaled module is the same function, and rounding it does less harm."""

import json
import re

import numpy as np
import pytest

from oracle import REPOSITORY, run, run_module

pytestmark = pytest.mark.quant_opt

GRAPHS = sorted((REPOSITORY / "test/Dialect/LowBit/Transforms").glob("awq-*.mlir"))
CHAR_LM = REPOSITORY / "examples" / "char-lm"
TINY1M = REPOSITORY.parent / "shared" / "data" / "llama-tiny1m"


def scale(model, folder, options):
    """Scales a float module; returns it and its report."""
    output, report = folder / "scaled.mlirbc", folder / "scaled.json"
    name = f"--lowbit-awq-scale={options} progress=none report={report}"
    run("quant-opt", model, name, "-o", output)
    return output, json.loads(report.read_text())


def measure(model, against, tokens, windows, folder):
    output = folder / "measured.json"
    arguments = ["--windows", windows, "--json", output, "--against", against]
    run("quant-run", model, "--perplexity", tokens, *arguments, threads=2, timeout=600)
    return json.loads(output.read_text())


def alphas(report):
    return [layer["awq"]["alpha"] for layer in report["layers"]]


@pytest.mark.parametrize("graph", GRAPHS, ids=lambda path: path.stem)
def test_small_graphs_compute_the_same(graph, tmp_path):
    """Every fold and every refusal that the tests of the IR look at."""
    shape = re.search(r"main\(%x: tensor<(\w+)xf32>", graph.read_text()).group(1)
    x = np.random.default_rng(0).normal(size=[int(n) for n in shape.split("x")])
    x = x.astype(np.float32)
    scaled, report = scale(graph, tmp_path, "bits=3 group-size=4")
    assert max(alphas(report)) > 0
    before, after = (run_module(path, [x], tmp_path) for path in (graph, scaled))
    assert len(before) == len(after)
    for old, new in zip(before, after):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-5 * np.abs(old).max())


def test_char_lm_computes_the_same(tmp_path):
    model = CHAR_LM / "char-lm.mlirbc"
    scaled, report = scale(model, tmp_path, "group-size=64")
    # Each norm, the values of attention and the product of each MLP take them.
    places = {layer["name"]: layer["awq"]["placed"] for layer in report["layers"]}
    for i in range(4):
        assert places[f"layers.{i}.attention.q_proj"] == f"layers.{i}.attention_norm.weight"
        assert places[f"layers.{i}.attention.o_proj"] == f"layers.{i}.attention.v_proj"
        assert places[f"layers.{i}.mlp.up_proj"] == f"layers.{i}.mlp_norm.weight"
        assert places[f"layers.{i}.mlp.down_proj"] == f"layers.{i}.mlp.up_proj"
    assert places["head"] == "norm.weight"
    assert not any(layer["awq"]["multiply"] for layer in report["layers"])
    measured = measure(scaled, model, CHAR_LM / "heldout.npy", 4, tmp_path)
    assert abs(measured["kl_divergence"]) < 1e-6
    assert measured["perplexity"] == pytest.approx(measured["against_perplexity"], rel=1e-5)


@pytest.mark.torch
@pytest.mark.transformers
def test_llama_computes_the_same(tmp_path, monkeypatch):
    if not TINY1M.exists():
        pytest.skip(f"NOT TESTED: no {TINY1M}")
    monkeypatch.syspath_prepend(REPOSITORY / "benchmarks")
    import tiny1m

    tiny1m.make(tmp_path)
    model = tmp_path / "tiny1m.mlirbc"
    scaled, report = scale(model, tmp_path, "group-size=32 samples=16")
    assert min(alphas(report)) >= 0 and max(alphas(report)) > 0
    measured = measure(scaled, model, tmp_path / "test.npy", 8, tmp_path)
    assert abs(measured["kl_divergence"]) < 1e-6
    assert measured["same_top1"] > 0.999


@pytest.fixture(scope="module")
def quantize(tmp_path_factory):
    """KL divergence of char-lm and the report, by pass and options."""
    done = {}

    def get(name, options=""):
        if (name, options) not in done:
            folder = tmp_path_factory.mktemp(name)
            model, report = folder / "q.mlirbc", folder / "q.json"
            options_text = f"group-size=64 progress=none report={report} {options}"
            source = CHAR_LM / "char-lm.mlirbc"
            run("quant-opt", source, f"--{name}={options_text}", "-o", model)
            measured = measure(model, source, CHAR_LM / "heldout.npy", 8, folder)
            done[name, options] = measured["kl_divergence"], json.loads(report.read_text())
        return done[name, options]

    return get


def test_awq_is_nearer_to_the_float_model_than_rounding(quantize):
    awq, report = quantize("awq-quantize")
    clipped, _ = quantize("awq-quantize", "search=clip")
    plain, _ = quantize("rtn-quantize", "search=none")
    assert awq < clipped < 0.9 * plain
    for layer in report["layers"]:
        assert layer["relative_error"] < layer["rtn_relative_error"], layer["name"]
        assert layer["fallback"] is None


def test_scales_help_rounding(quantize):
    """Without any search of ranges, the errors of all layers together are smaller."""
    _, report = quantize("awq-quantize", "search=none")
    ratios = [layer["relative_error"] / layer["rtn_relative_error"] for layer in report["layers"]]
    assert {layer["error_measure"] for layer in report["layers"]} == {"outputs"}
    assert np.exp(np.mean(np.log(ratios))) < 0.97


def test_scales_before_gptq(quantize):
    """The composition: scales first, then GPTQ on the scaled weights."""
    both, report = quantize("gptq-quantize", "search=none scaling=awq")
    awq, _ = quantize("awq-quantize", "search=none")
    assert both < 0.9 * awq
    for layer in report["layers"]:
        assert layer["method"] == "gptq"
        assert layer["awq"]["placed"]
        assert layer["relative_error"] < layer["rtn_relative_error"], layer["name"]


def test_a_pass_of_its_own_gives_the_same_bytes(quantize, tmp_path):
    """scaling=awq is lowbit-awq-scale before the quantizer, which names what it wrote."""
    model = CHAR_LM / "char-lm.mlirbc"
    options = "group-size=64 samples=4 progress=none"
    once, twice = tmp_path / "once.mlirbc", tmp_path / "twice.mlirbc"
    run("quant-opt", model, f"--rtn-quantize={options} scaling=awq", "-o", once)
    passes = [f"--lowbit-awq-scale={options}", f"--rtn-quantize={options}"]
    run("quant-opt", model, *passes, "-o", twice)
    assert once.read_bytes() == twice.read_bytes()
