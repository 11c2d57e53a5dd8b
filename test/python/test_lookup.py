# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Embeddings that read rows of a quantized weight, against planes decoded in numpy."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from oracle import decode, encode, execute, read_weights, resources, rounded, run, run_module, tensor
from tables import read_tables

pytestmark = pytest.mark.quant_opt

ROWS, COLUMNS = 37, 100  # no multiple of a block of any layout
IDS = (2, 9)

# Each kind of scheme: widths that are one, two and three pieces, and a short last group.
SCHEMES = [
    "bits=4 group-size=64",
    "bits=2 group-size=16 zero=float scale-type=f32",
    "bits=3 group-size=100 zero=none",
    "bits=5 group-size=32 scale-type=bf16",
    "bits=7 group-size=channel zero=float",
    "bits=8 group-size=48",
    "bits=4 group-size=tensor",
    "table=nf4 group-size=64 scale-type=f32",
    "table=nf4 flat group-size=64 double-quant",
    "table=nvfp4",
]


def module(dtype="f32", ids=IDS, checks=True, tied=True):
    """As importers write it: rows of a table, which, if `tied`, is the weight of the last layer too."""
    rank = len(ids)
    loops = ", ".join(f"d{i}" for i in range(rank + 1))
    leading = ", ".join(f"d{i}" for i in range(rank))
    table, x, y = tensor((ROWS, COLUMNS), dtype), tensor((*ids, COLUMNS), dtype), tensor((*ids, ROWS))
    head = "table" if tied else "head"
    asserts = """
    %low = arith.cmpi slt, %i, %rows : index
    cf.assert %low, "index must be smaller than dim size"
    %high = arith.cmpi sge, %in, %zero : i64
    cf.assert %high, "index must be larger or equal to 0\""""
    return f"""func.func @main(%ids: {tensor(ids, "i64")}) -> ({x}, {y}) {{
  %rows = arith.constant {ROWS} : index
  %zero = arith.constant 0 : i64
  %t = arith.constant dense_resource<table.weight> : {table}
  %h = arith.constant dense_resource<{head}.weight> : {table}
  %0 = tensor.empty() : {x}
  %e = linalg.generic {{
      indexing_maps = [affine_map<({loops}) -> ({leading})>, affine_map<({loops}) -> ({loops})>],
      iterator_types = [{", ".join(['"parallel"'] * (rank + 1))}]}}
      ins(%ids : {tensor(ids, "i64")}) outs(%0 : {x}) {{
  ^bb0(%in: i64, %out: {dtype}):
    %i = arith.index_cast %in : i64 to index
    %k = linalg.index {rank} : index{asserts if checks else ""}
    %v = tensor.extract %t[%i, %k] : {table}
    linalg.yield %v : {dtype}
  }} -> {x}
  %y = lowbit.linear %e, %h {{name = "{head}"}} : ({x}, {table}) -> {y}
  return %e, %y : {x}, {y}
}}
"""


def table(seed=0):
    values = np.random.default_rng(seed).standard_normal((ROWS, COLUMNS))
    values[3] *= 100
    values[5] = 0
    return values.astype(np.float32)


def float_module(folder, dtype="f32", tied=True, **how):
    weights = {"table.weight": encode(table(), dtype)}
    if not tied:
        weights["head.weight"] = encode(table(seed=1), dtype)
    path = folder / "float.mlir"
    path.write_text(module(dtype, tied=tied, **how) + resources(weights))
    return path


def quantize(folder, scheme, dtype="f32", tied=True, **how):
    """The quantized module, and the matrices by name that its planes mean."""
    source = float_module(folder, dtype, tied, **how)
    option = "tied=quantize" if tied else "embeddings=quantize"
    path = folder / "quantized.mlir"
    path.write_text(
        run("quant-opt", source, f"--rtn-quantize={option} {scheme} progress=none")
    )
    read = read_tables if "table=" in scheme else read_weights
    return path, {name: weight.dequantized() for name, weight in read(path.read_text()).items()}


