# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Elementary functions in kernels for a GPU, run by the PTX emulator.

A GPU has no library of functions; what the compiler writes in their place is
compared with Python's, in units of the last place of the type.
"""

import math

import numpy as np
import pytest

from oracle import run_module

pytestmark = pytest.mark.quant_opt


def total(function):
    """`function` with IEEE's results where Python raises."""

    def call(*x):
        try:
            return function(*x)
        except OverflowError:
            return math.inf if len(x) == 1 or x[0] > 0 else math.nan
        except ValueError:
            return math.nan

    return call


def log(function, pole):
    return lambda x: -math.inf if x == pole else total(function)(x)


def cosh(x):
    return math.inf if abs(x) > 710 else math.cosh(x)


def sinh(x):
    return math.copysign(math.inf, x) if abs(x) > 710 else math.sinh(x)


def atanh(x):
    return math.copysign(math.inf, x) if abs(x) == 1 else total(math.atanh)(x)


# name: reference, points, largest error in units in the last place of f32, of f64
FUNCTIONS = {
    "exp": (total(math.exp), "plain", 3, 2),
    "exp2": (total(lambda x: math.pow(2, x)), "plain", 1, None),
    "expm1": (total(math.expm1), "plain", 1, 4),
    "log": (log(math.log, 0), "positive", 1, 2),
    "log2": (log(math.log2, 0), "positive", 1, 4),
    "log10": (log(math.log10, 0), "positive", 1, 4),
    "log1p": (log(math.log1p, -1), "above -1", 1, 4),
    "sin": (total(math.sin), "turns", 1, None),
    "cos": (total(math.cos), "turns", 1, None),
    "tan": (total(math.tan), "turns", 1, None),
    "atan": (math.atan, "plain", 1, 4),
    "asin": (total(math.asin), "unit", 1, 8),
    "acos": (total(math.acos), "unit", 1, 8),
    "sinh": (sinh, "plain", 1, 8),
    "cosh": (cosh, "plain", 1, 8),
    "tanh": (math.tanh, "plain", 4, 8),
    "asinh": (math.asinh, "plain", 1, 8),
    "atanh": (atanh, "unit", 1, 8),
    "cbrt": (lambda x: math.copysign(total(math.pow)(abs(x), 1 / 3), x), "plain", 1, None),
    "erf": (math.erf, "plain", 8, None),
    "rsqrt": (lambda x: math.inf if x == 0 else 1 / total(math.sqrt)(x), "positive", 2, 2),
    "sqrt": (total(math.sqrt), "positive", 0.5, 0.5),
    "floor": (lambda x: float(np.floor(x)), "plain", 0, 0),
    "ceil": (lambda x: float(np.ceil(x)), "plain", 0, 0),
    "round": (lambda x: math.copysign(float(np.floor(abs(x) + 0.5)), x), "halves", 0, 0),
    "roundeven": (lambda x: float(np.rint(x)), "halves", 0, 0),
    "trunc": (lambda x: float(np.trunc(x)), "plain", 0, 0),
    "absf": (abs, "plain", 0, 0),
}


def points(kind, dtype, count=64):
    random = np.random.default_rng(1)
    special = [0.0, -0.0, 1.0, -1.0, 1e-30, -1e-30]
    if kind == "positive":
        values = np.concatenate([np.exp2(random.uniform(-120, 120, count)), 1 + random.normal(size=count) / 1e3])
        special = [0.0, 1.0, 2.0, 1e-40, np.inf, np.nan, -1.0]
    elif kind == "above -1":
        values = np.concatenate([np.exp2(random.uniform(-60, 60, count)), random.uniform(-0.999, 1, count)])
        special += [np.inf, np.nan, -2.0]
    elif kind == "unit":
        values = np.concatenate([random.uniform(-1, 1, count), random.normal(size=count) / 1e6])
        special += [np.nan, 2.0]
    elif kind == "turns":
        values = np.concatenate([random.normal(size=count) * 3, random.normal(size=count) * 1e5,
                                 random.normal(size=count) * 1e12, np.arange(1, count) * np.pi / 2])
        special += [np.inf, np.nan]
    elif kind == "halves":
        values = np.arange(-count, count) / 2
    else:
        values = np.concatenate([random.normal(size=count), random.normal(size=count) * 30,
                                 random.normal(size=count) / 1e4])
        special += [np.inf, -np.inf, np.nan, 100.0, -100.0, 800.0, -800.0]
    return np.concatenate([values, special]).astype(dtype)


def elementwise(name, type_, count, operation):
    vector = f"tensor<{count}x{type_}>"
    maps = "affine_map<(i) -> (i)>, affine_map<(i) -> (i)>"
    return f"""
  %{name}e = tensor.empty() : {vector}
  %{name} = linalg.generic {{indexing_maps = [{maps}], iterator_types = ["parallel"]}}
      ins(%{name}x : {vector}) outs(%{name}e : {vector}) {{
  ^bb0(%x: {type_}, %o: {type_}):
    %y = {operation}
    linalg.yield %y : {type_}
  }} -> {vector}"""


