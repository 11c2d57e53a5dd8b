# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Recognising linears keeps the function, for every spelling of a linear.

Each case is a module that runs as it stands and after --lowbit-find-linears;
both must give what numpy computes in float64.
"""

import itertools
import zlib

import numpy as np
import pytest

from oracle import dense, encode, resources, rounded, run, run_module, tensor

pytestmark = pytest.mark.quant_opt


class Module:
    """The text of a case under construction."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(zlib.crc32(seed.encode()))
        self.arguments, self.body, self.blobs = [], [], {}
        self.inputs, self.count = [], 0

    def name(self):
        self.count += 1
        return f"%v{self.count}"

    def random(self, *shape, dtype="f32"):
        return rounded(self.rng.standard_normal(shape), dtype)

    def argument(self, *shape, dtype="f32", dynamic=()):
        """An input; one of half width comes in as f32 and is narrowed."""
        values = self.random(*shape, dtype=dtype)
        self.inputs.append(values)
        place = f"%x{len(self.inputs) - 1}"
        extents = ["?" if i in dynamic else d for i, d in enumerate(shape)]
        self.arguments.append(f"{place}: {tensor(extents)}")
        if dtype != "f32":
            loops = ", ".join(f"d{i}" for i in range(len(shape)))
            same = f"affine_map<({loops}) -> ({loops})>"
            kinds = ", ".join('"parallel"' for _ in shape)
            empty = self.add(f"tensor.empty() : {tensor(extents, dtype)}")
            place = self.add(
                f"linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = [{kinds}]}} "
                f"ins({place} : {tensor(extents)}) outs({empty} : {tensor(extents, dtype)}) {{\n"
                f"  ^bb0(%p: f32, %o: {dtype}):\n    %t = arith.truncf %p : f32 to {dtype}\n"
                f"    linalg.yield %t : {dtype}\n  }} -> {tensor(extents, dtype)}"
            )
        return place, values

    def add(self, text):
        result = self.name()
        self.body.append(f"  {result} = {text}")
        return result

    def constant(self, values, dtype="f32", resource=False):
        if not resource:
            return self.add(f"arith.constant {dense(values, dtype)}")
        key = f"layer{len(self.blobs)}.weight"
        self.blobs[key] = encode(values, dtype)
        return self.add(f"arith.constant dense_resource<{key}> : {tensor(values.shape, dtype)}")

    def zeros(self, *shape, fill=True):
        if not fill:
            return self.add(f"arith.constant dense<0.0> : {tensor(shape)}")
        zero = self.add("arith.constant 0.0 : f32")
        empty = self.add(f"tensor.empty() : {tensor(shape)}")
        return self.add(
            f"linalg.fill ins({zero} : f32) outs({empty} : {tensor(shape)}) -> {tensor(shape)}"
        )

    def transpose(self, value, shape, permutation, dtype="f32"):
        result = [shape[p] for p in permutation]
        empty = self.add(f"tensor.empty() : {tensor(result, dtype)}")
        return self.add(
            f"linalg.transpose ins({value} : {tensor(shape, dtype)}) "
            f"outs({empty} : {tensor(result, dtype)}) permutation = {list(permutation)}"
        )

    def named(self, op, a, a_type, b, b_type, out, out_type, maps=None, attributes=""):
        spelled = f" indexing_maps = [{', '.join(maps)}]" if maps else ""
        return self.add(
            f"linalg.{op}{spelled}{attributes} ins({a}, {b} : {a_type}, {b_type}) "
            f"outs({out} : {out_type}) -> {out_type}"
        )

    def contraction(self, loops, a, b, out, reductions, swap=False):
        """linalg.generic of value, type and index list for a, b and out."""
        maps = [f"affine_map<({loops}) -> ({operand[2]})>" for operand in (a, b, out)]
        kinds = [
            '"reduction"' if loop in reductions else '"parallel"' for loop in loops.split(", ")
        ]

        def widened(value, operand):
            kind = operand[1].rstrip(">").split("x")[-1]
            kind = kind.removeprefix("tensor<")
            return (value, "") if kind == "f32" else (
                value + "f",
                f"    {value}f = arith.extf {value} : {kind} to f32\n",
            ), kind

        (pa, kind_a), (pb, kind_b) = widened("%p", a), widened("%q", b)
        factors = f"{pb[0]}, {pa[0]}" if swap else f"{pa[0]}, {pb[0]}"
        total = "%t, %o" if swap else "%o, %t"
        return self.add(
            f"linalg.generic {{indexing_maps = [{', '.join(maps)}], "
            f"iterator_types = [{', '.join(kinds)}]}} "
            f"ins({a[0]}, {b[0]} : {a[1]}, {b[1]}) outs({out[0]} : {out[1]}) {{\n"
            f"  ^bb0(%p: {kind_a}, %q: {kind_b}, %o: f32):\n{pa[1]}{pb[1]}"
            f"    %t = arith.mulf {factors} : f32\n    %s = arith.addf {total} : f32\n"
            f"    linalg.yield %s : f32\n  }} -> {out[1]}"
        )

    def text(self, results):
        """`results`: (value, shape or type) of each."""
        types = ", ".join(t if isinstance(t, str) else tensor(t) for _, t in results)
        values = ", ".join(v for v, _ in results)
        text = f"func.func @main({', '.join(self.arguments)}) -> ({types}) {{\n"
        text += "\n".join(self.body) + f"\n  return {values} : {types}\n}}\n"
        return text + (resources(self.blobs) if self.blobs else "")


