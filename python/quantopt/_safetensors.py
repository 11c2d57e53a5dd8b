# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A writer and a reader for safetensors files that need numpy only.

bfloat16 has no numpy type, so tensors travel as (dtype, shape, bytes): what
is stored is never converted.
"""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ._files import replacing

ITEM_SIZE = {
    "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2,
    "U32": 4, "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip

_FROM_NUMPY = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16",
    "int16": "I16", "float16": "F16", "uint32": "U32", "int32": "I32",
    "float32": "F32", "uint64": "U64", "int64": "I64", "float64": "F64",
}  # fmt: skip
_TO_NUMPY = {value: key for key, value in _FROM_NUMPY.items()} | {"BF16": "uint16"}

MAX_HEADER = 100 << 20


@dataclass(frozen=True)
class Stored:
    """A tensor as a file holds it: its type's name, its shape, its bytes.

    `data` is a C-contiguous array whose items have the size of `dtype`, or a
    function that returns one when the tensor's turn comes (so that a large
    array need not exist before or after it is written).
    """

    dtype: str
    shape: tuple[int, ...]
    data: np.ndarray | Callable[[], np.ndarray]

    @staticmethod
    def of(array: np.ndarray) -> Stored:
        """`array` under its own type."""
        name = _FROM_NUMPY.get(array.dtype.name)
        if name is None:
            raise ValueError(f"safetensors has no type for numpy's {array.dtype}")
        shape = tuple(array.shape)
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("="))
        return Stored(name, shape, np.ascontiguousarray(array))

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * ITEM_SIZE[self.dtype]


def save(path: str | os.PathLike[str], tensors: Mapping[str, Stored]) -> None:
    """Writes `tensors` to `path`, in their order, whole or not at all."""
    header: dict[str, object] = {}
    offset = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    # The data begins on a multiple of 64 so that mapped tensors are aligned.
    text += b" " * (-(len(text) + 8) % 64)
    with replacing(path) as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        for name, tensor in tensors.items():
            data = tensor.data() if callable(tensor.data) else tensor.data
            if data.nbytes != tensor.nbytes or not data.flags["C_CONTIGUOUS"]:
                raise ValueError(
                    f"tensor '{name}': {data.nbytes} bytes given, its type and "
                    f"shape take {tensor.nbytes}"
                )
            stream.write(memoryview(data.reshape(-1)).cast("B") if data.size else b"")


def load(path: str | os.PathLike[str]) -> dict[str, Stored]:
    """The tensors of `path`, mapped from the file; raises ValueError if it is bad."""
    size = os.path.getsize(path)
    with open(path, "rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        if not 2 <= length <= min(MAX_HEADER, size - 8):
            raise ValueError(f"{path}: not a safetensors file (bad header length)")
        try:
            header = json.loads(stream.read(length))
        except ValueError as error:
            raise ValueError(f"{path}: the header is not JSON: {error}") from None
    body = (
        np.memmap(path, np.uint8, "r", offset=8 + length)
        if size > 8 + length
        else np.empty(0, np.uint8)
    )
    result = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = entry["data_offsets"]
            tensor = Stored(entry["dtype"], tuple(entry["shape"]), body)
            if not 0 <= begin <= end <= body.size or end - begin != tensor.nbytes:
                raise ValueError("its offsets do not fit its shape or the file")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: tensor '{name}': {error}") from None
        view = np.frombuffer(
            body[begin:end].tobytes() if begin % 8 else body[begin:end], _TO_NUMPY[tensor.dtype]
        )
        result[name] = Stored(tensor.dtype, tensor.shape, view.reshape(tensor.shape))
    return result
