# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recipes: the same choice gives the same bytes however it is made."""

import json

import numpy as np
import pytest

from oracle import encode, execute, read_weights, resources, run, tensor

pytestmark = pytest.mark.quant_opt

ROWS, SIZES = 12, [24, 20, 16, 8]
NAMES = ["up", "middle", "down"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A chain of three linears with absolute values between, and samples."""
    rng = np.random.default_rng(5)
    text, blobs, value = "", {}, "%x"
    for i, name in enumerate(NAMES):
        k, n = SIZES[i], SIZES[i + 1]
        x, w, y = tensor((ROWS, k)), tensor((n, k)), tensor((ROWS, n))
        text += f"""
  %w{i} = arith.constant dense_resource<"{name}.weight"> : {w}
  %y{i} = lowbit.linear {value}, %w{i} {{name = "{name}"}} : ({x}, {w}) -> {y}
  %e{i} = tensor.empty() : {y}
  %a{i} = linalg.abs ins(%y{i} : {y}) outs(%e{i} : {y}) -> {y}
"""
        value = f"%a{i}"
        blobs[f"{name}.weight"] = encode(rng.standard_normal((n, k)), "f32")
    x, y = tensor((ROWS, SIZES[0])), tensor((ROWS, SIZES[-1]))
    folder = tmp_path_factory.mktemp("recipe")
    path = folder / "model.mlir"
    path.write_text(
        f"func.func @main(%x: {x}) -> {y} {{{text}  return {value} : {y}\n}}\n" + resources(blobs)
    )
    samples = rng.standard_normal((8, ROWS, SIZES[0])) * np.exp(rng.standard_normal(SIZES[0]))
    np.save(folder / "samples.npy", samples.astype(np.float32))
    return path


def quantize(model, name, options="", recipe=None, source=None):
    """The printed module, and the report's entry of each layer."""
    report = model.parent / "report.json"
    options += f" calibration={model.parent / 'samples.npy'} progress=none report={report}"
    if recipe is not None:
        (model.parent / "recipe.yaml").write_text(recipe)
        options += f" recipe={model.parent / 'recipe.yaml'}"
    text = run("quant-opt", source or model, f"--{name}={options}")
    layers = json.loads(report.read_text())["layers"]
    return text, {layer["name"]: layer for layer in layers}


OPTIONS = [
    ("rtn-quantize", {"bits": "3", "group-size": "channel", "search": "grid"}),
    ("rtn-quantize", {"symmetric": "true", "full-range": "false", "scale-type": "bf16"}),
    ("rtn-quantize", {"importance": "inputs", "bits": "3", "group-size": "8"}),
    ("gptq-quantize", {"bits": "3", "zero": "float", "act-order": "gar", "group-size": "8"}),
    ("gptq-quantize", {"bits": "2", "damp": "0.2", "block-size": "4", "group-size": "16"}),
    ("gptq-quantize", {"bits": "2", "refine": "2", "act-order": "none", "search": "none"}),
    ("gptq-quantize", {"bits": "3", "min-tokens": "1000", "zero": "none"}),
]


@pytest.mark.parametrize("name,options", OPTIONS)
def test_the_same_bytes_as_by_options(model, name, options):
    by_options, _ = quantize(model, name, " ".join(f"{k}={v}" for k, v in options.items()))
    default, _ = quantize(model, name)
    assert by_options != default
    as_yaml = [f"{key}: {value}" for key, value in options.items()]
    defaults = "defaults:\n" + "".join(f"  {line}\n" for line in as_yaml)
    assert quantize(model, name, recipe=defaults)[0] == by_options
    rule = "layers:\n  - match: .\n" + "".join(f"    {line}\n" for line in as_yaml)
    assert quantize(model, name, recipe=rule)[0] == by_options
    # The other passes differ only in what they start from.
    method = f"    method: {name.removesuffix('-quantize')}\n"
    assert quantize(model, "rtn-quantize", recipe=rule + method)[0] == by_options
    assert quantize(model, "gptq-quantize", recipe=rule + method)[0] == by_options
    fast = "preset=fast search=lsq samples=0 importance=none"
    assert quantize(model, "lowbit-quantize", fast, recipe=rule + method)[0] == by_options


def test_bits_and_group_of_each_layer(model):
    recipe = """
layers:
  - {match: [up, none], bits: 8, group-size: tensor}
  - {match: down, bits: 2, group-size: channel, zero: none}
"""
    text, _ = quantize(model, "gptq-quantize", "bits=3 group-size=8", recipe)
    weights = read_weights(text)
    assert {name: (w.bits, w.group, w.zero) for name, w in weights.items()} == {
        "up": (8, 24, "integer_zero"),
        "middle": (3, 8, "integer_zero"),
        "down": (2, 16, "symmetric"),
    }
    assert weights["up"].per_tensor and not weights["middle"].per_tensor


def test_method_of_each_layer(model):
    """One run with a method for each layer equals one run after the other."""
    recipe = "layers:\n  - match: middle\n    method: rtn\n    bits: 2\n"
    text, report = quantize(model, "gptq-quantize", recipe=recipe)
    assert {name: layer["method"] for name, layer in report.items()} == {
        "up": "gptq",
        "middle": "rtn",
        "down": "gptq",
    }
    steps = [("gptq-quantize", "up", ""), ("rtn-quantize", "middle", "bits=2")]
    source = model
    for i, (name, only, options) in enumerate(steps + [("gptq-quantize", "down", "")]):
        by_steps, _ = quantize(model, name, f"only={only} {options}", source=source)
        source = model.parent / f"step{i}.mlir"
        source.write_text(by_steps)
    mixed, separate = read_weights(text), read_weights(by_steps)
    for name in NAMES:
        assert np.array_equal(mixed[name].codes, separate[name].codes), name
        assert np.array_equal(mixed[name].scales, separate[name].scales), name


def test_skipped_layers_stay_as_they_are(model):
    text, report = quantize(model, "rtn-quantize", recipe="layers: [{match: ^m, skip: true}]\n")
    assert set(report) == {"up", "down"} == set(read_weights(text))


EMBEDDING = """
func.func @main(%ids: tensor<3xi64>, %x: tensor<2x8xf32>) -> (tensor<3x8xf32>, tensor<2x6xf32>) {
  %t = arith.constant dense_resource<tokens.weight> : tensor<6x8xf32>
  %w = arith.constant dense_resource<head.weight> : tensor<6x8xf32>
  %0 = tensor.empty() : tensor<3x8xf32>
  %e = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0)>, affine_map<(d0, d1) -> (d0, d1)>],
      iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<3xi64>) outs(%0 : tensor<3x8xf32>) {
  ^bb0(%in: i64, %out: f32):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index 1 : index
    %v = tensor.extract %t[%i, %k] : tensor<6x8xf32>
    linalg.yield %v : f32
  } -> tensor<3x8xf32>
  %y = lowbit.linear %x, %w {name = "head"} : (tensor<2x8xf32>, tensor<6x8xf32>) -> tensor<2x6xf32>
  return %e, %y : tensor<3x8xf32>, tensor<2x6xf32>
}
"""


@pytest.fixture
def embedding(tmp_path):
    """A model with a table that no linear shares."""
    values = np.random.default_rng(6).standard_normal((2, 6, 8))
    blobs = {f"{name}.weight": encode(w, "f32") for name, w in zip(("tokens", "head"), values, strict=True)}
    path = tmp_path / "embedding.mlir"
    path.write_text(EMBEDDING + resources(blobs))
    return path


@pytest.mark.parametrize(
    "options,recipe,expected",
    [
        ("", None, {"head": 4}),
        ("embeddings=quantize", None, {"tokens": 4, "head": 4}),
        ("", "defaults: {embeddings: quantize, bits: 5}", {"tokens": 5, "head": 5}),
        ("", "layers: [{match: tok, embeddings: quantize, bits: 8}]", {"tokens": 8, "head": 4}),
        ("embeddings=quantize", "layers: [{match: tok, bits: 8}]", {"tokens": 8, "head": 4}),
        ("embeddings=quantize", "layers: [{match: tok, embeddings: keep}]", {"head": 4}),
        ("embeddings=quantize", "layers: [{match: tok, skip: true}]", {"head": 4}),
        ("embeddings=quantize skip=tokens", None, {"head": 4}),
        ("embeddings=quantize only=^tokens$", None, {"tokens": 4}),
    ],
)
def test_tables_go_by_their_names(embedding, options, recipe, expected):
    text, report = quantize(embedding, "rtn-quantize", "group-size=8 " + options, recipe)
    assert {name: weight.bits for name, weight in read_weights(text).items()} == expected
    assert set(report) == set(expected)
    skipped = json.loads((embedding.parent / "report.json").read_text())["skipped"]
    assert {entry["name"] for entry in skipped} == {"tokens", "head"} - set(expected)


@pytest.mark.parametrize(
    "name,options",
    [
        ("gptq-quantize", "drift"),
        ("gptq-quantize", "asymmetric=on"),
        ("rtn-quantize", "importance=outputs"),
        ("awq-quantize", ""),
    ],
)
def test_a_table_alone_needs_no_data(embedding, name, options):
    options = f"embeddings=quantize only=tokens progress=none {options}"
    assert list(read_weights(run("quant-opt", embedding, f"--{name}={options}"))) == ["tokens"]


def test_a_table_that_is_not_finite_is_refused(embedding, tmp_path):
    values = np.ones((6, 8))
    values[2, 3] = np.nan
    blobs = {"tokens.weight": encode(values, "f32"), "head.weight": encode(np.ones((6, 8)), "f32")}
    embedding.write_text(EMBEDDING + resources(blobs))
    output = tmp_path / "out.mlir"
    done = execute("quant-opt", embedding, "--rtn-quantize=embeddings=quantize", "-o", output)
    assert done.returncode == 1 and not output.exists()
    assert "layer 'tokens': weight is not finite at" in done.stderr.decode()


def test_a_table_without_data_is_refused(embedding):
    embedding.write_text(EMBEDDING + resources({"head.weight": encode(np.ones((6, 8)), "f32")}))
    done = execute("quant-opt", embedding, "--rtn-quantize=embeddings=quantize")
    assert done.returncode == 1
    assert "weight of layer 'tokens': resource 'tokens.weight' has no data" in done.stderr.decode()


def test_nothing_is_written_on_a_bad_recipe(model, tmp_path):
    recipe, output = tmp_path / "r.yaml", tmp_path / "out.mlir"
    recipe.write_text("layers:\n  - match: up\n    bits: seven\n")
    done = execute("quant-opt", model, f"--rtn-quantize=recipe={recipe}", "-o", output)
    assert done.returncode == 1 and not output.exists()
    assert f"{recipe}:3:11: error: value of 'bits'" in done.stderr.decode()