NK = "affine_map<(m, n, k) -> (n, k)>"
MK = "affine_map<(m, n, k) -> (m, k)>"
MN = "affine_map<(m, n, k) -> (m, n)>"

# Each spelling returns its results and, for each, the subscripts, operands and
# addend that numpy is to compute it from.


def transposed_constant(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    t = b.transpose(b.constant(w, dtype, resource=True), (n, k), (1, 0), dtype)
    y = b.named(
        "matmul", x, tensor((m, k), dtype), t, tensor((k, n), dtype), b.zeros(m, n), tensor((m, n))
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w, 0)]


def matmul_with_maps(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        c,
        tensor((n, k), dtype),
        b.zeros(m, n, fill=False),
        tensor((m, n)),
        maps=[MK, NK, MN],
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w, 0)]


def stored_kn(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.named(
        "matmul", x, tensor((m, k), dtype), c, tensor((k, n), dtype), b.zeros(m, n), tensor((m, n))
    )
    return [(y, (m, n))], [("mk,kn->mn", xv, w, 0)]


def dynamic_rows(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dynamic=(0,))
    w = b.random(n, k)
    c, zero = b.constant(w), b.add("arith.constant 0.0 : f32")
    index = b.add("arith.constant 0 : index")
    rows = b.add(f"tensor.dim {x}, {index} : {tensor(('?', k))}")
    y_type = tensor(("?", n))
    empty = b.add(f"tensor.empty({rows}) : {y_type}")
    fill = b.add(f"linalg.fill ins({zero} : f32) outs({empty} : {y_type}) -> {y_type}")
    y = b.named(
        "matmul", x, tensor(("?", k)), c, tensor((n, k)), fill, y_type, maps=[MK, NK, MN]
    )
    return [(y, y_type)], [("mk,nk->mn", xv, w, 0)]


def broadcast_weight(b, m, n, k, dtype):
    x, xv = b.argument(2, m, k, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    t = b.transpose(b.constant(w, dtype), (n, k), (1, 0), dtype)
    empty = b.add(f"tensor.empty() : {tensor((2, k, n), dtype)}")
    wide = b.add(
        f"linalg.broadcast ins({t} : {tensor((k, n), dtype)}) "
        f"outs({empty} : {tensor((2, k, n), dtype)}) dimensions = [0]"
    )
    y = b.named(
        "batch_matmul",
        x,
        tensor((2, m, k), dtype),
        wide,
        tensor((2, k, n), dtype),
        b.zeros(2, m, n),
        tensor((2, m, n)),
    )
    return [(y, (2, m, n))], [("bmk,nk->bmn", xv, w, 0)]


def generic_broadcast_weight(b, m, n, k, dtype):
    x, xv = b.argument(2, m, k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    wide_type = tensor((2, k, n), dtype)
    empty = b.add(f"tensor.empty() : {wide_type}")
    wide = b.add(
        "linalg.generic {indexing_maps = [affine_map<(b, k, n) -> (k, n)>, "
        "affine_map<(b, k, n) -> (b, k, n)>], "
        'iterator_types = ["parallel", "parallel", "parallel"]} '
        f"ins({c} : {tensor((k, n), dtype)}) outs({empty} : {wide_type}) {{\n"
        f"  ^bb0(%i: {dtype}, %o: {dtype}):\n    linalg.yield %i : {dtype}\n  }} -> {wide_type}"
    )
    y = b.named(
        "batch_matmul",
        x,
        tensor((2, m, k), dtype),
        wide,
        wide_type,
        b.zeros(2, m, n),
        tensor((2, m, n)),
    )
    return [(y, (2, m, n))], [("bmk,kn->bmn", xv, w, 0)]


def batch_of_one(b, m, n, k, dtype):
    x, xv = b.argument(1, m, k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype)
    wide = b.add(
        f"tensor.expand_shape {c} [[0, 1], [2]] output_shape [1, {k}, {n}] : "
        f"{tensor((k, n), dtype)} into {tensor((1, k, n), dtype)}"
    )
    y = b.named(
        "batch_matmul",
        x,
        tensor((1, m, k), dtype),
        wide,
        tensor((1, k, n), dtype),
        b.zeros(1, m, n),
        tensor((1, m, n)),
    )
    return [(y, (1, m, n))], [("bmk,kn->bmn", xv, w, 0)]


def two_n_dimensions(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(k, n, 3, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.contraction(
        "m, h, d, k",
        (x, tensor((m, k), dtype), "m, k"),
        (c, tensor((k, n, 3), dtype), "k, h, d"),
        (b.zeros(m, n, 3), tensor((m, n, 3)), "m, h, d"),
        "k",
    )
    return [(y, (m, n, 3))], [("mk,khd->mhd", xv, w, 0)]


def n_dimensions_around_m(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(3, n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.contraction(
        "h, m, d, k",
        (x, tensor((m, k), dtype), "m, k"),
        (c, tensor((3, n, k), dtype), "h, d, k"),
        (b.zeros(n, m, 3), tensor((n, m, 3)), "d, m, h"),
        "k",
        swap=True,
    )
    return [(y, (n, m, 3))], [("mk,hdk->dmh", xv, w, 0)]


def two_k_dimensions(b, m, n, k, dtype):
    x, xv = b.argument(m, 3, k, dtype=dtype)
    w = b.random(3, k, n, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.contraction(
        "m, n, h, d",
        (x, tensor((m, 3, k), dtype), "m, h, d"),
        (c, tensor((3, k, n), dtype), "h, d, n"),
        (b.zeros(m, n), tensor((m, n)), "m, n"),
        ("h", "d"),
        swap=True,
    )
    return [(y, (m, n))], [("mhd,hdn->mn", xv, w, 0)]


def k_dimensions_in_another_order(b, m, n, k, dtype):
    x, xv = b.argument(k, m, 2, dtype=dtype)
    w = b.random(2, n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.contraction(
        "n, d, m, h",
        (x, tensor((k, m, 2), dtype), "d, m, h"),
        (c, tensor((2, n, k), dtype), "h, n, d"),
        (b.zeros(n, m), tensor((n, m)), "n, m"),
        ("h", "d"),
    )
    return [(y, (n, m))], [("dmh,hnd->nm", xv, w, 0)]


def weight_on_the_left(b, m, n, k, dtype):
    x, xv = b.argument(k, m, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.named(
        "matmul", c, tensor((n, k), dtype), x, tensor((k, m), dtype), b.zeros(n, m), tensor((n, m))
    )
    return [(y, (n, m))], [("km,nk->nm", xv, w, 0)]


def transposed_weight_on_the_left(b, m, n, k, dtype):
    x, xv = b.argument(k, m, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    t = b.transpose(b.constant(w, dtype), (k, n), (1, 0), dtype)
    y = b.named(
        "matmul", t, tensor((n, k), dtype), x, tensor((k, m), dtype), b.zeros(n, m), tensor((n, m))
    )
    return [(y, (n, m))], [("km,kn->nm", xv, w, 0)]


def vecmat(b, m, n, k, dtype):
    x, xv = b.argument(k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype)
    y_type = tensor((n,))
    y = b.named("vecmat", x, tensor((k,), dtype), c, tensor((k, n), dtype), b.zeros(n), y_type)
    return [(y, (n,))], [("k,kn->n", xv, w, 0)]


def matvec(b, m, n, k, dtype):
    x, xv = b.argument(k, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y_type = tensor((n,))
    y = b.named("matvec", c, tensor((n, k), dtype), x, tensor((k,), dtype), b.zeros(n), y_type)
    return [(y, (n,))], [("k,nk->n", xv, w, 0)]


def dot(b, m, n, k, dtype):
    x, xv = b.argument(k, dtype=dtype)
    w = b.random(k, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.named("dot", c, tensor((k,), dtype), x, tensor((k,), dtype), b.zeros(), "tensor<f32>")
    return [(y, ())], [("k,k->", xv, w, 0)]


CONV = " {dilations = dense<1> : tensor<2xi64>, strides = dense<1> : tensor<2xi64>}"


def conv_nchw(b, m, n, k, dtype):
    x, xv = b.argument(2, k, m, 3, dtype=dtype)
    w = b.random(n, k, 1, 1, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.named(
        "conv_2d_nchw_fchw",
        x,
        tensor(xv.shape, dtype),
        c,
        tensor(w.shape, dtype),
        b.zeros(2, n, m, 3),
        tensor((2, n, m, 3)),
        attributes=CONV,
    )
    return [(y, (2, n, m, 3))], [("bkij,nkuv->bnij", xv, w, 0)]


def conv_nhwc(b, m, n, k, dtype):
    x, xv = b.argument(1, m, 3, k, dtype=dtype)
    w = b.random(1, 1, k, n, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.named(
        "conv_2d_nhwc_hwcf",
        x,
        tensor(xv.shape, dtype),
        c,
        tensor(w.shape, dtype),
        b.zeros(1, m, 3, n),
        tensor((1, m, 3, n)),
        attributes=CONV,
    )
    return [(y, (1, m, 3, n))], [("bijk,uvkn->bijn", xv, w, 0)]


def rows_of_a_fused_weight(b, m, n, k, dtype):
    """q, k and v as slices of one constant, each transposed."""
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(3 * n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    results, expected = [], []
    for part in range(3):
        piece = b.add(
            f"tensor.extract_slice {c}[{part * n}, 0] [{n}, {k}] [1, 1] : "
            f"{tensor(w.shape, dtype)} to {tensor((n, k), dtype)}"
        )
        t = b.transpose(piece, (n, k), (1, 0), dtype)
        y = b.named(
            "matmul",
            x,
            tensor((m, k), dtype),
            t,
            tensor((k, n), dtype),
            b.zeros(m, n),
            tensor((m, n)),
        )
        results.append((y, (m, n)))
        expected.append(("mk,nk->mn", xv, w[part * n : (part + 1) * n], 0))
    return results, expected


def columns_of_a_transposed_weight(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(n + 4, k + 3, dtype=dtype)
    t = b.transpose(b.constant(w, dtype), w.shape, (1, 0), dtype)
    piece = b.add(
        f"tensor.extract_slice {t}[2, 1] [{k}, {n}] [1, 1] : "
        f"{tensor((k + 3, n + 4), dtype)} to {tensor((k, n), dtype)}"
    )
    y = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        piece,
        tensor((k, n), dtype),
        b.zeros(m, n),
        tensor((m, n)),
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w[1 : n + 1, 2 : k + 2], 0)]


def slice_that_drops_a_dimension(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(3, n, k, dtype=dtype)
    c = b.constant(w, dtype)
    piece = b.add(
        f"tensor.extract_slice {c}[2, 0, 0] [1, {n}, {k}] [1, 1, 1] : "
        f"{tensor(w.shape, dtype)} to {tensor((n, k), dtype)}"
    )
    y = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        piece,
        tensor((n, k), dtype),
        b.zeros(m, n),
        tensor((m, n)),
        maps=[MK, NK, MN],
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w[2], 0)]


def collapsed_weight(b, m, n, k, dtype):
    """[n, 2, k] seen as [2n, k] and used from the transposed side."""
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(n, 2, k, dtype=dtype)
    c = b.constant(w, dtype)
    flat = b.add(
        f"tensor.collapse_shape {c} [[0, 1], [2]] : "
        f"{tensor(w.shape, dtype)} into {tensor((2 * n, k), dtype)}"
    )
    t = b.transpose(flat, (2 * n, k), (1, 0), dtype)
    y = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        t,
        tensor((k, 2 * n), dtype),
        b.zeros(m, 2 * n),
        tensor((m, 2 * n)),
    )
    return [(y, (m, 2 * n))], [("mk,nk->mn", xv, w.reshape(2 * n, k), 0)]


def bias_as_initial_value(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w, bias = b.random(n, k, dtype=dtype), b.random(n)
    c, v = b.constant(w, dtype), b.constant(bias)
    empty = b.add(f"tensor.empty() : {tensor((m, n))}")
    init = b.add(
        f"linalg.broadcast ins({v} : {tensor((n,))}) "
        f"outs({empty} : {tensor((m, n))}) dimensions = [0]"
    )
    y = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        c,
        tensor((n, k), dtype),
        init,
        tensor((m, n)),
        maps=[MK, NK, MN],
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w, bias)]


def residual_as_initial_value(b, m, n, k, dtype):
    """Accumulates onto an input, with the result the other way round."""
    x, xv = b.argument(k, m, dtype=dtype)
    r, rv = b.argument(n, m)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.named("matmul", c, tensor((n, k), dtype), x, tensor((k, m), dtype), r, tensor((n, m)))
    return [(y, (n, m))], [("km,nk->nm", xv, w, rv)]


def leading_dimensions(b, m, n, k, dtype):
    x, xv = b.argument(2, m, 3, k, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.contraction(
        "b, m, h, n, k",
        (x, tensor(xv.shape, dtype), "b, m, h, k"),
        (c, tensor((n, k), dtype), "n, k"),
        (b.zeros(2, m, 3, n), tensor((2, m, 3, n)), "b, m, h, n"),
        "k",
    )
    return [(y, (2, m, 3, n))], [("bmhk,nk->bmhn", xv, w, 0)]


def permuted_leading_dimensions(b, m, n, k, dtype):
    x, xv = b.argument(2, k, m, 3, dtype=dtype)
    w = b.random(n, k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.contraction(
        "n, b, k, m, h",
        (x, tensor(xv.shape, dtype), "b, k, m, h"),
        (c, tensor((n, k), dtype), "n, k"),
        (b.zeros(3, n, 2, m), tensor((3, n, 2, m)), "h, n, b, m"),
        "k",
    )
    return [(y, (3, n, 2, m))], [("bkmh,nk->hnbm", xv, w, 0)]


def unit_dimensions(b, m, n, k, dtype):
    x, xv = b.argument(1, m, 1, k, 1, dtype=dtype)
    w = b.random(1, n, 1, k, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.contraction(
        "a, m, c, n, k, e",
        (x, tensor(xv.shape, dtype), "a, m, c, k, e"),
        (c, tensor(w.shape, dtype), "a, n, e, k"),
        (b.zeros(1, n, 1, m), tensor((1, n, 1, m)), "a, n, c, m"),
        ("k", "e"),
    )
    return [(y, (1, n, 1, m))], [("amcke,anek->ancm", xv, w, 0)]


def batch_matmul_that_broadcasts(b, m, n, k, dtype):
    x, xv = b.argument(2, m, k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype)
    y = b.named(
        "batch_matmul",
        x,
        tensor((2, m, k), dtype),
        c,
        tensor((k, n), dtype),
        b.zeros(2, m, n),
        tensor((2, m, n)),
        maps=[
            "affine_map<(b, m, n, k) -> (b, m, k)>",
            "affine_map<(b, m, n, k) -> (k, n)>",
            "affine_map<(b, m, n, k) -> (b, m, n)>",
        ],
    )
    return [(y, (2, m, n))], [("bmk,kn->bmn", xv, w, 0)]


def contract_op(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(k, n, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y = b.named(
        "contract",
        x,
        tensor((m, k), dtype),
        c,
        tensor((k, n), dtype),
        b.zeros(m, n),
        tensor((m, n)),
        maps=[MK, "affine_map<(m, n, k) -> (k, n)>", MN],
    )
    return [(y, (m, n))], [("mk,kn->mn", xv, w, 0)]


def one_weight_twice(b, m, n, k, dtype):
    """As [N, K] and as [K, N] of one constant, with different inputs."""
    w = b.random(n, k, dtype=dtype)
    x, xv = b.argument(m, k, dtype=dtype)
    z, zv = b.argument(m, n, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    y0 = b.named(
        "matmul",
        x,
        tensor((m, k), dtype),
        c,
        tensor((n, k), dtype),
        b.zeros(m, n),
        tensor((m, n)),
        maps=[MK, NK, MN],
    )
    y1 = b.named(
        "matmul", z, tensor((m, n), dtype), c, tensor((n, k), dtype), b.zeros(m, k), tensor((m, k))
    )
    return [(y0, (m, n)), (y1, (m, k))], [("mk,nk->mn", xv, w, 0), ("mn,nk->mk", zv, w, 0)]


def one_value_everywhere(b, m, n, k, dtype):
    x, xv = b.argument(m, k, dtype=dtype)
    t = tensor((k, n), dtype)
    c = b.add(f"arith.constant dense<0.75> : {t}")
    y = b.named("matmul", x, tensor((m, k), dtype), c, t, b.zeros(m, n), tensor((m, n)))
    return [(y, (m, n))], [("mk,kn->mn", xv, np.full((k, n), 0.75), 0)]


def conv_ncw(b, m, n, k, dtype):
    x, xv = b.argument(2, k, m, dtype=dtype)
    w = b.random(n, k, 1, dtype=dtype)
    y = b.named(
        "conv_1d_ncw_fcw",
        x,
        tensor(xv.shape, dtype),
        b.constant(w, dtype),
        tensor(w.shape, dtype),
        b.zeros(2, n, m),
        tensor((2, n, m)),
        attributes=CONV.replace("<2x", "<1x"),
    )
    return [(y, (2, n, m))], [("bkm,nku->bnm", xv, w, 0)]


def flat_weight(b, m, n, k, dtype):
    """Stored as one row of numbers, shaped and transposed in the graph."""
    x, xv = b.argument(m, k, dtype=dtype)
    w = b.random(n * k, dtype=dtype)
    c = b.constant(w, dtype, resource=True)
    wide = b.add(
        f"tensor.expand_shape {c} [[0, 1]] output_shape [{n}, {k}] : "
        f"{tensor((n * k,), dtype)} into {tensor((n, k), dtype)}"
    )
    t = b.transpose(wide, (n, k), (1, 0), dtype)
    y_type = tensor((m, n))
    y = b.named(
        "matmul", x, tensor((m, k), dtype), t, tensor((k, n), dtype), b.zeros(m, n), y_type
    )
    return [(y, (m, n))], [("mk,nk->mn", xv, w.reshape(n, k), 0)]


SPELLINGS = [
    transposed_constant,
    matmul_with_maps,
    stored_kn,
    dynamic_rows,
    broadcast_weight,
    generic_broadcast_weight,
    batch_of_one,
    two_n_dimensions,
    n_dimensions_around_m,
    two_k_dimensions,
    k_dimensions_in_another_order,
    weight_on_the_left,
    transposed_weight_on_the_left,
    vecmat,
    matvec,
    dot,
    conv_nchw,
    conv_nhwc,
    rows_of_a_fused_weight,
    columns_of_a_transposed_weight,
    slice_that_drops_a_dimension,
    collapsed_weight,
    bias_as_initial_value,
    residual_as_initial_value,
    leading_dimensions,
    permuted_leading_dimensions,
    unit_dimensions,
    batch_matmul_that_broadcasts,
    contract_op,
    one_weight_twice,
    one_value_everywhere,
    conv_ncw,
    flat_weight,
]


def _cases():
    """Every spelling in two or three of the shapes, each shape with many spellings."""
    shapes = [(5, 7, 25), (4, 3, 80), (3, 2, 257), (6, 1, 80), (1, 5, 25), (1, 1, 257)]
    types = ["f32", "f32", "bf16", "f32", "f16"]
    pick = itertools.count()
    for spelling in SPELLINGS:
        for shape in range(2):
            i = next(pick)
            m, n, k = shapes[(i + shape * 3) % len(shapes)]
            # dynamic_rows and a weight that is [K, N] of itself keep f32.
            dtype = "f32" if spelling is dynamic_rows else types[i % len(types)]
            if spelling is one_weight_twice:
                n = max(n, 2)
            yield pytest.param(
                spelling, m, n, k, dtype, id=f"{spelling.__name__}-{m}x{n}x{k}-{dtype}"
            )


@pytest.mark.parametrize("spelling, m, n, k, dtype", list(_cases()))
def test_find_linears_keeps_the_function(spelling, m, n, k, dtype, tmp_path):
    builder = Module(f"{spelling.__name__} {m} {n} {k} {dtype}")
    results, expected = spelling(builder, m, n, k, dtype)
    (tmp_path / "raw.mlir").write_text(builder.text(results))
    found = run("quant-opt", tmp_path / "raw.mlir", "--lowbit-find-linears")
    (tmp_path / "found.mlir").write_text(found)
    assert found.count("= lowbit.linear ") == len(results), found
    assert "lowbit.refused" not in found

    raw = run_module(tmp_path / "raw.mlir", builder.inputs, tmp_path)
    linear = run_module(tmp_path / "found.mlir", builder.inputs, tmp_path)
    assert len(raw) == len(linear) == len(expected)
    for before, after, (subscripts, x, w, addend) in zip(raw, linear, expected):
        x, w = x.astype(np.float64), w.astype(np.float64)
        reference = np.einsum(subscripts, x, w) + addend
        room = 1e-5 * (np.einsum(subscripts, abs(x), abs(w)) + abs(addend))
        assert before.shape == after.shape == reference.shape
        assert (abs(before - reference) <= room).all(), "quant-run of the raw module is wrong"
        assert (abs(after - reference) <= room).all(), "find-linears changed the function"
        assert (abs(after - before) <= room).all()


def strided_slice(b, m, n, k):
    """Every other row of a constant."""
    x, xv = b.argument(m, k)
    w = b.random(2 * n, k)
    piece = b.add(
        f"tensor.extract_slice {b.constant(w)}[1, 0] [{n}, {k}] [2, 1] : "
        f"{tensor((2 * n, k))} to {tensor((n, k))}"
    )
    types = tensor((m, k)), tensor((n, k)), tensor((m, n))
    y = b.named(
        "matmul", x, types[0], piece, types[1], b.zeros(m, n), types[2], maps=[MK, NK, MN]
    )
    return [(y, (m, n))], ("mk,nk->mn", xv, w[1::2])


def depthwise(b, m, n, k):
    """Each channel has a vector of its own, none a matrix."""
    x, xv = b.argument(n, m, k)
    w = b.random(n, k)
    y = b.contraction(
        "c, m, k",
        (x, tensor((n, m, k)), "c, m, k"),
        (b.constant(w), tensor((n, k)), "c, k"),
        (b.zeros(n, m), tensor((n, m)), "c, m"),
        "k",
    )
    return [(y, (n, m))], ("cmk,ck->cm", xv, w)


def conv_with_stride(b, m, n, k):
    x, xv = b.argument(1, k, 2 * m, 4)
    w = b.random(n, k, 1, 1)
    y = b.named(
        "conv_2d_nchw_fchw",
        x,
        tensor(xv.shape),
        b.constant(w),
        tensor(w.shape),
        b.zeros(1, n, m, 2),
        tensor((1, n, m, 2)),
        attributes=CONV.replace("strides = dense<1>", "strides = dense<2>"),
    )
    return [(y, (1, n, m, 2))], ("bkij,nkuv->bnij", xv[:, :, ::2, ::2], w)


def summed_weight(b, m, n, k):
    """A weight without a K of its own: the sum of x times a vector."""
    x, xv = b.argument(m, k)
    w = b.random(n)
    y = b.contraction(
        "m, n, k",
        (x, tensor((m, k)), "m, k"),
        (b.constant(w), tensor((n,)), "n"),
        (b.zeros(m, n), tensor((m, n)), "m, n"),
        "k",
    )
    return [(y, (m, n))], ("mk,n->mn", xv, w)


def dynamic_rows_between_two_n(b, m, n, k):
    x, xv = b.argument(k, m, dynamic=(1,))
    w = b.random(2, n, k)
    one, zero = b.add("arith.constant 1 : index"), b.add("arith.constant 0.0 : f32")
    rows = b.add(f"tensor.dim {x}, {one} : {tensor((k, '?'))}")
    y_type = tensor((2, "?", n))
    empty = b.add(f"tensor.empty({rows}) : {y_type}")
    fill = b.add(f"linalg.fill ins({zero} : f32) outs({empty} : {y_type}) -> {y_type}")
    y = b.contraction(
        "a, m, b, k",
        (x, tensor((k, "?")), "k, m"),
        (b.constant(w), tensor((2, n, k)), "a, b, k"),
        (fill, y_type, "a, m, b"),
        "k",
    )
    return [(y, y_type)], ("km,abk->amb", xv, w)


@pytest.mark.parametrize(
    "spelling",
    [strided_slice, depthwise, conv_with_stride, summed_weight, dynamic_rows_between_two_n],
    ids=lambda spelling: spelling.__name__,
)
def test_what_is_refused_stays_as_it_was(spelling, tmp_path):
    builder = Module(spelling.__name__)
    results, (subscripts, x, w) = spelling(builder, 5, 3, 8)
    (tmp_path / "raw.mlir").write_text(builder.text(results))
    found = run("quant-opt", tmp_path / "raw.mlir", "--lowbit-find-linears")
    (tmp_path / "found.mlir").write_text(found)
    assert "lowbit.linear" not in found and found.count("lowbit.refused = ") == 1, found
    reference = np.einsum(subscripts, x.astype(np.float64), w.astype(np.float64))
    for path in ("raw.mlir", "found.mlir"):
        (y,) = run_module(tmp_path / path, builder.inputs, tmp_path)
        np.testing.assert_allclose(y, reference, rtol=1e-5, atol=1e-5, err_msg=path)
