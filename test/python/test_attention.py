# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Attention kernels of quant-run against numpy in double precision."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from oracle import from_bf16, run, run_module, to_bf16

pytestmark = pytest.mark.quant_opt

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True)
class Case:
    """An attention as importers write it: keys and values of each group of
    heads repeated, batches and heads in one dimension for the products."""

    name: str
    batch: int = 1
    heads: int = 2  # of keys and values
    group: int = 1
    rows: int = 16
    keys: int = 16
    depth: int = 16
    width: int = 16
    mask: str = "none"
    dtype: str = "f32"


CASES = [
    Case("plain"),
    Case("no_mask_odd", heads=3, rows=37, keys=83, depth=20, width=24),
    Case("width_of_one_lane_more", rows=9, keys=65, depth=17, width=33),
    Case("causal", heads=3, group=3, rows=96, keys=96, depth=64, width=64, mask="given"),
    Case("causal_long_past", heads=2, group=2, rows=33, keys=200, depth=32, width=32, mask="given"),
    Case("causal_prime", heads=1, group=4, rows=131, keys=131, depth=64, width=48, mask="given"),
    Case("infinite", heads=2, group=2, rows=70, keys=70, depth=16, width=16, mask="infinite"),
    Case("padding", batch=3, heads=2, group=3, rows=40, keys=150, depth=16, width=32, mask="padding"),
    Case("row_masks_all", heads=2, rows=50, keys=140, depth=16, width=16, mask="row"),
    Case("index", heads=2, group=2, rows=60, keys=190, depth=16, width=16, mask="index"),
    Case("one_row", heads=3, group=3, rows=1, keys=300, depth=64, width=64, mask="past"),
    Case("one_row_one_head_each", heads=5, rows=1, keys=77, depth=20, width=20, mask="past"),
    Case("one_row_bf16", heads=3, group=3, rows=1, keys=130, depth=64, width=64, mask="past", dtype="bf16"),
    # So much work for so few heads that keys are cut into parts.
    Case("parts", heads=3, group=3, rows=1, keys=1100, depth=64, width=64, mask="past"),
    Case("parts_no_mask", heads=1, group=5, rows=1, keys=3000, depth=40, width=24),
    Case("parts_unseen_by_a_row", heads=2, rows=20, keys=800, depth=64, width=64, mask="index"),
    Case("parts_row_masks_all", heads=2, rows=20, keys=800, depth=64, width=64, mask="row"),
    Case("few_rows", heads=2, group=2, rows=3, keys=130, depth=24, width=40, mask="past"),
    Case("long", heads=1, rows=64, keys=3000, depth=16, width=16, mask="infinite"),
    Case("long_few", heads=1, group=2, rows=20, keys=20000, depth=16, width=16),
    Case("bf16", heads=2, group=3, rows=80, keys=80, depth=32, width=32, mask="given", dtype="bf16"),
]


def make_inputs(case):
    """q, k, v and what the mask needs."""
    random = np.random.default_rng(case.rows * 1000 + case.keys)
    q = random.standard_normal((case.batch, case.heads * case.group, case.rows, case.depth), np.float32)
    k = random.standard_normal((case.batch, case.heads, case.keys, case.depth), np.float32)
    v = random.standard_normal((case.batch, case.heads, case.keys, case.width), np.float32)
    row, key = np.mgrid[: case.rows, : case.keys]
    later = key > row + case.keys - case.rows
    if case.mask in ("given", "infinite"):
        lowest = LOWEST if case.mask == "given" else -np.inf
        return q, k, v, np.where(later, np.float32(lowest), np.float32(0))
    if case.mask == "row":
        mask = np.where(later, np.float32(LOWEST), np.float32(0))
        mask[7] = LOWEST
        mask[min(41, case.rows - 1)] = LOWEST
        return q, k, v, mask
    if case.mask == "past":
        known = key[-1] < case.keys // 2
        return q, k, v, np.where(known, np.float32(0), np.float32(LOWEST))[None, :]
    if case.mask == "padding":
        lengths = random.integers(1, case.keys, case.batch)
        return q, k, v, key[:1] < lengths[:, None]
    return q, k, v


