# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""from_torch: a PyTorch module as an .mlirbc file."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from . import _safetensors, tools
from ._files import replacing
from ._progress import note, step
from .calibration import Calibration, stack
from .importer import Function, Imported, import_functions

TOOL = "quant-opt"


def from_torch(
    model: torch.nn.Module,
    example_inputs: torch.Tensor | Sequence[torch.Tensor],
    calibration: Calibration | None = None,
    output: str | os.PathLike[str] = "model.mlirbc",
    func_name: str = "main",
    rename: Callable[[str], str] | None = None,
    more: Sequence[Function] = (),
) -> Path:
    """Writes `model` to `output`, an MLIR bytecode file for quant-opt, and returns its path.

    The function `func_name` takes what `example_inputs` are, in shape and
    type. Weights keep their type and are named after the parameters and
    buffers, which `rename` may change. `calibration` samples travel in the
    file (see quantopt.calibration.stack for their forms), so that
    `quant-opt --gptq-quantize output` needs nothing else. The functions `more`
    stand beside it and share its weights.

    The arguments are checked before the work begins, and `output` appears whole or not at all.
    """
    inputs = (
        (example_inputs,) if isinstance(example_inputs, torch.Tensor) else tuple(example_inputs)
    )
    for i, value in enumerate(inputs):
        if not isinstance(value, torch.Tensor):
            raise ValueError(
                f"example input {i} is {type(value).__name__}: every input must be a tensor"
            )
    if not func_name.isidentifier():
        raise ValueError(f"func_name '{func_name}' is not an identifier")
    output = Path(output)
    if output.suffix != ".mlirbc":
        raise ValueError(f"{output}: the output's name must end in .mlirbc")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output}: there is no folder {output.parent}")
    if output.is_dir():
        raise IsADirectoryError(f"{output}: is a folder")
    samples = None if calibration is None else stack(calibration, inputs)
    tools.find(TOOL)

    with _evaluating(model):
        imported = import_functions([Function(func_name, model, inputs), *more], rename)
    # Beside the output: what goes there is as large as what lies here.
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".quantopt-") as folder:
        result = Path(folder) / "out.mlirbc"
        with step("attaching the weights" + (" and calibration samples" if samples else "")):
            command = write_parts(Path(folder), imported, samples, func_name)
            tools.run(TOOL, [*command, "-o", result.name], folder)
        os.replace(result, output)
    note(f"wrote {output} ({os.path.getsize(output) / 1e6:.1f} MB)")
    return output


def write_parts(
    folder: Path,
    imported: Imported,
    samples: dict[str, _safetensors.Stored] | None,
    func_name: str,
) -> list[str]:
    """Writes the elided text, the weights and the samples to `folder`.

    Returns the arguments with which quant-opt, run in that folder, joins them
    (names without a path: an option's value cannot hold a space).
    """
    with replacing(folder / "in.mlir", "w") as stream:
        stream.write(imported.text)
    _safetensors.save(folder / "weights.safetensors", imported.weights)
    options = "weights=weights.safetensors"
    if samples:
        _safetensors.save(folder / "calibration.safetensors", samples)
        options += " calibration=calibration.safetensors"
    if func_name != "main":
        options += f" entry={func_name}"
    return ["in.mlir", f"--lowbit-attach-data={options}"]


@contextlib.contextmanager
def _evaluating(model: torch.nn.Module) -> Iterator[None]:
    """The model in evaluation mode; afterwards each part in the mode it had."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