def ulps(actual, expected, dtype):
    """Distance in units of the last place of what is expected, or of the
    smallest normal number: below it GPUs and hosts may flush to zero."""
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype)
        same = (actual == rounded) | (np.isnan(actual) & np.isnan(rounded))
        unit = np.spacing(np.abs(rounded)).astype(np.float64)
        same |= np.abs(actual.astype(np.float64) - expected) < np.finfo(dtype).tiny
        distance = np.abs(actual.astype(np.float64) - expected) / unit
    return np.where(same, 0, distance)


@pytest.mark.parametrize("type_", ["f32", "f64"])
def test_functions(tmp_path, type_):
    dtype = np.float32 if type_ == "f32" else np.float64
    column = 2 if type_ == "f32" else 3
    chosen = {name: entry for name, entry in FUNCTIONS.items() if entry[column] is not None}
    inputs = {name: points(entry[1], dtype) for name, entry in chosen.items()}
    body = "".join(
        elementwise(name, type_, x.size, f"math.{name} %x : {type_}") for name, x in inputs.items()
    )
    vectors = [f"tensor<{x.size}x{type_}>" for x in inputs.values()]
    arguments = ", ".join(f"%{name}x: {vector}" for name, vector in zip(inputs, vectors))
    module = tmp_path / "math.mlir"
    module.write_text(
        f"func.func @main({arguments}) -> ({', '.join(vectors)}) {{{body}\n"
        f"  return {', '.join('%' + name for name in inputs)} : {', '.join(vectors)}\n}}\n"
    )
    results = run_module(module, inputs.values(), tmp_path, options=["--target=emulator"])
    wrong = []
    for (name, (reference, *_)), x, y in zip(chosen.items(), inputs.values(), results):
        expected = np.array([reference(float(v)) for v in x])
        errors = ulps(y, expected, dtype)
        # A rounded reference of f64 is itself off by half a unit.
        bound = max(chosen[name][column], 0) + (0.5 if type_ == "f64" else 0)
        for i in np.flatnonzero(~(errors <= bound)):
            wrong.append(f"{name}({x[i]!r}) = {y[i]!r}, not {expected[i]!r}: {errors[i]:.1f}")
    assert not wrong, "\n".join(wrong)


def test_powers_and_angles(tmp_path):
    random = np.random.default_rng(2)
    inf, nan = np.inf, np.nan
    x = np.concatenate([np.exp2(random.uniform(-20, 20, 100)), -np.arange(1, 9), [0.0, -0.0, 1, -1, inf, -inf, nan, 2]])
    y = np.concatenate([random.uniform(-5, 5, 100), np.arange(-4, 4), [3.0, 3, inf, inf, -1, 3, 0, nan]])
    pairs = np.array([(a, b) for a in (0.0, -0.0, 1.0, -1.0, inf, -inf, 0.3) for b in (0.0, -0.0, 1.0, -1.0, inf, -2.5)])
    angles = np.concatenate([pairs, random.normal(size=(116 - len(pairs), 2))])
    x, y, angles = x.astype(np.float32), y.astype(np.float32), angles.astype(np.float32)
    vector = f"tensor<{x.size}xf32>"
    identity = "affine_map<(i) -> (i)>"
    parts = []
    for name, operation in (("p", "math.powf"), ("a", "math.atan2"), ("r", "arith.remf")):
        parts.append(f"""
  %{name}e = tensor.empty() : {vector}
  %{name} = linalg.generic {{indexing_maps = [{identity}, {identity}, {identity}], iterator_types = ["parallel"]}}
      ins(%{'x, %y' if name != 'a' else 's, %t'} : {vector}, {vector}) outs(%{name}e : {vector}) {{
  ^bb0(%l: f32, %r: f32, %o: f32):
    %v = {operation} %l, %r : f32
    linalg.yield %v : f32
  }} -> {vector}""")
    module = tmp_path / "pow.mlir"
    module.write_text(
        f"func.func @main(%x: {vector}, %y: {vector}, %s: {vector}, %t: {vector}) -> ({vector}, {vector}, {vector}) {{"
        + "".join(parts)
        + f"\n  return %p, %a, %r : {vector}, {vector}, {vector}\n}}\n"
    )
    powers, arcs, rests = run_module(
        module, [x, y, angles[:, 0].copy(), angles[:, 1].copy()], tmp_path, options=["--target=emulator"]
    )
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(np.float64), y.astype(np.float64))
        assert ulps(powers, expected, np.float32).max() <= 1
        expected = np.arctan2(angles[:, 0].astype(np.float64), angles[:, 1].astype(np.float64))
        assert ulps(arcs, expected, np.float32).max() <= 1
        expected = np.fmod(x, y)
        assert ulps(rests, expected.astype(np.float64), np.float32).max() == 0
