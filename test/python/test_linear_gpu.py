# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""benchmarks/linear_gpu up to the device: the folder, the plan, and the launches of small
layers on a driver that runs the PTX emulator.
"""

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from quantopt import tools
from tables import NF4

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "linear_gpu"
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import build
import driver
import gpu
import packed
import run

pytestmark = pytest.mark.quant_opt

SMALL = [
    build.case(scheme, m, n, k, "f16")
    for scheme, m, n, k in [
        (build.INT4, 1, 40, 320),
        (build.INT4, 20, 48, 256),
        (build.scheme("int3", 3, 64, "integer"), 5, 33, 130),
        (build.scheme("int7", 7, 32, "integer"), 2, 16, 64),
        (build.scheme("int8", 8, 32, scale="f32"), 3, 20, 100),
        (build.scheme("int2", 2, 64, "minimum"), 9, 17, 192),
        (build.NF4, 2, 16, 128),
    ]
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A carried folder with the small cases, as PTX."""
    path = tmp_path_factory.mktemp("carried")
    build.build(path, SMALL, ["sm_80"], assemble=False)
    return path


@pytest.fixture(scope="module")
def cuda():
    library = tools.find("quant-kernels").parents[1] / "lib" / "fake-cuda" / "libcuda.so.1"
    if not library.exists():
        pytest.skip("NOT TESTED: no build/lib/fake-cuda; build all targets")
    device = driver.Cuda(str(library))
    stream = ctypes.c_void_p()
    device._call("cuStreamCreate", ctypes.byref(stream), 1)
    device.stream = stream
    return device


def upload(cuda, data: np.ndarray) -> int:
    address = ctypes.c_uint64()
    cuda._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(data.nbytes))
    cuda._call("cuMemcpyHtoDAsync_v2", address, ctypes.c_void_p(data.ctypes.data),
               ctypes.c_size_t(data.nbytes), cuda.stream)  # fmt: skip
    return address.value


def download(cuda, address: int, data: np.ndarray) -> None:
    cuda._call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(data.ctypes.data),
               ctypes.c_uint64(address), ctypes.c_size_t(data.nbytes), cuda.stream)  # fmt: skip
    cuda._call("cuStreamSynchronize", cuda.stream)


def random_planes(random, scheme, operands):
    """Bytes of the weight's planes, and their numbers."""
    raw, numbers = {}, {}
    for name in ("codes", "scales", "offsets"):
        if name not in operands:
            continue
        if name == "codes" or scheme["zero"] == "integer" and name == "offsets":
            raw[name] = random.integers(0, 256, operands[name], np.uint8)
            if name == "offsets":
                largest = 2 ** scheme["bits"] - 1
                raw[name] &= largest | largest << 4 if scheme["bits"] <= 4 else largest
            numbers[name] = raw[name]
        else:
            dtype = {"f16": np.float16, "f32": np.float32}[scheme["scale"]]
            count = operands[name] // np.dtype(dtype).itemsize
            raw[name] = random.uniform(0.5, 1.5, count).astype(dtype)
            numbers[name] = raw[name].astype(np.float64)
    return raw, numbers


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_launches_compute_the_layer(folder, cuda, number):
    case = json.loads((folder / "plan.json").read_text())["cases"][number]
    kernels = driver.kernels_for(case, cuda.capability)
    m, n, k, operands = case["m"], case["n"], case["k"], kernels["operands"]
    random = np.random.default_rng(number)
    raw, numbers = random_planes(random, case["scheme"], operands)
    x = random.standard_normal((m, k)).astype(np.float16)
    y = np.empty((m, n), np.float16)
    assert (operands["x"], operands["y"]) == (x.nbytes, y.nbytes)
    addresses = {name: upload(cuda, data) for name, data in raw.items()}
    addresses |= {"x": upload(cuda, x), "y": upload(cuda, y)}
    for name, size in operands.items():
        if name not in addresses:
            addresses[name] = upload(cuda, np.zeros(size, np.uint8))
    linear = driver.Linear(cuda, kernels, (folder / kernels["image"]).read_bytes())
    linear(addresses, cuda.stream)
    download(cuda, addresses["y"], y)
    weight = packed.dequantize(case["scheme"], numbers, n, k, np.asarray)
    assert weight.shape == (n, k)
    expected = x.astype(np.float64) @ weight.T
    sums = np.abs(x.astype(np.float64)) @ np.abs(weight.T)
    # Value, scale and offset are rounded to f16, and so is y.
    bound = sums * 4 * 2.0**-11 + np.abs(expected) * 2.0**-11
    assert (np.abs(y - expected) <= bound).all()


def test_arguments_are_those_of_the_kernels(folder):
    for case in json.loads((folder / "plan.json").read_text())["cases"]:
        kernels = case["kernels"]["sm_80"]
        text = (folder / kernels["image"]).read_text()
        for launch in kernels["launches"]:
            entry = text.split(f".entry {launch['kernel']}(")[1].split(")")[0]
            assert entry.count(".param .u64") == entry.count(".param") == len(launch["operands"])
            assert set(launch["operands"]) <= set(kernels["operands"])


