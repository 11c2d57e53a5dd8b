# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Object files: the C program of examples/aot against quant-run, and what is linked."""

import ctypes
import os
import shutil
import subprocess

import numpy as np
import pytest

from oracle import REPOSITORY, execute, run, run_module
from test_expert_kernels import arrays, chain

pytestmark = [
    pytest.mark.quant_opt,
    pytest.mark.skipif(not shutil.which("cc"), reason="NOT TESTED: no C compiler"),
]

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
HELD_OUT = REPOSITORY / "examples" / "char-lm" / "heldout.npy"
PROGRAM = REPOSITORY / "examples" / "aot" / "main.c"
OPENMP = "/usr/lib/llvm-22/lib"
LINK = [f"-L{OPENMP}", f"-Wl,-rpath,{OPENMP}", "-lomp", "-lm"]

# All that an object may call: the C and math libraries and OpenMP.
ALLOWED = {
    *"open close lseek mmap munmap snprintf aligned_alloc free abort syscall".split(),
    *"memcpy memset memmove expf logf powf sinf cosf tanhf sqrtf fmaf".split(),
    "__tls_get_addr",
    "_GLOBAL_OFFSET_TABLE_",
}


def build(model, folder, *options):
    run("quant-translate", "--to-object", model, "-o", folder / "charlm", *options)
    program = folder / "charlm-text"
    command = ["cc", "-O2", f"-I{folder}", PROGRAM, folder / "charlm.o", "-o", program, *LINK]
    subprocess.run(command, check=True)
    return program


def logits(program, tokens, threads):
    done = subprocess.run(
        [program, program.parent / "charlm.weights", "--logits"],
        input=tokens.tobytes(),
        capture_output=True,
        env=dict(os.environ, OMP_NUM_THREADS=str(threads)),
    )
    assert done.returncode == 0, done.stderr
    return np.frombuffer(done.stdout, np.float32).reshape(1, 256, 65)


