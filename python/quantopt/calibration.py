# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calibration samples in the form that a module carries them: arg0, arg1, ..."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ._safetensors import Stored
from .importer import store

ArrayLike = torch.Tensor | np.ndarray
Calibration = ArrayLike | Sequence[ArrayLike] | Sequence[Sequence[ArrayLike]]


class CalibrationError(ValueError):
    """The calibration samples do not fit the model's inputs."""


def stack(samples: Calibration, inputs: Sequence[torch.Tensor]) -> dict[str, Stored]:
    """`samples` as one array [samples, *input shape] for each of `inputs`.

    Samples are a list of tuples with one tensor for each input; for a model of
    one input also an array [samples, *input shape], or a list of arrays.
    Types that hold every value of a smaller type (uint8 token ids for an int64
    input) are widened; everything else must match.
    """
    if isinstance(samples, (torch.Tensor, np.ndarray)):
        if len(inputs) != 1:
            raise CalibrationError(
                f"calibration is one array and the model has {len(inputs)} inputs: "
                "give a list of tuples, one tensor for each input"
            )
        if samples.ndim == 0:
            raise CalibrationError("calibration is a single number: give [samples, *input shape]")
        columns = [list(samples)]
    else:
        rows = [_row(i, sample, len(inputs)) for i, sample in enumerate(samples)]
        columns = [[row[k] for row in rows] for k in range(len(inputs))]
    if not columns or not columns[0]:
        raise CalibrationError("calibration has no samples: give at least one")
    return {
        f"arg{k}": _column(k, column, example)
        for k, (column, example) in enumerate(zip(columns, inputs))
    }


def _row(index: int, sample, count: int) -> Sequence[ArrayLike]:
    if isinstance(sample, (torch.Tensor, np.ndarray)):
        sample = (sample,)
    if not isinstance(sample, (tuple, list)) or len(sample) != count:
        what = (
            f"{len(sample)} values" if isinstance(sample, (tuple, list)) else type(sample).__name__
        )
        raise CalibrationError(
            f"calibration sample {index} is {what}: give a tuple of {count} tensors, as the model's inputs"
        )
    return sample


def _column(position: int, column: Sequence[ArrayLike], example: torch.Tensor) -> Stored:
    shape = tuple(example.shape)
    tensors = []
    for index, value in enumerate(column):
        where = f"calibration sample {index}, input {position}"
        tensor = _tensor(value, where)
        # A batch dimension of one may be left out, as in a [samples, length] token file.
        if tuple(tensor.shape) != shape and (1, *tensor.shape) != shape:
            raise CalibrationError(
                f"{where}: shape {list(tensor.shape)}, the model takes {list(shape)}"
            )
        if tensor.dtype != example.dtype:
            if not _is_widening(tensor.dtype, example.dtype):
                raise CalibrationError(f"{where}: {tensor.dtype}, the model takes {example.dtype}")
            tensor = tensor.to(example.dtype)
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise CalibrationError(f"{where}: holds NaN or infinity")
        tensors.append(tensor.detach().reshape(shape))
    return store(torch.stack(tensors))


def _tensor(value: ArrayLike, where: str) -> torch.Tensor:
    if isinstance(value, torch.Tensor):
        return value
    if not isinstance(value, (np.ndarray, np.generic)):
        raise CalibrationError(f"{where}: {type(value).__name__} is no tensor")
    try:
        # A copy: mapped files are read-only, which torch warns about.
        return torch.from_numpy(np.array(value))
    except TypeError as error:
        raise CalibrationError(f"{where}: {error}") from None


def _is_widening(source: torch.dtype, target: torch.dtype) -> bool:
    if source.is_complex or target.is_complex or source == torch.bool:
        return False
    if not source.is_floating_point and not target.is_floating_point:
        a, b = torch.iinfo(source), torch.iinfo(target)
        return b.min <= a.min and a.max <= b.max
    return source in (torch.float16, torch.bfloat16) and target == torch.float32