def indices(ids=IDS, seed=1):
    chosen = np.random.default_rng(seed).integers(0, ROWS, ids)
    chosen.flat[:3] = (0, ROWS - 1, 5)
    return chosen


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "alone"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_are_those_of_the_planes(scheme, tied, tmp_path):
    path, matrices = quantize(tmp_path, scheme, tied=tied)
    expected, head = matrices["table"], matrices["table" if tied else "head"]
    assert "lowbit.lookup" in path.read_text() and "table.weight" not in path.read_text()
    ids = indices()
    paths = [path]
    if "flat" not in scheme:
        for target in ("cpu", "nvptx"):
            paths.append(tmp_path / f"{target}.mlir")
            run("quant-opt", path, f"--lowbit-pack=target={target}", "-o", paths[-1])
            # Each weight and what reads it.
            packed = re.findall(f"#lowbit.layout<{target}>", paths[-1].read_text())
            assert len(packed) == (3 if tied else 4)
    lowered = tmp_path / "linalg.mlir"
    run("quant-opt", path, "--lowbit-to-linalg", "-o", lowered)
    for each in [*paths, lowered]:
        rows, y = run_module(each, [ids], tmp_path)
        assert np.array_equal(rows, expected[ids]), each.name
        np.testing.assert_allclose(y, rows @ head.T, rtol=1e-4, atol=1e-3 * np.abs(y).max())


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "alone"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_rows_on_a_gpu(scheme, tied, tmp_path):
    path, matrices = quantize(tmp_path, scheme, tied=tied)
    ids = indices()
    rows, _ = run_module(path, [ids], tmp_path, options=["--target=emulator", "--chip=sm_90a"])
    np.testing.assert_allclose(rows, matrices["table"][ids], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_table_alone_has_the_values_of_a_linear(scheme, tmp_path):
    """A weight does not depend on what reads it, but for what calibration knows."""
    _, tied = quantize(tmp_path, scheme)
    _, alone = quantize(tmp_path, scheme, tied=False)
    assert np.array_equal(tied["table"], alone["table"])


@pytest.mark.parametrize(
    "method,options,fallback",
    [
        ("rtn-quantize", "", None),
        ("rtn-quantize", "importance=inputs", "an embedding has no inputs: not weighted by importance"),
        ("gptq-quantize", "", "an embedding has no inputs: rounded to nearest"),
        ("awq-quantize", "", "an embedding has no inputs: not weighted by importance"),
    ],
)
def test_every_method_rounds_a_table_to_nearest(method, options, fallback, tmp_path):
    source = float_module(tmp_path, tied=False)
    np.save(tmp_path / "ids.npy", np.stack([indices(seed=seed) for seed in range(4)]))
    report, output = tmp_path / "report.json", tmp_path / "by_method.mlir"
    run(
        "quant-opt",
        source,
        f"--{method}=embeddings=quantize {options} calibration={tmp_path / 'ids.npy'} progress=none report={report}",
        "-o",
        output,
    )
    _, expected = quantize(tmp_path, "")
    assert np.array_equal(read_weights(output.read_text())["table"].dequantized(), expected["table"])
    table_row, head = json.loads(report.read_text())["layers"]
    assert (table_row["name"], table_row["role"], table_row["method"]) == ("table", "embedding", "rtn")
    assert table_row["fallback"] == fallback and table_row["awq"] is None
    assert (head["name"], head["role"], head["fallback"]) == ("head", "linear", None)
    error = np.square(expected["table"] - table()).sum() / np.square(table()).sum()
    assert table_row["relative_error"] == pytest.approx(error, rel=1e-4)


def test_drift_counts_from_the_rows_of_the_float_table(tmp_path):
    source = float_module(tmp_path, tied=False)
    samples = np.stack([indices(seed=seed) for seed in range(4)])
    np.save(tmp_path / "ids.npy", samples)
    report, output = tmp_path / "report.json", tmp_path / "quantized.mlir"
    (tmp_path / "recipe.yaml").write_text("layers: [{match: table, bits: 2}]")
    options = f"embeddings=quantize bits=8 drift calibration={tmp_path / 'ids.npy'} report={report} progress=none"
    run("quant-opt", source, f"--gptq-quantize={options} recipe={tmp_path / 'recipe.yaml'}", "-o", output)
    weights = read_weights(output.read_text())
    y = table()[samples] @ table(seed=1).T
    drifted = weights["table"].dequantized()[samples] @ weights["head"].dequantized().T
    expected = np.square(drifted - y).sum() / np.square(y).sum()
    assert expected > 0.01
    table_row, head = json.loads(report.read_text())["layers"]
    assert table_row["output_drift"] is None
    assert head["output_drift"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("dtype", ["f16", "bf16"])
def test_rows_are_rounded_once(dtype, tmp_path):
    path, matrices = quantize(tmp_path, SCHEMES[0], dtype)
    expected = matrices["table"]
    # A result that numpy can hold.
    text = path.read_text()
    value, kind = re.search(rf"return (%\d+), %\d+ : (tensor<\S+x{dtype}>)", text).groups()
    wide = kind.replace(dtype, "f32")
    text = text.replace(f"-> ({kind},", f"-> ({wide},")
    text = text.replace(f"return {value},", f"%wide = arith.extf {value} : {kind} to {wide}\n    return %wide,")
    text = re.sub(rf"(return %wide.* : ){re.escape(kind)}", rf"\g<1>{wide}", text)
    path.write_text(text)
    ids = indices()
    rows, _ = run_module(path, [ids], tmp_path)
    assert np.array_equal(rows, rounded(expected[ids], dtype))


def test_one_row(tmp_path):
    path, matrices = quantize(tmp_path, SCHEMES[0], ids=())
    expected = matrices["table"]
    for row in (0, ROWS - 1):
        rows, _ = run_module(path, [np.array(row)], tmp_path, name=str(row))
        assert np.array_equal(rows, expected[row])


@pytest.mark.parametrize("options", [(), ("--target=emulator",)], ids=["host", "gpu"])
@pytest.mark.parametrize(
    "checks,index,message",
    [
        (True, ROWS, "index must be smaller than dim size"),
        (True, -1, "index must be larger or equal to 0"),
        # In the last block of 16 rows, behind the matrix.
        (False, ROWS, "index out of range in a look-up of rows"),
        (False, 2**40, "index out of range in a look-up of rows"),
        (False, -1, "index out of range in a look-up of rows"),
    ],
)
def test_index_out_of_range(checks, index, message, options, tmp_path):
    path, _ = quantize(tmp_path, SCHEMES[0], checks=checks)
    ids = indices()
    ids[1, 4] = index
    np.save(tmp_path / "ids.npy", ids)
    done = execute("quant-run", path, f"--input={tmp_path / 'ids.npy'}", f"--output-dir={tmp_path}", *options)
    assert done.returncode == 1
    assert message in done.stderr.decode()
    assert not list(tmp_path.glob("result*"))


def test_other_scales_than_those_of_the_table(tmp_path):
    """AWQ leaves a weight that is an embedding too as it is."""
    source = float_module(tmp_path)
    np.save(tmp_path / "ids.npy", np.stack([indices(seed=seed) for seed in range(4)]))
    for method in ("awq-quantize", "gptq-quantize", "gptq-quantize=scaling=awq"):
        method = method if "=" in method else method + "="
        text = run(
            "quant-opt",
            source,
            f"--{method} tied=quantize bits=8 calibration={tmp_path / 'ids.npy'} progress=none",
        )
        (tmp_path / "quantized.mlir").write_text(text)
        assert text.count("lowbit.lookup") == 1
        rows, _ = run_module(tmp_path / "quantized.mlir", [indices()], tmp_path, name=method[:8] + method[-3:])
        np.testing.assert_allclose(rows, table()[indices()], atol=0.02 * np.abs(table()).max())


PROGRAM = f"""
#include "tied.h"
#include <stdio.h>

static int64_t ids[{np.prod(IDS)}];
static float rows[{np.prod(IDS)}][{COLUMNS}], y[{np.prod(IDS)}][{ROWS}];

int main(int argc, char **argv) {{
  char error[256];
  tied_model *model = tied_open(argv[argc - 1], error);
  if (!model || fread(ids, sizeof ids, 1, stdin) != 1 || tied_main(model, ids, rows[0], y[0]))
    return 1;
  fwrite(rows, sizeof rows, 1, stdout);
  tied_close(model);
  return 0;
}}
"""


@pytest.mark.skipif(not shutil.which("cc"), reason="NOT TESTED: no C compiler")
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "alone"])
def test_object_file_holds_each_weight_once(tied, tmp_path):
    path, matrices = quantize(tmp_path, SCHEMES[0], tied=tied)
    run("quant-translate", "--to-object", path, "-o", tmp_path / "tied")
    # Rows and columns are padded to whole blocks of 16 and 32; the zeros are bytes.
    packed = 48 * 128 // 2 + 3 * 48 * 2
    # A table that no kernel multiplies with is stored as its scheme says.
    plain = ROWS * COLUMNS // 2 + 3 * ROWS * 2
    weights = packed if tied else packed + plain
    assert weights < (tmp_path / "tied.weights").stat().st_size < weights + ROWS * COLUMNS // 2
    (tmp_path / "main.c").write_text(PROGRAM)
    openmp = "/usr/lib/llvm-22/lib"
    command = ["cc", "main.c", "tied.o", "-o", "tied-rows", f"-L{openmp}", f"-Wl,-rpath,{openmp}"]
    subprocess.run([*command, "-lomp", "-lm"], cwd=tmp_path, check=True)
    ids = indices()
    done = subprocess.run(
        [tmp_path / "tied-rows", tmp_path / "tied.weights"], input=ids.tobytes(), capture_output=True
    )
    assert done.returncode == 0, done.stderr
    rows = decode(done.stdout, "f32").reshape(*IDS, COLUMNS)
    assert np.array_equal(rows, matrices["table"][ids])
