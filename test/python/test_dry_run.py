# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A dry run says what the run does, and quantizes nothing."""

import json

import pytest

from oracle import REPOSITORY, execute, run

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"


def quantize(tmp_path, method, options):
    report, output = tmp_path / f"{method}.json", tmp_path / f"{method}.mlirbc"
    run("quant-opt", MODEL, f"--{method}={options} progress=none report={report}", "-o", output)
    return json.loads(report.read_text()), output


@pytest.mark.parametrize(
    "method, options",
    [
        ("gptq-quantize", "samples=8 skip=layers.3"),
        ("gptq-quantize", "samples=8 bits=3 group-size=channel zero=float search=none"),
        ("rtn-quantize", "symmetric bits=8"),
        ("lowbit-quantize", "preset=fast samples=4"),
        ("gptq-quantize", "samples=2 embeddings=quantize"),
    ],
)
def test_says_what_the_run_does(tmp_path, method, options):
    real, _ = quantize(tmp_path, method, options)
    dry, output = quantize(tmp_path, method, options + " dry-run")
    same = ["name", "role", "n", "k", "scheme", "bits_per_weight"]
    assert [[layer[key] for key in same] for layer in dry["layers"]] == [
        [layer[key] for key in same] for layer in real["layers"]
    ]
    assert dry["skipped"] == real["skipped"]
    expected, seen = dry["dry_run"], real["model"]
    for key in ("samples", "weight_bytes_before", "weight_bytes_after"):
        assert expected[key] == seen[key], key
    assert sum(layer["weight_bytes_after"] for layer in dry["layers"]) == seen["weight_bytes_after"]
    # Times are measured on a machine that is shared: only their size is looked at.
    assert 0 < expected["cpu_seconds"] < 100 * seen["cpu_seconds"] + 10
    assert seen["peak_bytes"] / 2 < expected["peak_bytes"] < 2 * seen["peak_bytes"]
    text = run("quant-opt", output)
    assert "lowbit.linear" in text and "lowbit.weight" not in text


def test_costs_grow_with_samples(tmp_path):
    few, _ = quantize(tmp_path, "gptq-quantize", "samples=2 dry-run")
    many, _ = quantize(tmp_path, "gptq-quantize", "samples=64 dry-run")
    for key in ("cpu_seconds", "peak_bytes"):
        assert few["dry_run"][key] < many["dry_run"][key], key


def test_needs_the_data_that_the_run_needs(tmp_path):
    done = execute(
        "quant-opt",
        MODEL,
        f"--gptq-quantize=dry-run calibration={tmp_path}/none.npy",
        "-o",
        tmp_path / "q.mlirbc",
    )
    assert done.returncode == 1 and b"none.npy" in done.stderr