def compute(case, q, k, v, *mask):
    """The same in double precision."""
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    k, v = (np.repeat(x, case.group, axis=1) for x in (k, v))
    t = q @ k.swapaxes(-1, -2) * 0.25
    if case.mask == "padding":
        t = np.where(mask[0][:, None, None, :], t, LOWEST)
    elif case.mask == "index":
        row, key = np.mgrid[: case.rows, : case.keys]
        t = np.where(key <= 2 * row, t, -np.inf)
    elif mask:
        # A product is lost in the smallest float.
        t = np.where(mask[0] < -1e30, mask[0].astype(np.float64), t + mask[0])
    e = np.exp(t - t.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True) @ v


def make_module(case):
    b, h, g = case.batch, case.heads, case.group
    all_heads, m, l, d, n = b * h * g, case.rows, case.keys, case.depth, case.width
    t = case.dtype
    scores = f"tensor<{b}x{h * g}x{m}x{l}xf32>"
    row = f"tensor<{b}x{h * g}x{m}xf32>"
    p4 = ", ".join(['"parallel"'] * 4)
    all4, row4 = "affine_map<(b, h, i, j) -> (b, h, i, j)>", "affine_map<(b, h, i, j) -> (b, h, i)>"
    mask_type, mask_map = {
        "padding": (f"tensor<{b}x{l}xi1>", "affine_map<(b, h, i, j) -> (b, j)>"),
        "past": (f"tensor<1x{l}xf32>", "affine_map<(b, h, i, j) -> (0, j)>"),
    }.get(case.mask, (f"tensor<{m}x{l}xf32>", "affine_map<(b, h, i, j) -> (i, j)>"))
    has_mask = case.mask not in ("none", "index")
    bodies = {
        "none": "linalg.yield %scaled : f32",
        "padding": "%t = arith.select %m, %scaled, %lowest : f32\n linalg.yield %t : f32",
        "index": """%i = linalg.index 2 : index
          %j = linalg.index 3 : index
          %twice = arith.addi %i, %i : index
          %keep = arith.cmpi ule, %j, %twice : index
          %t = arith.select %keep, %scaled, %minus : f32
          linalg.yield %t : f32""",
    }
    body = bodies.get(case.mask, "%t = arith.addf %scaled, %m : f32\n linalg.yield %t : f32")

    def repeated(name, size):
        if g == 1:
            return f"%{name}2 = tensor.collapse_shape %{name} [[0, 1], [2], [3]] : tensor<{b}x{h}x{l}x{size}x{t}> into tensor<{all_heads}x{l}x{size}x{t}>"
        return f"""
      %{name}e = tensor.empty() : tensor<{b}x{h}x{g}x{l}x{size}x{t}>
      %{name}1 = linalg.broadcast ins(%{name} : tensor<{b}x{h}x{l}x{size}x{t}>) outs(%{name}e : tensor<{b}x{h}x{g}x{l}x{size}x{t}>) dimensions = [2]
      %{name}2 = tensor.collapse_shape %{name}1 [[0, 1, 2], [3], [4]] : tensor<{b}x{h}x{g}x{l}x{size}x{t}> into tensor<{all_heads}x{l}x{size}x{t}>"""

    weights = f"%weights = tensor.collapse_shape %p [[0, 1], [2], [3]] : {scores} into tensor<{all_heads}x{m}x{l}xf32>"
    weight_type = "f32"
    if t != "f32":
        weight_type = t
        weights = f"""%pe = tensor.empty() : tensor<{b}x{h * g}x{m}x{l}x{t}>
      %pr = linalg.generic {{indexing_maps = [{all4}, {all4}], iterator_types = [{p4}]}} ins(%p : {scores}) outs(%pe : tensor<{b}x{h * g}x{m}x{l}x{t}>) {{
        ^bb0(%x: f32, %o: {t}):
          %r = arith.truncf %x : f32 to {t}
          linalg.yield %r : {t}
      }} -> tensor<{b}x{h * g}x{m}x{l}x{t}>
      %weights = tensor.collapse_shape %pr [[0, 1], [2], [3]] : tensor<{b}x{h * g}x{m}x{l}x{t}> into tensor<{all_heads}x{m}x{l}x{t}>"""
    # Inputs come as f32, with values that the type has.
    f = "" if t == "f32" else "32"
    shapes = {"q": f"{b}x{h * g}x{m}x{d}", "k": f"{b}x{h}x{l}x{d}", "v": f"{b}x{h}x{l}x{n}"}
    narrow = "\n".join(
        f"%{x} = arith.truncf %{x}32 : tensor<{shape}xf32> to tensor<{shape}x{t}>" for x, shape in shapes.items() if f
    )
    mask_argument = f", %mask: {mask_type}" if has_mask else ""
    mask_input = f", %mask : {scores}, {mask_type}" if has_mask else f" : {scores}"
    return f"""
    func.func @main(%q{f}: tensor<{b}x{h * g}x{m}x{d}xf32>, %k{f}: tensor<{b}x{h}x{l}x{d}xf32>,
        %v{f}: tensor<{b}x{h}x{l}x{n}xf32>{mask_argument}) -> tensor<{b}x{h * g}x{m}x{n}xf32> {{
      {narrow}
      %zero = arith.constant 0.0 : f32
      %minus = arith.constant 0xFF800000 : f32
      %lowest = arith.constant 0xFF7FFFFF : f32
      %scale = arith.constant 0.25 : f32
      %q2 = tensor.collapse_shape %q [[0, 1], [2], [3]] : tensor<{b}x{h * g}x{m}x{d}x{t}> into tensor<{all_heads}x{m}x{d}x{t}>
      {repeated("k", d)}
      {repeated("v", n)}
      %kte = tensor.empty() : tensor<{all_heads}x{d}x{l}x{t}>
      %kt = linalg.transpose ins(%k2 : tensor<{all_heads}x{l}x{d}x{t}>) outs(%kte : tensor<{all_heads}x{d}x{l}x{t}>) permutation = [0, 2, 1]
      %se = tensor.empty() : tensor<{all_heads}x{m}x{l}xf32>
      %s0 = linalg.fill ins(%zero : f32) outs(%se : tensor<{all_heads}x{m}x{l}xf32>) -> tensor<{all_heads}x{m}x{l}xf32>
      %s1 = linalg.batch_matmul ins(%q2, %kt : tensor<{all_heads}x{m}x{d}x{t}>, tensor<{all_heads}x{d}x{l}x{t}>) outs(%s0 : tensor<{all_heads}x{m}x{l}xf32>) -> tensor<{all_heads}x{m}x{l}xf32>
      %s = tensor.expand_shape %s1 [[0, 1], [2], [3]] output_shape [{b}, {h * g}, {m}, {l}] : tensor<{all_heads}x{m}x{l}xf32> into {scores}
      %e4 = tensor.empty() : {scores}
      %e3 = tensor.empty() : {row}
      %t = linalg.generic {{indexing_maps = [{all4}{", " + mask_map if has_mask else ""}, {all4}], iterator_types = [{p4}]}} ins(%s{mask_input}) outs(%e4 : {scores}) {{
        ^bb0(%x: f32{", %m: " + mask_type.split("x")[-1][:-1] if has_mask else ""}, %o: f32):
          %scaled = arith.mulf %x, %scale : f32
          {body}
      }} -> {scores}
      %p = linalg.softmax dimension(3) ins(%t : {scores}) outs(%e4 : {scores}) -> {scores}
      {weights}
      %oe = tensor.empty() : tensor<{all_heads}x{m}x{n}xf32>
      %o0 = linalg.fill ins(%zero : f32) outs(%oe : tensor<{all_heads}x{m}x{n}xf32>) -> tensor<{all_heads}x{m}x{n}xf32>
      %o = linalg.batch_matmul ins(%weights, %v2 : tensor<{all_heads}x{m}x{l}x{weight_type}>, tensor<{all_heads}x{l}x{n}x{t}>) outs(%o0 : tensor<{all_heads}x{m}x{n}xf32>) -> tensor<{all_heads}x{m}x{n}xf32>
      %out = tensor.expand_shape %o [[0, 1], [2], [3]] output_shape [{b}, {h * g}, {m}, {n}] : tensor<{all_heads}x{m}x{n}xf32> into tensor<{b}x{h * g}x{m}x{n}xf32>
      return %out : tensor<{b}x{h * g}x{m}x{n}xf32>
    }}"""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_against_numpy(case, tmp_path):
    path = tmp_path / "attention.mlir"
    path.write_text(make_module(case))
    inputs = list(make_inputs(case))
    if case.dtype == "bf16":
        inputs[:3] = [from_bf16(to_bf16(x)) for x in inputs[:3]]
    # It is the kernel that is tested.
    shown = run("quant-run", path, "--random-input=1", "--print-after=fuse")
    assert "call @attention_0" in shown
    (y,) = run_module(path, inputs, tmp_path, name="1")
    expected = compute(case, *inputs)
    np.testing.assert_allclose(y, expected, rtol=0, atol=3e-6 * max(1, np.abs(expected).max()))
    (shared,) = run_module(path, inputs, tmp_path, name="2", threads=3)
    np.testing.assert_array_equal(y, shared)


