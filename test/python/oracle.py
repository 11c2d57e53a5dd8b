# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the oracle tests share: running the tools, MLIR text, reading planes.

Nothing here calls code of quant-opt to compute a number: planes are decoded
from the printed text by the rules that the documentation of the dialect states.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from quantopt import tools

REPOSITORY = Path(__file__).resolve().parents[2]


# --- running ------------------------------------------------------------------


def execute(tool, *arguments, folder=None, threads=1, timeout=120):
    """Runs a tool, whatever its exit code; see `run` for the usual case."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    return subprocess.run(
        [str(tools.find(tool)), *map(str, arguments)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
    )


def run(tool, *arguments, **options):
    """Runs a tool that must succeed; returns what it printed."""
    done = execute(tool, *arguments, **options)
    error = done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{tool} {' '.join(map(str, arguments))}\n{error}"
    return done.stdout.decode()


def run_module(path, inputs, folder, options=(), name="", **how):
    """The results of `quant-run` on a module file; `name` tells runs apart."""
    folder = Path(folder) / (Path(path).name + ".run" + name)
    folder.mkdir()
    arguments = []
    for i, array in enumerate(inputs):
        np.save(folder / f"input{i}.npy", array)
        arguments.append(f"--input={folder / f'input{i}.npy'}")
    run("quant-run", path, *arguments, *options, f"--output-dir={folder}", **how)
    count = len(list(folder.glob("result*.npy")))
    return [np.load(folder / f"result{i}.npy") for i in range(count)]


# --- numbers ------------------------------------------------------------------


def to_bf16(values):
    """float32 rounded to bfloat16, to nearest even, as its 16 bits."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(values, dtype):
    """The bytes of `values` in an MLIR float type."""
    if dtype == "f32":
        return np.asarray(values, "<f4").tobytes()
    if dtype == "f16":
        return np.asarray(values, "<f2").tobytes()
    return to_bf16(values).astype("<u2").tobytes()


def decode(data, dtype):
    """Inverse of `encode`, as float32."""
    if dtype == "f32":
        return np.frombuffer(data, "<f4")
    if dtype == "f16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    return from_bf16(np.frombuffer(data, "<u2"))


def rounded(values, dtype):
    """`values` as `dtype` stores them, as float32."""
    shape = np.shape(values)
    return decode(encode(np.asarray(values, np.float32), dtype), dtype).reshape(shape)


# --- MLIR text ----------------------------------------------------------------


def tensor(shape, dtype="f32"):
    return "tensor<" + "".join(f"{d}x" for d in shape) + dtype + ">"


def dense(values, dtype="f32"):
    """An inline constant with these exact bits."""
    return f'dense<"0x{encode(values, dtype).hex().upper()}"> : {tensor(values.shape, dtype)}'


def resources(blobs):
    """The section with `blobs`: key -> bytes."""
    entries = ",\n".join(
        f'    "{key}": "0x40000000{data.hex().upper()}"' for key, data in blobs.items()
    )
    return "{-# dialect_resources: { builtin: {\n" + entries + "\n} } #-}\n"


def linear_model(weights, leading=None, dtype="f32"):
    """A module that applies each [N, K] weight to an input of its own.

    `leading[name]` rows go in, K (for the identity) if not given.
    """
    arguments, body, results, types, blobs = [], [], [], [], {}
    for i, (name, w) in enumerate(weights.items()):
        n, k = w.shape
        m = (leading or {}).get(name, k)
        x, wt, y = tensor((m, k)), tensor((n, k), dtype), tensor((m, n))
        arguments.append(f"%x{i}: {x}")
        body.append(f'  %w{i} = arith.constant dense_resource<"{name}.weight"> : {wt}')
        body.append(
            f'  %y{i} = lowbit.linear %x{i}, %w{i} {{name = "{name}"}} : ({x}, {wt}) -> {y}'
        )
        results.append(f"%y{i}")
        types.append(y)
        blobs[f"{name}.weight"] = encode(w, dtype)
    return (
        f"func.func @main({', '.join(arguments)}) -> ({', '.join(types)}) {{\n"
        + "\n".join(body)
        + f"\n  return {', '.join(results)} : {', '.join(types)}\n}}\n"
        + resources(blobs)
    )


# --- planes -------------------------------------------------------------------


