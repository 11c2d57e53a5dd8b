# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What packed planes mean: #lowbit.layout<nvptx> read from its documentation alone, with
numpy or torch. Goes with the folder that build.py makes.

`array` turns a numpy array into one of the library that the planes are of.
"""

import numpy as np

NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def places(bits):
    """For each piece of the codes: width, shift, and of the 16 x 64 codes of a block the
    byte and the bit in it.
    """
    row, k = np.arange(16)[:, None], np.arange(64)[None, :]
    lane = 4 * (row % 8) + k // 16
    pair = 4 * (k % 16 // 4) + row // 8 + 2 * (k % 4 // 2)
    shift = 0
    for width in (8, 4, 2, 1):
        if not bits & width:
            continue
        word, slot = pair // (16 // width), pair % (16 // width)
        if width == 8:
            byte = 512 * (word // 4) + 16 * lane + 4 * (word % 4)
        else:
            byte = 4 * width * lane + 4 * word
        bit = width * slot + 16 * (k % 2)
        yield width, shift, (128 * shift + byte + bit // 8).ravel(), (bit % 8).ravel()
        shift += width


def codes(plane, bits, n, k, array):
    """[n, k] codes from the bytes of a plane."""
    tiles, blocks = -(-n // 16), -(-k // 64)
    packed = plane.reshape(tiles * blocks, 128 * bits)
    whole = None
    for width, shift, byte, bit in places(bits):
        part = (packed[:, array(byte)] >> array(bit.astype(np.uint8))) & (2**width - 1)
        whole = part << shift if whole is None else whole | part << shift
    whole = whole.reshape(tiles, blocks, 16, 64).swapaxes(1, 2)
    return whole.reshape(tiles * 16, blocks * 64)[:n, :k]


def by_row(plane, n, groups):
    """[n, groups] of a plane that holds rows g and g + 8 of a tile beside each other."""
    tiles = -(-n // 16)
    split = plane.reshape(tiles, groups, 8, 2).swapaxes(2, 3)  # halves of the tile
    return split.reshape(tiles, groups, 16).swapaxes(1, 2).reshape(tiles * 16, groups)[:n]


def zeros(plane, bits, n, groups, array):
    """[n, groups] zero points from the bytes of a plane."""
    if bits > 4:
        return by_row(plane, n, groups)
    halves = plane.reshape(-1, 1) >> array(np.array([0, 4], np.uint8)) & 15
    return by_row(halves.reshape(-1), n, groups)


def dequantize(scheme, planes, n, k, array):
    """[n, k] values. Scales and minima are numbers of f64, in which the values are exact
    (of a table: not rounded to f32).
    """
    bits, group = scheme["bits"], scheme["group"]
    groups = -(-k // group)
    column = array(np.arange(k) // group)
    q = codes(planes["codes"], bits, n, k, array)
    scales = by_row(planes["scales"], n, groups)[:, column]
    if scheme["table"] == "nf4":
        return array(np.array(NF4))[array(np.zeros(1, np.int64)) + q] * scales
    if scheme["zero"] == "minimum":
        return q * scales + by_row(planes["offsets"], n, groups)[:, column]
    if scheme["zero"] == "integer":
        zero = zeros(planes["offsets"], bits, n, groups, array)[:, column]
    else:
        zero = 2 ** (bits - 1)
    return q * scales - zero * scales