@pytest.fixture(scope="module", params=["float", "quantized"])
def example(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    model = MODEL
    if request.param == "quantized":
        model = folder / "quantized.mlirbc"
        run("quant-opt", "--rtn-quantize=progress=none", MODEL, "-o", model)
    return model, build(model, folder)


def test_the_example_has_the_logits_of_quant_run(example, tmp_path):
    model, program = example
    tokens = np.load(HELD_OUT)[:256].astype(np.int64).reshape(1, 256)
    one, two = (logits(program, tokens, threads) for threads in (1, 2))
    assert np.array_equal(one, two)
    (expected,) = run_module(model, [tokens], tmp_path)
    np.testing.assert_allclose(one, expected, rtol=0, atol=2e-4)


def test_the_example_writes_text(example):
    program = example[1]
    done = subprocess.run(
        [program, program.parent / "charlm.weights", "KING "], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"KING ") and len(done.stdout) == 257


def test_nothing_of_quant_opt_is_linked(example):
    program = example[1]
    lines = subprocess.run(
        ["nm", "-u", program.parent / "charlm.o"], capture_output=True, check=True, text=True
    ).stdout.split("\n")
    names = {line.split()[-1] for line in lines if line.strip()}
    assert {name for name in names if not name.startswith("__kmpc_")} <= ALLOWED
    defined = subprocess.run(
        ["nm", "-g", "--defined-only", program.parent / "charlm.o"],
        capture_output=True, check=True, text=True,
    ).stdout.split("\n")
    visible = {line.split()[-1] for line in defined if line.strip()}
    assert visible == {f"charlm_{name}" for name in ("open", "close", "message", "main")}


def test_weights_are_checked(example, tmp_path):
    program = example[1]
    weights = (program.parent / "charlm.weights").read_bytes()
    bad = {
        "missing": (None, "cannot be opened"),
        "short": (weights[:10], "too short"),
        "cut": (weights[:-64], "has not the size"),
        "other": (weights[:16] + b"12345678" + weights[24:], "of another model"),
        "magic": (b"12345678" + weights[8:], "not a file of weights"),
    }
    for name, (content, message) in bad.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        done = subprocess.run([program, tmp_path / name], capture_output=True, text=True)
        assert done.returncode == 1 and message in done.stderr, (name, done.stderr)


def test_a_failed_check_is_a_code(example):
    library = example[1].parent / "charlm.so"
    subprocess.run(
        ["cc", "-shared", example[1].parent / "charlm.o", "-o", library, *LINK], check=True
    )
    charlm = ctypes.CDLL(str(library))
    charlm.charlm_open.restype = ctypes.c_void_p
    charlm.charlm_message.restype = ctypes.c_char_p
    model = ctypes.c_void_p(
        charlm.charlm_open(bytes(example[1].parent / "charlm.weights"), None)
    )
    result = np.zeros((256, 65), np.float32)
    for token, fails in ((64, False), (65, True), (-1, True), (0, False)):
        tokens = np.full(256, token, np.int64)
        code = charlm.charlm_main(
            model, tokens.ctypes.data_as(ctypes.c_void_p), result.ctypes.data_as(ctypes.c_void_p)
        )
        assert (code != 0) == fails
        assert (b"index" in charlm.charlm_message(code)) == fails
    charlm.charlm_close(model)


@pytest.mark.parametrize("passes", [[], ["--lowbit-pack=target=cpu"]], ids=["plain", "packed"])
@pytest.mark.parametrize("compute", ["f32", "i8"])
def test_experts(tmp_path, compute, passes):
    """The same kernels as those of quant-run."""
    (tmp_path / "float.mlir").write_text(chain(range(4), 9, 21, 70))
    model = tmp_path / "model.mlirbc"
    run("quant-opt", tmp_path / "float.mlir", "--rtn-quantize=progress=none", *passes, "-o", model)
    run("quant-translate", "--to-object", model, f"--compute={compute}", "-o", tmp_path / "experts")
    library = tmp_path / "libexperts.so"
    command = ["cc", "-shared", tmp_path / "experts.o", "-o", library, *LINK]
    subprocess.run(command, check=True)
    experts = ctypes.CDLL(str(library))
    experts.experts_open.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(
        experts.experts_open(str(tmp_path / "experts.weights").encode(), ctypes.create_string_buffer(256))
    )
    inputs = arrays(9, 21, 70, [0, 1, 3, 5])
    y = np.empty((9, 21), np.float32)
    buffers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*inputs, y)]
    assert experts.experts_main(handle, *buffers) == 0
    experts.experts_close(handle)
    [expected] = run_module(model, inputs, tmp_path, [f"--compute={compute}"])
    assert np.array_equal(y, expected)


DYNAMIC = """
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}
"""


def refuse(folder, *arguments):
    done = execute("quant-translate", *arguments)
    assert done.returncode == 1
    assert not [path for path in folder.iterdir() if path.suffix in (".o", ".h", ".weights")]
    return done.stderr.decode()


def test_what_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "dynamic.mlir").write_text(DYNAMIC)
    name = tmp_path / "m"
    error = refuse(tmp_path, "--to-object", tmp_path / "dynamic.mlir", "-o", name)
    assert "argument 0" in error and "fixed sizes" in error
    error = refuse(tmp_path, "--to-object", MODEL, "-o", tmp_path / "no-name")
    assert "no identifier of C" in error
    error = refuse(tmp_path, "--to-object", MODEL, "-o", name, "--entry=other")
    assert "has no function 'other'" in error
    error = refuse(tmp_path, "--to-object", MODEL, "-o", name, "--target-triple=none")
    assert "cannot be compiled to an object" in error
    error = refuse(tmp_path, "--to-object", MODEL, "-o", tmp_path / "no" / "m")
    assert "cannot be compiled to an object" in error


# --- another processor --------------------------------------------------------

