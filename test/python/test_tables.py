# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Code tables: what they mean wherever they are computed, and what they cost."""

import json

import numpy as np
import pytest

from oracle import REPOSITORY, linear_model, run, run_module
from tables import TABLES, read_tables

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
HELD_OUT = REPOSITORY / "examples" / "char-lm" / "heldout.npy"
SHAPES = {"even": (6, 96), "short": (5, 100), "odd": (3, 33), "one_row": (1, 257), "tiny": (2, 5)}

# Every table, type of scale, kind of group and nesting.
OPTIONS = [
    "table=nf4",
    "table=nf4 scale-type=f32 group-size=32",
    "table=nf4 flat group-size=64 double-quant",
    "table=nf4 group-size=8 double-quant search=none",
    "table=fp4 scale-type=bf16 group-size=channel",
    "table=fp4 flat group-size=32 search=none",
    "table=iq4_nl group-size=32",
    "table=iq4_nl group-size=tensor full-range=false",
    "table=iq4_nl double-quant group-size=16",
    "table=e2m1 scale-type=e4m3 group-size=100",
    "table=e2m1 flat group-size=7",
    "table=mxfp4",
    "table=mxfp4 search=none",
    "table=nvfp4",
    "table=nvfp4 flat search=none",
]


def _weights(seed):
    rng = np.random.default_rng(seed)
    weights = {name: rng.standard_normal(shape) for name, shape in SHAPES.items()}
    # Groups of zeros, of one value, small and large ones.
    weights["even"][2, :] = 0
    weights["even"][3, :] = -0.75
    weights["short"][0] *= 1e-4
    weights["short"][1] *= 300
    return {name: w.astype(np.float32) for name, w in weights.items()}


@pytest.mark.parametrize("options", OPTIONS)
def test_planes_mean_what_is_computed(options, tmp_path):
    weights = _weights(OPTIONS.index(options))
    (tmp_path / "float.mlir").write_text(linear_model(weights))
    rtn = f"--rtn-quantize={options} progress=none"
    text = run("quant-opt", tmp_path / "float.mlir", rtn)
    (tmp_path / "q.mlir").write_text(text)
    run("quant-opt", tmp_path / "float.mlir", rtn, "-o", tmp_path / "q.mlirbc")
    run("quant-opt", tmp_path / "q.mlirbc", "--lowbit-to-linalg", "-o", tmp_path / "low.mlirbc")
    read = read_tables(text)
    assert set(read) == set(weights)
    identities = [np.eye(w.shape[1], dtype=np.float32) for w in weights.values()]
    for path in ("q.mlir", "q.mlirbc", "low.mlirbc"):
        results = run_module(tmp_path / path, identities, tmp_path)
        for name, result in zip(weights, results):
            np.testing.assert_array_equal(result.T, read[name].dequantized(), f"{path} {name}")


@pytest.mark.parametrize("options", OPTIONS)
def test_codes_are_the_nearest(options, tmp_path):
    weights = _weights(100 + OPTIONS.index(options))
    (tmp_path / "float.mlir").write_text(linear_model(weights))
    text = run("quant-opt", tmp_path / "float.mlir", f"--rtn-quantize={options} progress=none")
    # Plain double quantization takes codes before its scales are rounded.
    room = 0.05 if "double-quant search=none" in options else 1e-5
    for name, read in read_tables(text).items():
        w = weights[name].astype(np.float64)
        values = TABLES[read.scheme.split(",")[0]] * read.scales[..., None].astype(np.float64)
        best = abs(values - w[..., None]).min(axis=-1)
        reach = abs(values).max(axis=-1)
        assert (abs(read.dequantized() - w) <= best + room * reach).all(), name


def _report(tmp_path, options):
    report = tmp_path / "report.json"
    run("quant-opt", MODEL, f"{options} progress=none report={report}", "-o", tmp_path / "q.mlirbc")
    return {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}


