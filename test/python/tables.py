# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An independent reading of `#lowbit.codebook`, from its documentation alone."""

import re
from dataclasses import dataclass

import numpy as np

from oracle import decode, unpack

NF4 = [
    -1.0,
    -0.6961928009986877,
    -0.5250730514526367,
    -0.39491748809814453,
    -0.28444138169288635,
    -0.18477343022823334,
    -0.09105003625154495,
    0.0,
    0.07958029955625534,
    0.16093020141124725,
    0.24611230194568634,
    0.33791524171829224,
    0.44070982933044434,
    0.5626170039176941,
    0.7229568362236023,
    1.0,
]
FP4 = [sign * value / 12 for sign in (1, -1) for value in (0, 0.0625, 8, 12, 4, 6, 2, 3)]
IQ4_NL = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113]
E2M1 = [sign * value for sign in (1, -1) for value in (0, 0.5, 1, 1.5, 2, 3, 4, 6)]
TABLES = {
    name: np.array(values, np.float32)
    for name, values in (("nf4", NF4), ("fp4", FP4), ("iq4_nl", IQ4_NL), ("e2m1", E2M1))
}


def dynamic_map():
    """The 8-bit map: in each of seven decades the middles of 1, 2, 4, ... intervals."""
    values = [0.0, 1.0]
    for decade in range(7):
        count = 2**decade
        step = np.float64(np.float32(np.float32(1) - np.float32(0.1)) / np.float32(count))
        edges = [
            np.float32(0.1) + step * i if i < (count + 1) // 2 else 1.0 - step * (count - i)
            for i in range(count + 1)
        ]
        edges = np.array(edges).astype(np.float32)
        middles = (edges[:-1] + edges[1:]) / np.float32(2) * np.float32(10.0 ** (decade - 6))
        values += [*middles, *-middles]
    return np.sort(np.array(values, np.float32))


def from_e4m3(octets):
    octets = octets.astype(np.int32)
    sign = np.where(octets & 0x80, -1.0, 1.0)
    exponent, mantissa = (octets >> 3) & 15, octets & 7
    normal = (8 + mantissa) * 2.0 ** (exponent - 10)
    return (sign * np.where(exponent == 0, mantissa * 2.0**-9, normal)).astype(np.float32)


def from_e8m0(octets):
    return (2.0 ** (octets.astype(np.float64) - 127)).astype(np.float32)


@dataclass
class TableWeight:
    """A `lowbit.weight` with a codebook scheme, as the printed module shows it."""

    n: int
    k: int
    scheme: str
    codes: np.ndarray  # [n, k]
    planes: dict  # the other planes: name -> 1-d array, bytes as they are
    scales: np.ndarray  # one float32 for each weight, [n, k]

    def dequantized(self):
        return TABLES[self.scheme.split(",")[0]][self.codes] * self.scales


_WEIGHT = re.compile(
    r'lowbit\.weight "(?P<name>[^"]*)" \{(?P<planes>[^}]*)\}'
    r" : !lowbit\.weight<(?P<n>\d+)x(?P<k>\d+)x\w+, #lowbit\.codebook<(?P<scheme>[^>]*)>>"
)
_PLANE = re.compile(r'(\w+) = dense_resource<"?([^">]+)"?> : tensor<((?:\d+x)+)(\w+)>')
_BLOB = re.compile(r'"?([^\s":]+)"?: "0x[0-9A-Fa-f]{8}([0-9A-Fa-f]*)"')


def _read_plane(data, kind):
    if kind in ("i8", "f8E8M0FNU", "f8E4M3FN"):
        return np.frombuffer(data, np.uint8)
    return decode(data, kind)


def _scales(planes, kind, nested):
    """The plane of scales as they are used, each operation rounded."""
    stored = planes["scales"]
    if nested == "dynamic":
        factors = np.repeat(planes["nested_scales"], 256)[: stored.size]
        return dynamic_map()[stored] * factors + planes["nested_offset"][0]
    if kind == "f8E8M0FNU":
        return from_e8m0(stored)
    if kind == "f8E4M3FN":
        values = from_e4m3(stored)
        return values * planes["nested_scales"][0] if nested else values
    return stored


def read_tables(text):
    """name -> TableWeight, of all weights with a codebook scheme."""
    blobs = {key: bytes.fromhex(data) for key, data in _BLOB.findall(text)}
    weights = {}
    for match in _WEIGHT.finditer(text):
        words = [word.strip() for word in match["scheme"].split(",")]
        settings = dict(word.split(" = ") for word in words if " = " in word)
        n, k = int(match["n"]), int(match["k"])
        planes, shapes = {}, {}
        for plane, key, shape, kind in _PLANE.findall(match["planes"]):
            shapes[plane] = tuple(int(size) for size in shape.split("x")[:-1])
            planes[plane] = _read_plane(blobs[key], kind)
            assert planes[plane].size == np.prod(shapes[plane]), plane
        codes = unpack(planes.pop("codes").tobytes(), n, k, 4)
        scales = _scales(planes, settings["scale"], settings.get("nested"))
        if "flat" in settings:
            wide = np.repeat(scales, int(settings["flat"]))[: n * k].reshape(n, k)
        elif "per_tensor" in words:
            wide = np.broadcast_to(scales, (n, k))
        else:
            group = min(int(settings.get("group", k)), k)
            wide = np.repeat(scales.reshape(shapes["scales"]), group, axis=1)[:, :k]
        weights[match["name"]] = TableWeight(n, k, match["scheme"], codes, planes, wide)
    return weights