@dataclass
class Weight:
    """A `lowbit.weight` as the printed module shows it."""

    n: int
    k: int
    bits: int
    group: int
    zero: str  # symmetric, integer_zero or float_minimum
    per_tensor: bool
    scale_type: str
    codes: np.ndarray  # [n, k]
    scales: np.ndarray  # [rows, groups] float32
    offsets: np.ndarray | None  # [rows, groups] float32
    plane_bits: dict  # bits that each plane needs, less padding

    def expand(self, plane):
        """A plane [rows, groups] as [n, k]."""
        wide = np.repeat(plane, self.group, axis=1)[:, : self.k]
        return np.broadcast_to(wide, (self.n, self.k))

    def value(self, codes):
        """The float32 value of codes [n, k], each operation rounded."""
        codes = np.asarray(codes, np.float32)
        scales = self.expand(self.scales)
        if self.zero == "symmetric":
            return (codes - np.float32(2 ** (self.bits - 1))) * scales
        offsets = self.expand(self.offsets)
        if self.zero == "integer_zero":
            return (codes - offsets) * scales
        return codes * scales + offsets

    def dequantized(self):
        return self.value(self.codes)


def unpack(data, rows, columns, bits):
    """Codes of `bits` each, lowest bit first, every row padded to a whole byte."""
    octets = np.frombuffer(data, np.uint8).reshape(rows, -(-columns * bits // 8))
    stream = np.unpackbits(octets, axis=1, bitorder="little")
    assert not stream[:, columns * bits :].any(), "the padding of a row is not zero"
    digits = stream[:, : columns * bits].reshape(rows, columns, bits)
    return (digits << np.arange(bits, dtype=np.uint16)).sum(axis=2)


_WEIGHT = re.compile(
    r'lowbit\.weight "(?P<name>[^"]*)" \{(?P<planes>[^}]*)\}'
    r" : !lowbit\.weight<(?P<n>\d+)x(?P<k>\d+)x\w+, #lowbit\.affine<(?P<scheme>[^>]*)>>"
)
_PLANE = re.compile(r'(\w+) = dense_resource<"?([^">]+)"?> : tensor<(\d+)x(\d+)x(\w+)>')
_BLOB = re.compile(r'"?([^\s":]+)"?: "0x[0-9A-Fa-f]{8}([0-9A-Fa-f]*)"')


def read_weights(text):
    """name -> Weight, of all quantized weights of a printed module."""
    blobs = {key: bytes.fromhex(data) for key, data in _BLOB.findall(text)}
    weights = {}
    for match in _WEIGHT.finditer(text):
        scheme = [word.strip() for word in match["scheme"].split(",")]
        settings = dict(word.split(" = ") for word in scheme if " = " in word)
        n, k, bits = int(match["n"]), int(match["k"]), int(settings["bits"])
        group = min(int(settings.get("group", k)), k)
        zero = next(w for w in scheme if w in ("symmetric", "integer_zero", "float_minimum"))
        per_tensor, scale_type = "per_tensor" in scheme, settings["scale"]
        rows, groups = (1 if per_tensor else n), -(-k // group)
        planes, plane_bits = {}, {}
        for plane, key, height, width, kind in _PLANE.findall(match["planes"]):
            data = blobs[key]
            if plane in ("codes", "zeros"):
                columns = k if plane == "codes" else groups
                assert kind == "i8" and int(width) == -(-columns * bits // 8)
                values = unpack(data, int(height), columns, bits)
                plane_bits[plane] = values.size * bits
            else:
                assert kind == scale_type
                values = decode(data, kind).reshape(int(height), int(width))
                plane_bits[plane] = values.size * (32 if kind == "f32" else 16)
            expected = (n, k) if plane == "codes" else (rows, groups)
            assert values.shape == expected, f"plane {plane} of {match['name']}"
            planes[plane] = values
        offsets = {"symmetric": None, "integer_zero": "zeros", "float_minimum": "minima"}[zero]
        assert set(planes) == {"codes", "scales"} | ({offsets} if offsets else set())
        weights[match["name"]] = Weight(
            n,
            k,
            bits,
            group,
            zero,
            per_tensor,
            scale_type,
            planes["codes"],
            planes["scales"],
            planes[offsets].astype(np.float32) if offsets else None,
            plane_bits,
        )
    return weights
