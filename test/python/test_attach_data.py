# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The pass lowbit-attach-data: weights and samples from files."""

import json
import struct
import subprocess

import numpy as np
import pytest

from quantopt import tools

pytestmark = pytest.mark.quant_opt

ELIDED = """
func.func @main(%x: tensor<2x4xf32>, %w: tensor<3x4xf32> {lowbit.parameter = "second"}) -> (tensor<2x3xf32>, tensor<2x3xf32>) {
  %c = arith.constant dense_resource<"first.weight"> : tensor<3x4xf32>
  %y = lowbit.linear %x, %c {name = "first"} : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x3xf32>
  %z = lowbit.linear %x, %w {name = "second"} : (tensor<2x4xf32>, tensor<3x4xf32>) -> tensor<2x3xf32>
  return %y, %z : tensor<2x3xf32>, tensor<2x3xf32>
}
"""


def write_safetensors(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        raw = array.tobytes()
        kind = {"float32": "F32", "float16": "F16"}[array.dtype.name]
        header[name] = {"dtype": kind, "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "elided.mlir"
    path.write_text(ELIDED)
    return path


def attach(module, options, output="out.mlir"):
    return subprocess.run(
        [tools.find("quant-opt"), module, f"--lowbit-attach-data={options}",
         "-o", module.parent / output], capture_output=True, text=True, check=False)


def weights(tmp_path, **arrays):
    path = tmp_path / "w.safetensors"
    write_safetensors(path, {name.replace("_", "."): value for name, value in arrays.items()})
    return path


def test_fills_resources_and_binds_parameters(module, tmp_path):
    rng = np.random.default_rng(1)
    first = rng.normal(size=(3, 4)).astype(np.float32)
    second = rng.normal(size=(3, 4)).astype(np.float32)
    path = weights(tmp_path, first_weight=first, second=second)
    done = attach(module, f"weights={path}")
    assert done.returncode == 0, done.stderr
    x = rng.normal(size=(2, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    subprocess.run([tools.find("quant-run"), tmp_path / "out.mlir", "--input", tmp_path / "x.npy",
                    "--output-dir", tmp_path / "y"], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "y/result0.npy"), x @ first.T, rtol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "y/result1.npy"), x @ second.T, rtol=1e-5)


def test_replace_changes_only_what_the_file_names(module, tmp_path):
    ones = np.ones((3, 4), np.float32)
    assert attach(module, f"weights={weights(tmp_path, first_weight=ones, second=ones)}").returncode == 0
    bound = tmp_path / "out.mlir"
    twos = weights(tmp_path, first_weight=2 * ones)
    assert attach(bound, f"weights={twos}", "same.mlir").returncode == 0
    assert attach(bound, f"weights={twos} replace=true", "changed.mlir").returncode == 0
    text = bound.read_text()
    assert (tmp_path / "same.mlir").read_text() == text
    changed = (tmp_path / "changed.mlir").read_text()
    assert changed != text
    assert changed.count("00000040" * 12) == 1 and changed.count("0000803F" * 12) == 1


@pytest.mark.parametrize("arrays, expected", [
    ({}, "the weights file has no tensor 'first.weight'"),
    ({"first_weight": np.ones((4, 3), np.float32)}, "tensor 'first.weight' of the weights file is F32 [4, 3]"),
    ({"first_weight": np.ones((3, 4), np.float16)}, "tensor 'first.weight' of the weights file is F16 [3, 4]"),
    ({"first_weight": np.ones((3, 4), np.float32)}, "the weights file has no tensor 'second'"),
])
def test_refuses_weights_that_do_not_fit(module, tmp_path, arrays, expected):
    done = attach(module, f"weights={weights(tmp_path, **arrays)}")
    assert done.returncode == 1
    assert expected in done.stderr
    assert not (tmp_path / "out.mlir").exists()


def test_samples_may_leave_out_unit_dimensions_and_differ_in_width(tmp_path):
    path = tmp_path / "m.mlir"
    path.write_text("func.func @main(%t: tensor<1x3xi64>) -> tensor<1x3xi64> { return %t : tensor<1x3xi64> }")
    np.save(tmp_path / "t.npy", np.array([[1, 2, 3], [4, 5, 6]], np.uint8))
    done = attach(path, f"calibration={tmp_path / 't.npy'}")
    assert done.returncode == 0, done.stderr
    assert "tensor<2x1x3xi64>" in (tmp_path / "out.mlir").read_text()


@pytest.mark.parametrize("array, expected", [
    (np.zeros((2, 4), np.int64), "has shape 2x4, but samples of this argument are [samples, 1x3]"),
    (np.zeros((0, 3), np.int64), "holds no samples"),
    (np.zeros((2, 3), np.float32), "holds F32, but the argument is 'i64'"),
])
def test_refuses_samples_that_do_not_fit(tmp_path, array, expected):
    path = tmp_path / "m.mlir"
    path.write_text("func.func @main(%t: tensor<1x3xi64>) -> tensor<1x3xi64> { return %t : tensor<1x3xi64> }")
    np.save(tmp_path / "t.npy", array)
    done = attach(path, f"calibration={tmp_path / 't.npy'}")
    assert done.returncode == 1
    assert expected in done.stderr