def test_all_cases_have_names_of_their_own():
    cases = build.cases()
    assert len({case["name"] for case in cases}) == len(cases)
    named = {(case["scheme"]["name"], case["m"], case["n"], case["k"]) for case in cases}
    for m in (1, 16, 32, 128, 2048):
        for n, k in ((8192, 8192), (28672, 8192), (8192, 28672)):
            assert ("int4 g128", m, n, k) in named
    # The page finds the rows that it judges.
    row = {"bytes": 1, "operations": 1, "ours": {"seconds": 1, "error": 1}}
    row["cuBLAS"] = row["ours"]
    whole = {"copy": 1, "peak": 1, "rows": {case["name"]: row for case in cases}}
    assert None not in [goal.figure(whole) for goal in gpu.GOALS]


def test_weights_are_rotated():
    for bytes_ in (1 << 20, 33 << 20, 1 << 30):
        assert run.copies_of(bytes_) >= 2
        assert run.copies_of(bytes_) * bytes_ >= 240e6


@pytest.mark.parametrize(
    "capability, chips, chosen",
    [
        ((9, 0), ["sm_80", "sm_90a"], "sm_90a"),
        ((9, 0), ["sm_90", "sm_90a"], "sm_90a"),
        ((8, 6), ["sm_80", "sm_89"], "sm_80"),
        ((8, 9), ["sm_80", "sm_89"], "sm_89"),
        ((10, 3), ["sm_100a"], None),
        ((12, 0), ["sm_90a", "sm_120"], "sm_120"),
        ((7, 5), ["sm_80"], None),
    ],
)
def test_the_device_decides_which_kernels(capability, chips, chosen):
    case = {"kernels": {chip: chip for chip in chips}}
    assert driver.kernels_for(case, capability) == chosen


def test_the_table_is_that_of_the_documentation():
    assert packed.NF4 == NF4


class HostLinear:
    """In place of driver.Linear: computes what the kernels would, in host memory."""

    calls = []

    def __init__(self, cuda, kernels, image):
        self.operands = kernels["operands"]

    def view(self, addresses, name, dtype):
        buffer = (ctypes.c_uint8 * self.operands[name]).from_address(addresses[name])
        return np.frombuffer(buffer, dtype)

    def __call__(self, addresses, stream):
        scheme, m, n, k = (self.case[key] for key in ("scheme", "m", "n", "k"))
        scale = {"f16": np.float16, "f32": np.float32}[scheme["scale"]]
        types = {"codes": np.uint8, "scales": scale}
        if scheme["zero"] != "symmetric":
            types["offsets"] = np.uint8 if scheme["zero"] == "integer" else scale
        numbers = {name: self.view(addresses, name, type_) for name, type_ in types.items()}
        numbers = {
            name: data if data.dtype == np.uint8 else data.astype(np.float64)
            for name, data in numbers.items()
        }
        weight = packed.dequantize(scheme, numbers, n, k, np.asarray)
        x = self.view(addresses, "x", np.float16).reshape(m, k).astype(np.float64)
        self.view(addresses, "y", np.float16)[:] = (x @ weight.T).astype(np.float16).ravel()
        self.calls.append(addresses["codes"])


class HostBench(run.Bench):
    """Times nothing."""

    def stream(self):
        return 0

    def wait(self):
        pass

    def seconds(self, work):
        for one in work:
            one()
        return 1e-3


@pytest.mark.torch
@pytest.mark.parametrize("number", range(len(SMALL)))
def test_what_is_measured(folder, monkeypatch, number):
    import torch

    plan = json.loads((folder / "plan.json").read_text())
    case = plan["cases"][number]
    monkeypatch.setattr(driver, "Linear", HostLinear)
    monkeypatch.setattr(HostLinear, "case", case, raising=False)
    monkeypatch.setattr(run, "HERE", folder)
    monkeypatch.setattr(run, "ROTATED_BYTES", 10 * case["n"] * case["k"])
    HostLinear.calls.clear()
    bench = HostBench(torch, SimpleNamespace(capability=(8, 0)), plan, "cpu")
    row = bench.measure(case)
    assert row["ours"]["error"] < 1e-3 and row["cuBLAS"]["error"] < 1e-2
    # Each launch has a weight of its own.
    assert len(set(HostLinear.calls)) >= 3 and len(HostLinear.calls) >= 4
    assert row["operations"] == 2 * case["m"] * case["n"] * case["k"]
    assert row["bytes"] < 8 * case["n"] * case["k"]
    whole = {"copy": 1e12, "peak": 1e15}
    text = run.line(case["name"], row, whole)
    assert "1000.00 us" in text and "cuBLAS 1000.00 us (1.00x" in text
    assert json.loads(json.dumps(row)) == row


def carried(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(folder / "run.py"), *arguments],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip


def test_the_folder_says_what_it_has(folder):
    done = carried(folder, "--list", "--only=int3")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.split() == "int3 f16, M = 5, 33 x 130 sm_80".split()
    done = carried(folder, "--only=nothing")
    assert done.returncode == 1 and "no case matches 'nothing'" in done.stderr


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a GPU")
def test_without_a_device_it_says_so(folder):
    done = carried(folder)
    assert done.returncode == 1 and done.stdout == ""
    assert "run.py: error: no CUDA device" in done.stderr or "needs PyTorch" in done.stderr
    assert not list(folder.glob("*.json.partial")) and len(list(folder.glob("*.json"))) == 1


def test_no_driver_is_an_error():
    with pytest.raises(driver.Error, match="no CUDA device"):
        driver.Cuda("libthere-is-no-such-thing.so")