@pytest.mark.parametrize("bits", [4, 8])
def test_per_tensor_is_worse_than_per_channel_than_per_group(bits, tmp_path):
    """On every weight of a model, weights being its own and no noise."""
    for symmetric in ("true", "false"):
        errors = []
        for group in ("tensor", "channel", "64"):
            options = f"bits={bits} group-size={group} symmetric={symmetric}"
            errors.append(_report(tmp_path, f"--rtn-quantize={options} search=none"))
        for name in errors[0]:
            tensor, channel, group = (error[name]["relative_error"] for error in errors)
            assert tensor > channel > group, f"{name}, symmetric={symmetric}"


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_every_number_of_bits(method, tmp_path):
    """From 2 to 8 bits; one more makes the error at least 2.5 times smaller."""
    samples = "samples=4" if method == "gptq" else ""
    reports = [
        _report(tmp_path, f"--{method}-quantize=bits={bits} group-size=64 {samples}")
        for bits in range(2, 9)
    ]
    for bits, (fewer, more) in enumerate(zip(reports, reports[1:]), start=2):
        for name, layer in fewer.items():
            assert layer["bits_per_weight"] < more[name]["bits_per_weight"]
            assert layer["relative_error"] > 2.5 * more[name]["relative_error"], f"{name} {bits}"


@pytest.mark.parametrize("table", ["nf4", "fp4", "iq4_nl", "mxfp4", "nvfp4", "nf4 double-quant"])
def test_gptq_onto_a_table(table, tmp_path):
    """On each layer nearer to the float outputs than rounding, and refined nearer still."""
    plain = _report(tmp_path, f"--gptq-quantize=table={table} samples=8")
    refined = _report(tmp_path, f"--gptq-quantize=table={table} samples=8 refine=1")
    assert len(plain) == 29
    for name, layer in plain.items():
        assert layer["relative_error"] < 0.9 * layer["rtn_relative_error"], name
        assert layer["fallback"] is None
    gain = sum(refined[name]["relative_error"] < plain[name]["relative_error"] for name in plain)
    assert gain >= 27
    measured = tmp_path / "ppl.json"
    arguments = ["--perplexity", HELD_OUT, "--against", MODEL, "--windows", 4, "--json", measured]
    run("quant-run", tmp_path / "q.mlirbc", *arguments)
    assert json.loads(measured.read_text())["kl_divergence"] < 0.008


def test_a_skewed_table_gains_from_negative_scales(tmp_path):
    weights = {"fc": np.random.default_rng(3).standard_normal((64, 256)).astype(np.float32)}
    (tmp_path / "float.mlir").write_text(linear_model(weights))
    errors = {}
    for full in ("true", "false"):
        options = f"--rtn-quantize=table=nf4 full-range={full} progress=none"
        read = read_tables(run("quant-opt", tmp_path / "float.mlir", options))["fc"]
        assert (read.scales.min() < 0) == (full == "true")
        errors[full] = ((read.dequantized() - weights["fc"]) ** 2).sum()
    assert errors["true"] < 0.96 * errors["false"]


def test_recipe_and_options_give_the_same_bytes(tmp_path):
    (tmp_path / "recipe.yaml").write_text(
        "defaults:\n  table: nf4\n  double-quant: true\n  group-size: 32\n"
        'layers:\n  - match: "head"\n    table: none\n    bits: 8\n    scale-type: f16\n'
        '  - match: "down_proj"\n    table: nvfp4\n'
    )
    recipe = f"--rtn-quantize=recipe={tmp_path / 'recipe.yaml'} progress=none"
    run("quant-opt", MODEL, recipe, "-o", tmp_path / "recipe.mlirbc")
    run(
        "quant-opt",
        MODEL,
        "--rtn-quantize=only=head bits=8 group-size=32 progress=none",
        "--rtn-quantize=only=down_proj table=nvfp4 progress=none",
        "--rtn-quantize=table=nf4 double-quant group-size=32 progress=none",
        "-o",
        tmp_path / "parts.mlirbc",
    )
    texts = [run("quant-opt", tmp_path / f"{name}.mlirbc") for name in ("recipe", "parts")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("method", ["nf4-quantize=", "gptq-quantize=table=nvfp4 samples=2"])
def test_nested_scales_come_back_from_a_checkpoint(method, tmp_path):
    folder = tmp_path / "checkpoint"
    double = "" if "nvfp4" in method else "double-quant"
    options = f"--{method} {double} only=layers.0 progress=none checkpoint={folder}"
    run("quant-opt", MODEL, options, "-o", tmp_path / "once.mlirbc")
    for layer in sorted(folder.glob("layer-*.safetensors"))[::2]:
        layer.unlink()
    run("quant-opt", MODEL, options, "-o", tmp_path / "resumed.mlirbc")
    assert (tmp_path / "once.mlirbc").read_bytes() == (tmp_path / "resumed.mlirbc").read_bytes()
