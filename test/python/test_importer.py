# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""From a torch module to linalg text, weights and aliases."""

import re
import shutil
import subprocess
import warnings

import pytest

torch = pytest.importorskip(
    "torch", reason="NOT TESTED: no torch here; pip install 'quantopt[torch]'"
)
pytest.importorskip(
    "torch_mlir", reason="NOT TESTED: no torch_mlir here; pip install 'quantopt[torch]'"
)

from quantopt import importer  # noqa: E402


class MLP(torch.nn.Module):
    def __init__(self, dtype=torch.float32):
        super().__init__()
        torch.manual_seed(0)
        self.up = torch.nn.Linear(8, 12, dtype=dtype)
        self.down = torch.nn.Linear(12, 4, bias=False, dtype=dtype)
        self.register_buffer("shift", torch.ones(4, dtype=dtype), persistent=False)
        self.scale = torch.nn.Parameter(torch.tensor([2.5], dtype=dtype))

    def forward(self, x):
        return self.down(torch.relu(self.up(x))) * self.scale + self.shift


class Tied(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.head = torch.nn.Linear(8, 10, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        return self.head(self.embedding(tokens))


def keys(text):
    return set(re.findall(r'dense_resource<"?([^">]+)"?>', text))


def parses(text):
    """Whether Debian's mlir-opt takes the text; None where there is none."""
    tool = shutil.which("mlir-opt-22") or shutil.which("mlir-opt", path="/usr/lib/llvm-22/bin")
    if tool is None:
        warnings.warn("NOT TESTED: no mlir-opt here, so the text was not parsed", stacklevel=2)
        return None
    return subprocess.run([tool, "-o", "/dev/null"], input=text.encode()).returncode == 0


@pytest.mark.parametrize(
    ("dtype", "name", "mlir"),
    [
        (torch.float32, "F32", "f32"),
        (torch.float16, "F16", "f16"),
        (torch.bfloat16, "BF16", "bf16"),
    ],
)
def test_resources_are_named_after_parameters(dtype, name, mlir):
    model = MLP(dtype)
    imported = importer.import_model(model, (torch.zeros(2, 8, dtype=dtype),))
    assert set(imported.weights) == {"up.weight", "up.bias", "down.weight", "shift"}
    assert keys(imported.text) == set(imported.weights)
    assert f"dense_resource<up.weight> : tensor<12x8x{mlir}>" in imported.text
    assert f"func.func @main(%arg0: tensor<2x8x{mlir}>) -> tensor<2x4x{mlir}>" in imported.text
    assert "dialect_resources" not in imported.text, "weights in the text"
    assert parses(imported.text) is not False
    stored = imported.weights["up.weight"]
    assert (stored.dtype, stored.shape) == (name, (12, 8))
    assert stored.data.tobytes() == model.up.weight.detach().view(torch.uint8).numpy().tobytes()
    # No copy of a weight is made.
    assert stored.data.ctypes.data == model.up.weight.data_ptr()


def test_function_name_and_rename():
    imported = importer.import_model(
        MLP(), (torch.zeros(2, 8),), "forward", rename=lambda name: "net/" + name
    )
    assert "func.func @forward" in imported.text
    assert set(imported.weights) == {"net/up.weight", "net/up.bias", "net/down.weight", "net/shift"}
    assert parses(imported.text) is not False


def test_tied_parameters():
    imported = importer.import_model(Tied(), (torch.zeros(1, 3, dtype=torch.int64),))
    assert list(imported.weights) == ["embedding.weight"]
    assert imported.aliases == {"head.weight": "embedding.weight"}
    assert 'lowbit.aliases = {head.weight = "embedding.weight"}' in imported.text
    assert imported.text.count("dense_resource<embedding.weight>") >= 1
    assert parses(imported.text) is not False


def test_same_values_are_not_the_same_parameter():
    model = Tied()
    model.head.weight = torch.nn.Parameter(model.embedding.weight.detach().clone())
    imported = importer.import_model(model, (torch.zeros(1, 3, dtype=torch.int64),))
    assert set(imported.weights) == {"embedding.weight", "head.weight"}
    assert imported.aliases == {} and "lowbit.aliases" not in imported.text


def test_tensors_that_are_no_parameters():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("flags", torch.tensor([True, False, True]))

        def forward(self, x):
            return torch.where(self.flags, x, x * torch.tensor([1.0, 2.0, 3.0]))

    imported = importer.import_model(Model(), (torch.zeros(3),))
    assert "flags" in imported.weights
    assert len(imported.weights) == 2, "the constant has a name too"
    assert keys(imported.text) == set(imported.weights)
    assert parses(imported.text) is not False


def test_models_without_data_are_refused():
    with torch.device("meta"):
        model = MLP()
    with pytest.raises(importer.ImportFailed, match="has no data .device meta"):
        importer.import_model(model, (torch.zeros(2, 8),))
