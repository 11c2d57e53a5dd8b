# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Bad input: a diagnostic that names what is wrong, exit code 1, nothing half-written.

QUANTOPT_FUZZ=N multiplies the number of damaged files that are tried.
"""

import os
import zipfile

import numpy as np
import pytest

from oracle import encode, execute, linear_model, resources, run, tensor

pytestmark = pytest.mark.quant_opt

EFFORT = int(os.environ.get("QUANTOPT_FUZZ", "1"))
CRASH_SIGNS = (
    "PLEASE submit",
    "Stack dump",
    "Assertion",
    "#0 0x",
    "terminate called",
    "UNREACHABLE",
)


def assert_no_crash(done, context):
    error = done.stderr.decode(errors="replace")
    assert done.returncode in (0, 1), f"{context}: exit code {done.returncode}\n{error[-2000:]}"
    for sign in CRASH_SIGNS:
        assert sign not in error, f"{context}: {error[-2000:]}"
    return error


def refused(output, *arguments, says=(), tool="quant-opt", old=b"the old file"):
    """Runs a tool that must fail in good order and leave `output` as it was."""
    existed = output.is_file()
    if not existed and output.parent.is_dir() and not output.exists():
        output.write_bytes(old)
    before = sorted(output.parent.iterdir()) if output.parent.is_dir() else None
    done = execute(tool, *arguments, *(["-o", output] if tool == "quant-opt" else []))
    error = assert_no_crash(done, arguments)
    assert done.returncode == 1, f"{arguments} was taken: {error}"
    assert "error" in error
    for word in [says] if isinstance(says, str) else says:
        assert word in error, f"not named: {word}\n{error}"
    if before is not None:
        assert sorted(output.parent.iterdir()) == before, "a file was left behind, or is gone"
        if output.is_file():
            assert output.read_bytes() == old, "the old output is not as it was"
    return error


def model(weights, path):
    path.write_text(linear_model(weights, leading=dict.fromkeys(weights, 2)))
    return path


def two_layers():
    rng = np.random.default_rng(1)
    return {
        "net.0.up": rng.standard_normal((6, 8)).astype(np.float32),
        "net.0.down": rng.standard_normal((4, 10)).astype(np.float32),
    }


def samples_of(weights, count=3):
    rng = np.random.default_rng(2)
    return {
        f"arg{i}": rng.standard_normal((count, 2, w.shape[1])).astype(np.float32)
        for i, w in enumerate(weights.values())
    }


PASSES = ["rtn-quantize", "gptq-quantize"]


@pytest.fixture(params=PASSES)
def quantizer(request, tmp_path):
    """A pass with all that it needs to succeed on two_layers()."""
    options = "progress=none"
    if request.param == "gptq-quantize":
        np.savez(tmp_path / "calibration.npz", **samples_of(two_layers()))
        options += f" calibration={tmp_path / 'calibration.npz'}"
    return f"--{request.param}={options}"


def test_the_good_input_of_these_tests_is_taken(quantizer, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    run("quant-opt", path, quantizer, "-o", tmp_path / "out.mlirbc")


# --- weights ------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weight_that_is_not_finite(value, quantizer, tmp_path):
    weights = two_layers()
    weights["net.0.down"][3, 9] = value
    path = model(weights, tmp_path / "in.mlir")
    refused(tmp_path / "out.mlirbc", path, quantizer, says=["net.0.down", "row 3 column 9", "skip"])
    # And the way out that it names works.
    run("quant-opt", path, f"{quantizer} skip=down", "-o", tmp_path / "out.mlirbc")


@pytest.mark.parametrize("defect", ["missing", "elided", "short", "long", "empty", "no_alignment"])
def test_weight_whose_blob_is_damaged(defect, quantizer, tmp_path):
    text = linear_model(two_layers(), leading=dict.fromkeys(two_layers(), 2))
    lines = text.splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if '"net.0.down.weight": ' in line)
    key, _, data = lines[place].partition(": ")
    digits = data.strip().strip('"')
    if defect == "missing":
        del lines[place]
        lines[place - 1] = lines[place - 1].replace(",\n", "\n")
    elif defect == "elided":
        elide = "--mlir-elide-resource-strings-if-larger=1"
        lines = [run("quant-opt", elide, _written(tmp_path, text))]
    else:
        new = {
            "short": digits[:-8],
            "long": digits + "00000000",
            "empty": digits[:10],
            "no_alignment": "0x03000000" + digits[10:],
        }[defect]
        lines[place] = f'{key}: "{new}"\n'
    path = tmp_path / "in.mlir"
    path.write_text("".join(lines))
    error = refused(tmp_path / "out.mlirbc", path, quantizer)
    if defect not in ("no_alignment", "elided"):  # MLIR's parser says that before we are asked
        assert "net.0.down" in error
    if defect == "elided":
        assert "net.0." in error


def _written(tmp_path, text):
    path = tmp_path / "whole.mlir"
    path.write_text(text)
    return path


# --- calibration --------------------------------------------------------------


def _calibration_cases():
    good = samples_of(two_layers())
    first, second = good["arg0"], good["arg1"]
    return {
        "wrong_shape": ({"arg0": first[:, :, :7], "arg1": second}, ["arg0", "2x8"]),
        "wrong_rank": ({"arg0": first[0, 0], "arg1": second}, ["arg0", "2x8"]),
        "scalar": ({"arg0": np.float32(1), "arg1": second}, ["arg0"]),
        "wrong_type": ({"arg0": first.astype(np.int64), "arg1": second}, ["arg0", "f32"]),
        "double": ({"arg0": first, "arg1": second.astype(np.float64)}, ["arg1", "f32"]),
        "no_samples": ({"arg0": first[:0], "arg1": second[:0]}, ["arg0", "no samples"]),
        "other_count": ({"arg0": first, "arg1": second[:2]}, ["arg1", "2 samples"]),
        "missing_array": ({"arg0": first}, ["arg1"]),
        "objects": ({"arg0": np.array([{}]), "arg1": second}, ["arg0"]),
    }


@pytest.mark.parametrize("case", _calibration_cases())
def test_calibration_that_does_not_fit(case, tmp_path):
    arrays, says = _calibration_cases()[case]
    path = model(two_layers(), tmp_path / "in.mlir")
    np.savez(tmp_path / "c.npz", **arrays)
    options = f"--gptq-quantize=progress=none calibration={tmp_path / 'c.npz'}"
    refused(tmp_path / "out.mlirbc", path, options, says=["c.npz", *says])
    attach = f"--lowbit-attach-data=calibration={tmp_path / 'c.npz'}"
    refused(tmp_path / "out.mlirbc", path, attach, says=["c.npz", *says])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_calibration_that_is_not_finite(value, tmp_path):
    samples = samples_of(two_layers())
    samples["arg1"][1, 1, 4] = value
    path = model(two_layers(), tmp_path / "in.mlir")
    np.savez(tmp_path / "c.npz", **samples)
    options = f"--gptq-quantize=progress=none calibration={tmp_path / 'c.npz'}"
    refused(tmp_path / "out.mlirbc", path, options, says=["net.0.down", "not finite"])


def test_calibration_file_that_is_not_there(tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    for name in ("nothing.npz", "nothing.npy", "nothing.safetensors", "nothing", "."):
        options = f"--gptq-quantize=progress=none calibration={tmp_path / name}"
        refused(tmp_path / "out.mlirbc", path, options, says="calibration")


def test_calibration_file_cut_short_or_damaged(tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    rng = np.random.default_rng(3)
    for compressed, save in enumerate((np.savez, np.savez_compressed)):
        whole = tmp_path / f"whole{compressed}.npz"
        save(whole, **samples_of(two_layers()))
        data = whole.read_bytes()
        part = tmp_path / "part.npz"
        options = f"--gptq-quantize=progress=none calibration={part}"
        for length in sorted({0, 1, 30, len(data) - 1, *rng.integers(0, len(data), 6 * EFFORT)}):
            part.write_bytes(data[:length])
            refused(tmp_path / "out.mlirbc", path, options, says="part.npz")
        for place in rng.integers(0, len(data), 10 * EFFORT):
            damaged = bytearray(data)
            damaged[place] ^= 1 << rng.integers(8)
            part.write_bytes(damaged)
            done = execute("quant-opt", path, options, "-o", tmp_path / "fuzz.mlirbc")
            assert_no_crash(done, f"bit flipped at byte {place}, compressed = {compressed}")


def test_calibration_archive_that_expands_without_end(tmp_path):
    """A header that claims more than the archive holds does not exhaust memory."""
    path = model(two_layers(), tmp_path / "in.mlir")
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999, 2, 8), }"
    header += b" " * (117 - len(header)) + b"\n"
    entry = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "c.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("arg0", "arg1"):
            archive.writestr(f"{name}.npy", entry)
    options = f"--gptq-quantize=progress=none calibration={tmp_path / 'c.npz'}"
    refused(tmp_path / "out.mlirbc", path, options, says="c.npz")


def test_no_calibration_says_how_to_give_it(tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    ways = ["calibration=FILE", "--lowbit-attach-data", "calibration=none"]
    refused(tmp_path / "out.mlirbc", path, "--gptq-quantize", says=ways)


# --- modules ------------------------------------------------------------------


def test_module_without_a_linear(quantizer, tmp_path):
    path = tmp_path / "in.mlir"
    path.write_text(
        "func.func @main(%x: tensor<2x8xf32>, %y: tensor<2x10xf32>) -> tensor<2x8xf32> {\n"
        "  return %x : tensor<2x8xf32>\n}\n"
    )
    refused(tmp_path / "out.mlirbc", path, quantizer, says="no linear layer found")


def test_module_with_nothing_in_it(quantizer, tmp_path):
    path = tmp_path / "in.mlir"
    for text in ("", "module {}\n", "func.func private @main(tensor<2x8xf32>)\n"):
        path.write_text(text)
        refused(tmp_path / "out.mlirbc", path, quantizer, says="no function 'main'")


def test_all_layers_left_out(quantizer, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    refused(tmp_path / "out.mlirbc", path, f"{quantizer} skip=.", says=["net.0.up", "net.0.down"])
    refused(tmp_path / "out.mlirbc", path, f"{quantizer} only=nothing", says="option only")


def test_linear_that_multiplies_nothing(quantizer, tmp_path):
    """Dimensions of 0: refused or done, never a crash."""
    for n, k, m in ((0, 8, 2), (4, 0, 2), (4, 8, 0)):
        x, w, y = tensor((m, k)), tensor((n, k)), tensor((m, n))
        path = tmp_path / "in.mlir"
        value = "dense<1.0>" if n * k else "dense<>"
        path.write_text(
            f"func.func @main(%x: {x}) -> {y} {{\n  %w = arith.constant {value} : {w}\n"
            f'  %y = lowbit.linear %x, %w {{name = "fc"}} : ({x}, {w}) -> {y}\n'
            f"  return %y : {y}\n}}\n"
        )
        np.savez(tmp_path / "calibration.npz", arg0=np.ones((2, m, k), np.float32))
        done = execute("quant-opt", path, quantizer, "-o", tmp_path / "out.mlir")
        error = assert_no_crash(done, f"N, K, M = {n}, {k}, {m}")
        assert done.returncode == 0 or "fc" in error or "arg0" in error, error


def test_plane_that_is_short_or_missing(tmp_path):
    """A quantized module that was damaged afterwards."""
    path = model(two_layers(), tmp_path / "in.mlir")
    text = run("quant-opt", path, "--rtn-quantize=progress=none")
    for plane in ("codes", "scales", "zeros"):
        lines = text.splitlines(keepends=True)
        place = next(i for i, line in enumerate(lines) if f"net.0.down.{plane}: " in line)
        cut = list(lines)
        cut[place] = cut[place].replace('"\n', '00"\n').replace('",\n', '00",\n')
        (tmp_path / "cut.mlir").write_text("".join(cut))
        gone = lines[:place] + lines[place + 1 :]
        fixed = "".join(gone).replace('",\n    }', '"\n    }').replace('",\n\n', '"\n')
        (tmp_path / "gone.mlir").write_text(fixed)
        for name in ("cut.mlir", "gone.mlir"):
            error = refused(tmp_path / "out.mlir", tmp_path / name, "--lowbit-to-linalg")
            assert "net.0.down" in error, f"{plane} {name}: {error}"
            done = execute("quant-run", tmp_path / name, "--random-input=1")
            error = assert_no_crash(done, f"{plane} {name}")
            assert done.returncode == 1 and "net.0.down" in error, f"{plane} {name}: {error}"


# --- options and files --------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    ["bit=4", "bits=four", "bits=0", "bits=9", "bits=-1", "bits=99999999999", "group-size=0"]
    + ["group-size=-1", "group-size=99999999999999999999", "group-size=", "zero="]
    + ["symmetric=maybe", "scale-type=f8", "skip=[", "only=(", "entry=nobody", "tied=yes"]
    + ["progress=x"],
)
@pytest.mark.parametrize("name", PASSES)
def test_option_that_is_unknown_or_out_of_range(name, option, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    data = "calibration=none " if name == "gptq-quantize" else ""
    error = refused(tmp_path / "out.mlirbc", path, f"--{name}={data}{option}")
    assert option.partition("=")[0] in error, error


@pytest.mark.parametrize(
    "option",
    ["damp=nan", "damp=inf", "damp=-0.1", "damp=2", "damp=x", "act-order=desc", "block-size=0"]
    + ["block-size=-3", "samples=-1", "samples=x", "threads=-1", "threads=x", "refine=-1"],
)
def test_option_of_gptq_that_is_out_of_range(option, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    np.savez(tmp_path / "c.npz", **samples_of(two_layers()))
    options = f"--gptq-quantize=calibration={tmp_path / 'c.npz'} {option}"
    error = refused(tmp_path / "out.mlirbc", path, options)
    assert option.partition("=")[0] in error, error


def test_unknown_pass_or_flag(tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    for flag in ("--gptq-quantise", "--rtn", "--bits=4"):
        done = execute("quant-opt", path, flag, "-o", tmp_path / "out.mlir")
        assert_no_crash(done, flag)
        assert done.returncode == 1
        assert not (tmp_path / "out.mlir").exists()


def test_output_that_cannot_be_written(quantizer, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    refused(tmp_path / "no" / "such" / "out.mlirbc", path, quantizer, says="out.mlirbc")
    folder = tmp_path / "folder.mlirbc"
    folder.mkdir()
    (folder / "keep").write_text("x")
    refused(folder, path, quantizer, says="folder.mlirbc")
    assert (folder / "keep").read_text() == "x"
    below_a_file = path / "out.mlirbc"
    refused(below_a_file, path, quantizer, says="out.mlirbc")


def test_report_that_cannot_be_written(quantizer, tmp_path):
    path = model(two_layers(), tmp_path / "in.mlir")
    for report in (tmp_path / "no" / "r.json", tmp_path, path / "r.json"):
        refused(tmp_path / "out.mlirbc", path, f"{quantizer} report={report}", says="report")


def test_input_file_that_is_no_module(quantizer, tmp_path):
    texts = {
        "prose.mlir": b"It was the best of times.\n",
        "binary.mlir": bytes(range(256)) * 4,
        "zeros.mlirbc": bytes(4096),
        "magic.mlirbc": b"ML\xefR",
        "numpy.mlirbc": (lambda p: (np.save(p, np.ones(3)), p.read_bytes())[1])(tmp_path / "n.npy"),
        "half.mlir": linear_model(two_layers()).encode()[:150],
    }
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
        refused(tmp_path / "out.mlirbc", tmp_path / name, quantizer, says=name)
        refused(tmp_path / "out.mlirbc", tmp_path / name, "--random-input=1", tool="quant-run")
    for name in ("nothing.mlir", "."):
        refused(tmp_path / "out.mlirbc", tmp_path / name, quantizer)


# --- damaged bytecode ---------------------------------------------------------


@pytest.fixture(scope="module")
def bytecode(tmp_path_factory):
    """A quantized and a float module as bytecode, both above the size that is mapped."""
    folder = tmp_path_factory.mktemp("bytecode")
    rng = np.random.default_rng(5)
    weights = {
        "net.up": rng.standard_normal((96, 64)).astype(np.float32),
        "net.down": rng.standard_normal((40, 96)).astype(np.float32),
    }
    source = model(weights, folder / "in.mlir")
    run("quant-opt", source, "-o", folder / "float.mlirbc")
    only = "--rtn-quantize=progress=none only=down"
    run("quant-opt", source, only, "-o", folder / "half.mlirbc")
    return {name: (folder / f"{name}.mlirbc").read_bytes() for name in ("float", "half")}


def _check_damaged(data, context, tmp_path):
    path, output = tmp_path / "damaged.mlirbc", tmp_path / "out.mlir"
    path.write_bytes(data)
    output.write_bytes(b"the old file")
    done = execute("quant-opt", path, "--rtn-quantize=progress=none", "-o", output)
    error = assert_no_crash(done, f"quant-opt: {context}")
    if done.returncode:
        assert "error" in error, f"{context}: fails without saying why"
        assert output.read_bytes() == b"the old file"
    return done.returncode


def test_bytecode_cut_short(bytecode, tmp_path):
    rng = np.random.default_rng(6)
    data = bytecode["half"]
    for length in rng.integers(0, len(data), 10 * EFFORT):
        assert _check_damaged(data[:length], f"cut to {length} bytes", tmp_path) == 1


def test_bytecode_with_flipped_bits_in_the_weights(bytecode, tmp_path):
    """Only numbers change: the model is still read."""
    rng = np.random.default_rng(7)
    data = bytecode["float"]
    # The blob of the larger weight: bytes far from all structure.
    places = rng.integers(len(data) // 3, len(data) // 2, 10 * EFFORT)
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.integers(8)
        _check_damaged(bytes(damaged), f"byte {place}", tmp_path)
