# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""from_torch: its arguments, and the file it writes."""

import os

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="NOT TESTED: no torch here; pip install 'quantopt[torch]'"
)
pytest.importorskip(
    "torch_mlir", reason="NOT TESTED: no torch_mlir here; pip install 'quantopt[torch]'"
)

import quantopt  # noqa: E402
from quantopt import _safetensors, calibration  # noqa: E402

FLOATS = (torch.zeros(2, 3),)
TOKENS = (torch.zeros(1, 4, dtype=torch.int64),)


class Two(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(8, 8)
        self.dropout = torch.nn.Dropout()

    def forward(self, x, y):
        return self.dropout(self.linear(x)) + y


TWO = (torch.zeros(2, 8), torch.zeros(8))


@pytest.mark.parametrize(
    "samples",
    [
        torch.arange(30.0).reshape(5, 2, 3),
        np.arange(30, dtype=np.float32).reshape(5, 2, 3),
        [torch.arange(6.0).reshape(2, 3) + 6 * i for i in range(5)],
        [(torch.arange(6.0).reshape(2, 3) + 6 * i,) for i in range(5)],
    ],
)
def test_forms_of_one_input(samples):
    stacked = calibration.stack(samples, FLOATS)
    assert list(stacked) == ["arg0"]
    assert stacked["arg0"].dtype == "F32"
    np.testing.assert_array_equal(
        stacked["arg0"].data, np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    )


def test_two_inputs():
    stacked = calibration.stack([(torch.ones(2, 8), torch.zeros(8))] * 3, TWO)
    assert {name: entry.shape for name, entry in stacked.items()} == {
        "arg0": (3, 2, 8),
        "arg1": (3, 8),
    }


def test_token_files_fit_as_they_are():
    tokens = np.arange(8, dtype=np.uint8).reshape(2, 4)
    stacked = calibration.stack(tokens, TOKENS)
    assert (stacked["arg0"].dtype, stacked["arg0"].shape) == ("I64", (2, 1, 4))
    assert stacked["arg0"].data.ravel().tolist() == list(range(8))


@pytest.mark.parametrize(
    ("samples", "inputs", "message"),
    [
        (
            torch.zeros(5, 3, 2),
            FLOATS,
            r"sample 0, input 0: shape \[3, 2\], the model takes \[2, 3\]",
        ),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], FLOATS, r"sample 1, input 0: shape \[2, 4\]"),
        (
            torch.zeros(5, 2, 3, dtype=torch.float64),
            FLOATS,
            "float64, the model takes torch.float32",
        ),
        (torch.zeros(5, 1, 4), TOKENS, "float32, the model takes torch.int64"),
        (torch.full((1, 2, 3), float("nan")), FLOATS, "sample 0, input 0: holds NaN or infinity"),
        (torch.zeros(0, 2, 3), FLOATS, "has no samples"),
        ([], FLOATS, "has no samples"),
        ([], TWO, "has no samples"),
        (torch.zeros(()), FLOATS, "a single number"),
        (torch.zeros(5, 2, 8), TWO, "one array and the model has 2 inputs"),
        ([(torch.zeros(2, 8),)], TWO, "sample 0 is 1 values: give a tuple of 2 tensors"),
        ([5], TWO, "sample 0 is int"),
        ([("a",)], FLOATS, "sample 0, input 0: str is no tensor"),
        (np.array([["a"]]), FLOATS, "sample 0, input 0"),
    ],
)
def test_calibration_errors(samples, inputs, message):
    with pytest.raises(calibration.CalibrationError, match=message):
        calibration.stack(samples, inputs)


def test_bad_arguments_are_found_before_the_work(tmp_path):
    model = Two()
    with pytest.raises(ValueError, match="must end in .mlirbc"):
        quantopt.from_torch(model, TWO, output=tmp_path / "a.mlir")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        quantopt.from_torch(model, TWO, output=tmp_path / "no" / "a.mlirbc")
    with pytest.raises(ValueError, match="example input 1 is float"):
        quantopt.from_torch(model, (TWO[0], 1.0), output=tmp_path / "a.mlirbc")
    with pytest.raises(ValueError, match="func_name 'a b' is not an identifier"):
        quantopt.from_torch(model, TWO, output=tmp_path / "a.mlirbc", func_name="a b")
    with pytest.raises(calibration.CalibrationError):
        quantopt.from_torch(model, TWO, [], tmp_path / "a.mlirbc")
    assert os.listdir(tmp_path) == []


def fake_tool(folder, body):
    path = folder / "quant-opt"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_what_the_tool_is_given(tmp_path, monkeypatch):
    # A stand-in that keeps its inputs: $1 the text, $2 the option, $4 the output.
    monkeypatch.setenv("QUANTOPT_BIN", str(tmp_path))
    fake_tool(
        tmp_path,
        f'echo "$@" > {tmp_path}/arguments; cp *.safetensors "$1" {tmp_path}; echo result > "$4"',
    )
    model = Two()
    model.train()
    samples = [(torch.ones(2, 8), torch.zeros(8))] * 3
    out = tmp_path / "a folder"
    out.mkdir()
    result = quantopt.from_torch(model, TWO, samples, out / "m.mlirbc", "forward")
    assert result.read_text() == "result\n"
    assert os.listdir(out) == ["m.mlirbc"], "temporary files stayed"
    assert model.training and model.dropout.training, "the model's mode is given back"

    assert (tmp_path / "arguments").read_text() == (
        "in.mlir --lowbit-attach-data=weights=weights.safetensors "
        "calibration=calibration.safetensors entry=forward -o out.mlirbc\n"
    )
    assert "@forward" in (tmp_path / "in.mlir").read_text()
    weights = _safetensors.load(tmp_path / "weights.safetensors")
    assert set(weights) == {"linear.weight", "linear.bias"}
    attached = _safetensors.load(tmp_path / "calibration.safetensors")
    assert {k: v.shape for k, v in attached.items()} == {"arg0": (3, 2, 8), "arg1": (3, 8)}


def test_a_failing_tool_leaves_the_old_file(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTOPT_BIN", str(tmp_path))
    fake_tool(tmp_path, 'echo half > "$4"; echo "error: no" >&2; exit 1')
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m.mlirbc").write_text("old")
    with pytest.raises(quantopt.tools.ToolFailed, match="error: no"):
        quantopt.from_torch(Two(), TWO, output=tmp_path / "out" / "m.mlirbc")
    assert os.listdir(tmp_path / "out") == ["m.mlirbc"]
    assert (tmp_path / "out" / "m.mlirbc").read_text() == "old"


@pytest.mark.quant_opt
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_with_the_real_tool(tmp_path, dtype):
    model = Two().to(dtype)
    inputs = tuple(x.to(dtype) for x in TWO)
    (tmp_path / "a folder").mkdir()
    path = quantopt.from_torch(
        model, inputs, [inputs] * 3, tmp_path / "a folder" / "my m.mlirbc", "go"
    )
    data = path.read_bytes()
    assert data[:4] == b"ML\xefR"
    assert b"linear.weight" in data
    assert model.linear.weight.detach().view(torch.uint8).numpy().tobytes() in data