@pytest.mark.parametrize("case", [case for case in CASES if case.rows >= 32], ids=lambda case: case.name)
def test_products_of_bf16(case, tmp_path):
    """Where other products are not exact, those of many rows are of bf16, unless the processor
    takes longer for them, as those with AMX do."""
    path = tmp_path / "attention.mlir"
    path.write_text(make_module(case))
    inputs = list(make_inputs(case))
    inputs[:3] = [from_bf16(to_bf16(x)) for x in inputs[:3]]
    shown = {
        products: run("quant-run", path, "--random-input=1", "--print-after=fuse", f"--compute={products}")
        for products in ("f32", "i8")
    }
    assert "dpbf16ps" not in shown["f32"]
    flags = Path("/proc/cpuinfo").read_text().split()
    takes_bf16 = "avx512_bf16" in flags and "amx_bf16" not in flags
    assert ("call @llvm.x86.avx512bf16.dpbf16ps.512" in shown["i8"]) == takes_bf16
    (y,) = run_module(path, inputs, tmp_path, ["--compute=i8"], name="1")
    # Weights alone are rounded then, to 8 bits; half of the last one each.
    np.testing.assert_allclose(y, compute(case, *inputs), rtol=0, atol=2**-9 * np.abs(inputs[2]).max())
    (shared,) = run_module(path, inputs, tmp_path, ["--compute=i8"], name="2", threads=3)
    np.testing.assert_array_equal(y, shared)


@pytest.mark.parametrize(
    "case",
    [
        Case("past", heads=1, group=2, rows=1, keys=256, depth=16, width=16, mask="past"),
        Case("parts", heads=3, group=3, rows=1, keys=1024, depth=64, width=64, mask="past"),
        Case("rows", heads=1, rows=64, keys=256, depth=16, width=16, mask="past"),
    ],
    ids=lambda case: case.name,
)
def test_masked_values_are_not_read_into_the_result(case, tmp_path):
    """Blocks of keys that nobody sees may hold anything, as in a cache that
    is not full."""
    path = tmp_path / "attention.mlir"
    path.write_text(make_module(case))
    q, k, v, mask = make_inputs(case)
    seen = case.keys // 2
    k[:, :, seen:] = np.nan
    v[:, :, seen:] = np.nan
    (y,) = run_module(path, [q, k, v, mask], tmp_path)
    half = replace(case, keys=seen, mask="none")
    expected = compute(half, q, k[:, :, :seen], v[:, :, :seen])
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-5)