CLANG = shutil.which("clang-22") or shutil.which("clang")
QEMU = shutil.which("qemu-aarch64")
ARM = "/usr/aarch64-linux-gnu"
ARM_LIBGCC = "/usr/lib/gcc-cross/aarch64-linux-gnu"

LAYER = """
func.func @main(%x: tensor<9x40xf32>) -> tensor<9x33xf32> {{
  %w = arith.constant dense<"0x{weights}"> : tensor<33x40xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<9x33xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<9x33xf32>) -> tensor<9x33xf32>
  %y = linalg.generic {{indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
      affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%x, %w : tensor<9x40xf32>, tensor<33x40xf32>) outs(%f : tensor<9x33xf32>) {{
  ^bb0(%a: f32, %b: f32, %c: f32):
    %p = arith.mulf %a, %b : f32
    %s = arith.addf %c, %p : f32
    linalg.yield %s : f32
  }} -> tensor<9x33xf32>
  %r = linalg.softmax dimension(1) ins(%y : tensor<9x33xf32>) outs(%e : tensor<9x33xf32>)
      -> tensor<9x33xf32>
  return %r : tensor<9x33xf32>
}}
"""

# One thread, since there is no OpenMP runtime for that processor here.
RUNNER = """
#include "layer.h"
#include <stdarg.h>
#include <stdio.h>
static float x[9 * 40], y[9 * 33];
int __kmpc_global_thread_num(void *where) { return 0; }
void __kmpc_fork_call(void *where, int count, void (*body)(int *, int *, void *), ...) {
  va_list list;
  va_start(list, body);
  int zero = 0;
  body(&zero, &zero, count ? va_arg(list, void *) : 0);
  va_end(list);
}
void __kmpc_for_static_init_8u(void *where, int thread, int schedule, int *last,
                               uint64_t *low, uint64_t *high, int64_t *stride,
                               int64_t step, int64_t chunk) { *last = 1; }
void __kmpc_for_static_fini(void *where, int thread) {}
void __kmpc_barrier(void *where, int thread) {}
int main(int argc, char **argv) {
  char error[256];
  layer_model *model = layer_open(argv[1], error);
  if (!model || fread(x, sizeof(x), 1, stdin) != 1 || layer_main(model, x, y))
    return 1;
  layer_close(model);
  return fwrite(y, sizeof(y), 1, stdout) != 1;
}
"""


@pytest.mark.skipif(
    not (QEMU and CLANG and os.path.exists(f"{ARM}/lib/libc.so.6") and os.path.exists(ARM_LIBGCC)),
    reason="NOT TESTED: no qemu-user, or no C library or libgcc for arm64",
)
@pytest.mark.parametrize("cpu", ["generic", "neoverse-n1"])
def test_aarch64(tmp_path, cpu):
    random = np.random.default_rng(3)
    weights = random.normal(size=(33, 40)).astype(np.float32)
    x = random.normal(size=(9, 40)).astype(np.float32)
    model = tmp_path / "layer.mlir"
    model.write_text(LAYER.format(weights=weights.tobytes().hex().upper()))
    (tmp_path / "runner.c").write_text(RUNNER)
    run(
        "quant-translate", "--to-object", model, "-o", tmp_path / "layer",
        "--target-triple=aarch64-linux-gnu", f"--mcpu={cpu}",
    )  # fmt: skip
    program = tmp_path / "runner"
    subprocess.run(
        [
            CLANG, "--target=aarch64-linux-gnu", "-fuse-ld=lld", "-w", f"-I{tmp_path}",
            f"-I{ARM}/include", tmp_path / "runner.c", tmp_path / "layer.o", "-o", program, "-lm",
        ],
        check=True,
    )  # fmt: skip
    done = subprocess.run(
        [QEMU, "-cpu", "max", "-L", ARM, program, tmp_path / "layer.weights"],
        input=x.tobytes(), capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    y = np.frombuffer(done.stdout, np.float32).reshape(9, 33)
    scores = x.astype(np.float64) @ weights.astype(np.float64).T
    expected = np.exp(scores - scores.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-7)
