# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Whole modules as kernels for a GPU, run by the PTX emulator.

What the same module gives on the host is the reference: it is compared with
numpy and torch elsewhere.
"""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from oracle import REPOSITORY, execute, run, run_module

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
HELD_OUT = REPOSITORY / "examples" / "char-lm" / "heldout.npy"
# Sums in another order: some units in the last place of the largest number.
TOLERANCE = {"f64": 1e-14, "f32": 3e-6, "f16": 2e-3, "bf16": 1.6e-2}


def compare(path, folder, inputs, type_="f32", options=(), tolerance=None):
    """Runs a module on the host and as kernels; returns what the kernels gave."""
    host = run_module(path, inputs, folder, name=".host")
    device = run_module(path, inputs, folder, name=".device", options=["--target=emulator", *options])
    assert len(host) == len(device) > 0
    for expected, actual in zip(host, device):
        assert expected.shape == actual.shape and expected.dtype == actual.dtype
        if expected.dtype.kind in "iub":
            assert np.array_equal(expected, actual)
            continue
        x, y = expected.astype(np.float64), actual.astype(np.float64)
        assert np.isfinite(x).all()
        scale = max(np.abs(x).max(initial=0), 1e-6)
        assert np.abs(x - y).max(initial=0) <= (tolerance or TOLERANCE[type_]) * scale
    return device


def write(folder, text):
    path = folder / "module.mlir"
    path.write_text(text)
    return path


def random_inputs(*shapes, type_="f32", seed=0):
    random = np.random.default_rng(seed)
    dtype = {"f32": np.float32, "f64": np.float64, "f16": np.float16}[type_]
    return [random.normal(size=shape).astype(dtype) for shape in shapes]


# --- one kind of op at a time ---------------------------------------------------


@pytest.mark.parametrize("rows,columns", [(3, 7), (24, 64), (300, 50), (2, 5000), (1, 333)])
def test_softmax(tmp_path, rows, columns):
    t = f"tensor<{rows}x{columns}xf32>"
    path = write(
        tmp_path,
        f"""func.func @main(%x: {t}) -> {t} {{
  %e = tensor.empty() : {t}
  %s = linalg.softmax dimension(1) ins(%x : {t}) outs(%e : {t}) -> {t}
  return %s : {t}
}}""",
    )
    (y,) = compare(path, tmp_path, random_inputs((rows, columns)))
    assert np.allclose(y.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("type_", ["f32", "f64"])
@pytest.mark.parametrize("rows,columns", [(5, 96), (130, 40), (2, 3000)])
def test_layer_norm(tmp_path, rows, columns, type_):
    """Two reductions of one row, the second of what the first gave."""
    t, r = f"tensor<{rows}x{columns}x{type_}>", f"tensor<{rows}x{type_}>"
    whole = "affine_map<(i, j) -> (i, j)>"
    row = "affine_map<(i, j) -> (i)>"
    reduces = 'iterator_types = ["parallel", "reduction"]'
    path = write(
        tmp_path,
        f"""func.func @main(%x: {t}) -> {t} {{
  %zero = arith.constant 0.0 : {type_}
  %n = arith.constant {columns}.0 : {type_}
  %eps = arith.constant 1.0e-5 : {type_}
  %re = tensor.empty() : {r}
  %te = tensor.empty() : {t}
  %f = linalg.fill ins(%zero : {type_}) outs(%re : {r}) -> {r}
  %sum = linalg.generic {{indexing_maps = [{whole}, {row}], {reduces}}} ins(%x : {t}) outs(%f : {r}) {{
  ^bb0(%a: {type_}, %o: {type_}):
    %s = arith.addf %a, %o : {type_}
    linalg.yield %s : {type_}
  }} -> {r}
  %centred = linalg.generic {{indexing_maps = [{whole}, {row}, {whole}], iterator_types = ["parallel", "parallel"]}}
      ins(%x, %sum : {t}, {r}) outs(%te : {t}) {{
  ^bb0(%a: {type_}, %s: {type_}, %o: {type_}):
    %m = arith.divf %s, %n : {type_}
    %c = arith.subf %a, %m : {type_}
    linalg.yield %c : {type_}
  }} -> {t}
  %squares = linalg.generic {{indexing_maps = [{whole}, {row}], {reduces}}} ins(%centred : {t}) outs(%f : {r}) {{
  ^bb0(%a: {type_}, %o: {type_}):
    %q = arith.mulf %a, %a : {type_}
    %s = arith.addf %q, %o : {type_}
    linalg.yield %s : {type_}
  }} -> {r}
  %y = linalg.generic {{indexing_maps = [{whole}, {row}, {whole}], iterator_types = ["parallel", "parallel"]}}
      ins(%centred, %squares : {t}, {r}) outs(%te : {t}) {{
  ^bb0(%a: {type_}, %s: {type_}, %o: {type_}):
    %v = arith.divf %s, %n : {type_}
    %w = arith.addf %v, %eps : {type_}
    %i = math.rsqrt %w : {type_}
    %c = arith.mulf %a, %i : {type_}
    linalg.yield %c : {type_}
  }} -> {t}
  return %y : {t}
}}""",
    )
    compare(path, tmp_path, random_inputs((rows, columns), type_=type_), type_)


CONTRACTIONS = {
    # a, b, result; loops in the order b, m, n, k; sizes of all
    "tiles": ("(m, k)", "(k, n)", "(m, n)", (1, 70, 90, 50)),
    "transposed": ("(k, m)", "(n, k)", "(m, n)", (1, 64, 64, 33)),
    "batched": ("(b, m, k)", "(b, n, k)", "(b, m, n)", (5, 40, 48, 32)),
    "permuted": ("(m, b, k)", "(n, b, k)", "(b, n, m)", (6, 17, 33, 16)),
    "broadcast": ("(b, m, k)", "(n, k)", "(b, m, n)", (3, 20, 24, 40)),
    "one row": ("(m, k)", "(n, k)", "(m, n)", (1, 1, 300, 200)),
    "one row across": ("(m, k)", "(k, n)", "(m, n)", (1, 1, 1500, 64)),
    "long sums": ("(m, k)", "(n, k)", "(m, n)", (1, 2, 3, 5000)),
    "vector": ("(b, k)", "(b, n, k)", "(b, n)", (4, 1, 50, 64)),
}


@pytest.mark.parametrize("type_", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("kind", CONTRACTIONS)
def test_contractions(tmp_path, kind, type_):
    a, b, c, sizes = CONTRACTIONS[kind]
    size = dict(zip("bmnk", sizes))
    loops = [name for name in "bmnk" if any(name in operand for operand in (a, b, c))]
    names = [[n.strip() for n in operand[1:-1].split(",")] for operand in (a, b, c)]
    shapes = [[size[n] for n in operand] for operand in names]
    types = ["tensor<" + "".join(f"{s}x" for s in shape) + f"{type_}>" for shape in shapes]
    wide = [t.replace(f"x{type_}>", "xf32>") for t in types]
    maps = ", ".join(f"affine_map<({', '.join(loops)}) -> {operand}>" for operand in (a, b, c))
    iterators = ", ".join('"reduction"' if n == "k" else '"parallel"' for n in loops)
    cast = "arith.truncf" if type_ != "f32" else None
    narrow = [f"  %{n} = {cast} %{n}w : {w} to {t}\n" for n, w, t in zip("xy", wide, types)] if cast else []
    widen = f"  %rw = arith.extf %r : {types[2]} to {wide[2]}\n" if cast else ""
    arguments = ", ".join(f"%{n}{'w' if cast else ''}: {t}" for n, t in zip("xy", wide))
    path = write(
        tmp_path,
        f"""func.func @main({arguments}) -> {wide[2]} {{
{''.join(narrow)}  %zero = arith.constant 0.0 : {type_}
  %e = tensor.empty() : {types[2]}
  %f = linalg.fill ins(%zero : {type_}) outs(%e : {types[2]}) -> {types[2]}
  %r = linalg.generic {{indexing_maps = [{maps}], iterator_types = [{iterators}]}}
      ins(%x, %y : {types[0]}, {types[1]}) outs(%f : {types[2]}) {{
  ^bb0(%p: {type_}, %q: {type_}, %o: {type_}):
    %m = arith.mulf %p, %q : {type_}
    %s = arith.addf %o, %m : {type_}
    linalg.yield %s : {type_}
  }} -> {types[2]}
{widen}  return %{'rw' if cast else 'r'} : {wide[2]}
}}""",
    )
    compare(path, tmp_path, random_inputs(*shapes[:2]), type_)


def test_added_to_what_is_there(tmp_path):
    """A product whose result starts from a bias."""
    t = "tensor<32x24xf32>"
    path = write(
        tmp_path,
        f"""func.func @main(%x: tensor<32x16xf32>, %w: tensor<16x24xf32>, %c: {t}) -> {t} {{
  %y = linalg.matmul ins(%x, %w : tensor<32x16xf32>, tensor<16x24xf32>) outs(%c : {t}) -> {t}
  return %y : {t}
}}""",
    )
    compare(path, tmp_path, random_inputs((32, 16), (16, 24), (32, 24)))


@pytest.mark.parametrize("type_", ["f32", "f16", "bf16"])
def test_elementwise_and_moves(tmp_path, type_):
    """GELU, a transpose, a slice written next to another, comparisons."""
    t, u = f"tensor<20x30x{type_}>", f"tensor<30x20x{type_}>"
    identity = "affine_map<(i, j) -> (i, j)>"
    tw, uw = "tensor<20x30xf32>", "tensor<30x20xf32>"
    narrow, widen, argument, results = "", "", "%x", "%swapped, %tr"
    if type_ != "f32":
        narrow = f"  %x = arith.truncf %xw : {tw} to {t}\n"
        widen = f"  %sw = arith.extf %swapped : {t} to {tw}\n  %trw = arith.extf %tr : {u} to {uw}\n"
        argument, results = "%xw", "%sw, %trw"
    path = write(
        tmp_path,
        f"""func.func @main({argument}: {tw}) -> ({tw}, {uw}, tensor<20x30xi1>, tensor<20xi64>) {{
{narrow}  %half = arith.constant 0.5 : {type_}
  %one = arith.constant 1.0 : {type_}
  %root = arith.constant 0.70703125 : {type_}
  %e = tensor.empty() : {t}
  %g = linalg.generic {{indexing_maps = [{identity}, {identity}], iterator_types = ["parallel", "parallel"]}}
      ins(%x : {t}) outs(%e : {t}) {{
  ^bb0(%a: {type_}, %o: {type_}):
    %s = arith.mulf %a, %root : {type_}
    %r = math.erf %s : {type_}
    %p = arith.addf %r, %one : {type_}
    %h = arith.mulf %a, %half : {type_}
    %y = arith.mulf %h, %p : {type_}
    linalg.yield %y : {type_}
  }} -> {t}
  %ue = tensor.empty() : {u}
  %tr = linalg.transpose ins(%g : {t}) outs(%ue : {u}) permutation = [1, 0]
  %left = tensor.extract_slice %g[0, 0] [20, 12] [1, 1] : {t} to tensor<20x12x{type_}>
  %right = tensor.extract_slice %g[0, 12] [20, 18] [1, 1] : {t} to tensor<20x18x{type_}>
  %swapped = tensor.concat dim(1) %right, %left : (tensor<20x18x{type_}>, tensor<20x12x{type_}>) -> {t}
  %begin = tensor.extract_slice %x[0, 0] [20, 29] [1, 1] : {t} to tensor<20x29x{type_}>
  %end = tensor.extract_slice %x[0, 29] [20, 1] [1, 1] : {t} to tensor<20x1x{type_}>
  %shifted = tensor.concat dim(1) %end, %begin : (tensor<20x1x{type_}>, tensor<20x29x{type_}>) -> {t}
  %more = arith.cmpf ogt, %x, %shifted : {t}
  %ce = tensor.empty() : tensor<20xi64>
  %zero = arith.constant 0 : i64
  %cf = linalg.fill ins(%zero : i64) outs(%ce : tensor<20xi64>) -> tensor<20xi64>
  %count = linalg.generic {{indexing_maps = [{identity}, affine_map<(i, j) -> (i)>], iterator_types = ["parallel", "reduction"]}}
      ins(%more : tensor<20x30xi1>) outs(%cf : tensor<20xi64>) {{
  ^bb0(%m: i1, %o: i64):
    %w = arith.extui %m : i1 to i64
    %s = arith.addi %w, %o : i64
    linalg.yield %s : i64
  }} -> tensor<20xi64>
{widen}  return {results}, %more, %count : {tw}, {uw}, tensor<20x30xi1>, tensor<20xi64>
}}""",
    )
    compare(path, tmp_path, random_inputs((20, 30)), type_)


def test_gather_inside_a_row(tmp_path):
    """A softmax of gathered rows: the check of the index is inside the tile."""
    path = write(
        tmp_path,
        """func.func @main(%table: tensor<9x64xf32>, %ids: tensor<40xi64>) -> tensor<40x64xf32> {
  %e = tensor.empty() : tensor<40x64xf32>
  %rows = linalg.generic {indexing_maps = [affine_map<(i, j) -> (i)>, affine_map<(i, j) -> (i, j)>],
      iterator_types = ["parallel", "parallel"]} ins(%ids : tensor<40xi64>) outs(%e : tensor<40x64xf32>) {
  ^bb0(%id: i64, %o: f32):
    %row = arith.index_cast %id : i64 to index
    %column = linalg.index 1 : index
    %v = tensor.extract %table[%row, %column] : tensor<9x64xf32>
    linalg.yield %v : f32
  } -> tensor<40x64xf32>
  %s = linalg.softmax dimension(1) ins(%rows : tensor<40x64xf32>) outs(%e : tensor<40x64xf32>) -> tensor<40x64xf32>
  return %s : tensor<40x64xf32>
}""",
    )
    (table,) = random_inputs((9, 64))
    ids = np.random.default_rng(1).integers(0, 9, 40)
    compare(path, tmp_path, [table, ids])
    ids[7] = 9
    np.save(tmp_path / "table.npy", table)
    np.save(tmp_path / "ids.npy", ids)
    inputs = [f"--input={tmp_path / name}.npy" for name in ("table", "ids")]
    done = execute("quant-run", path, *inputs, "--target=emulator")
    assert done.returncode == 1 and b"index out of range in dimension 0" in done.stderr


SCHEMES = {
    "zeros": ("rtn", "group-size=32"),
    "symmetric": ("rtn", "group-size=channel symmetric=true bits=8"),
    "table": ("nf4", "group-size=64"),
    "nested": ("nf4", "group-size=64 double-quant=true"),
    # A group may hold the end of one row and the beginning of the next: no
    # kernel for that, the weight is dequantized.
    "flat": ("rtn", "group-size=50 flat=true"),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("rows", [1, 40])
def test_quantized_linear(tmp_path, scheme, rows):
    x, w, y = f"tensor<{rows}x96xf16>", "tensor<48x96xf16>", f"tensor<{rows}x48xf16>"
    (weight,) = random_inputs((48, 96), type_="f16", seed=3)
    path = write(
        tmp_path,
        f"""func.func @main(%x: {x}) -> {y} {{
  %w = arith.constant dense<"0x{weight.tobytes().hex()}"> : {w}
  %y = lowbit.linear %x, %w {{name = "fc"}} : ({x}, {w}) -> {y}
  %z = arith.addf %y, %y : {y}
  return %z : {y}
}}""",
    )
    method, options = SCHEMES[scheme]
    quantized = tmp_path / "q.mlir"
    run("quant-opt", path, f"--{method}-quantize={options} calibration=none progress=none", "-o", quantized)
    compare(quantized, tmp_path, random_inputs((rows, 96), type_="f16"), "f16", tolerance=4e-3)


# --- the example model ------------------------------------------------------------


def test_model(tmp_path):
    """The logits of a whole window, with float weights and with quantized ones.

    Kernels of quantized weights multiply in bf16, of 8 bits, where x is f32.
    """
    window = np.load(HELD_OUT)[None, :256].astype(np.int64)
    compare(MODEL, tmp_path, [window])
    quantized = tmp_path / "q.mlirbc"
    run("quant-opt", MODEL, "--rtn-quantize=bits=4 group-size=32 progress=none", "-o", quantized)
    (logits,) = compare(quantized, tmp_path, [window], tolerance=2e-2)
    (other,) = run_module(
        quantized, [window], tmp_path, name=".sm90a", options=["--target=emulator", "--chip=sm_90a"]
    )
    assert np.abs(logits - other).max() <= 2e-2 * np.abs(logits).max()


def test_without_a_driver(tmp_path):
    done = execute("quant-run", MODEL, "--random-input=1", "--target=cuda")
    if done.returncode == 0:
        pytest.skip("there is a GPU")
    assert done.returncode == 1
    assert b"error: no CUDA device: " in done.stderr


def find_ptxas():
    package = importlib.util.find_spec("nvidia")
    for folder in package.submodule_search_locations if package else []:
        if (found := Path(folder) / "cu13" / "bin" / "ptxas").exists():
            return str(found)
    return shutil.which("ptxas")


@pytest.mark.parametrize("chip", ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"])
def test_assembler_takes_the_kernels(tmp_path, chip):
    """The PTX of every kernel of ours in the model, without spilled registers."""
    ptxas = find_ptxas()
    if not ptxas:
        pytest.skip("NOT TESTED: no ptxas here; pip install nvidia-cuda-nvcc==13.0.88")
    done = execute(
        "quant-run", MODEL, "--target=emulator", f"--chip={chip}", "--print-after=ptx", "--input=none.npy"
    )
    (text,) = re.findall(rb'gpu\.binary @kernels\s*\[[^"]*"%s"[^"]*"[^"]*"[^"]*assembly = "([^"]*)"' % chip.encode(), done.stdout)
    ptx = re.sub(rb"\\([0-9A-F]{2})", lambda match: bytes([int(match.group(1), 16)]), text)
    (tmp_path / "kernels.ptx").write_bytes(ptx.rstrip(b"\0"))
    assembled = subprocess.run(
        [ptxas, f"-arch={chip}", "-v", "-o", tmp_path / "kernels.cubin", tmp_path / "kernels.ptx"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert assembled.returncode == 0, assembled.stderr
    spills = re.findall(r"(\d+) bytes spill stores", assembled.stderr)
    assert len(spills) >= 10 and set(spills) == {"0"}
