# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What ptxas makes of the generated kernels: no spills, no serialized wgmma, registers
and shared memory for the occupancy they ask for, and few instructions for decoding.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sass
from quantopt import tools

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "linear_gpu"))

import ptxas

try:
    ptxas.find()
except ptxas.NotFound as missing:
    pytest.skip(f"NOT TESTED: {missing}", allow_module_level=True)

# --- the checks themselves ----------------------------------------------------

# One thread's word in, words out.
SHELL = """.version 8.6
.target sm_90a
.address_size 64
.visible .entry k(.param .u64 p) {{
  .reg .b32 %r<9>; .reg .f32 %f<9>; .reg .b64 %d<3>;
  ld.param.u64 %d1, [p];
  cvta.to.global.u64 %d1, %d1;
  ld.global.v4.u32 {{%r1, %r2, %r3, %r4}}, [%d1];
  mov.u32 %r5, %r1; mov.u32 %r6, %r2;
  {body}
  st.global.v2.u32 [%d1], {{%r5, %r6}};
  ret;
}}
"""


@pytest.mark.parametrize(
    "operation, body",
    [
        ("LOP3", "lop3.b32 %r5, %r1, %r2, %r3, 0xea;"),
        ("PRMT", "prmt.b32 %r5, %r1, %r2, %r3;"),
        ("SHF", "shr.u32 %r5, %r1, 4;"),
        ("HFMA2", "fma.rn.f16x2 %r5, %r1, %r2, %r3;"),
        ("HMUL2", "mul.f16x2 %r5, %r1, %r2; mul.f16x2 %r6, %r3, %r2;"),
        ("HADD2", "add.f16x2 %r5, %r1, %r2; add.f16x2 %r6, %r3, %r2;"),
        ("FFMA", "mov.b32 %f1, %r1; fma.rn.f32 %f2, %f1, %f1, %f1; mov.b32 %r5, %f2;"),
        ("FADD", "mov.b32 %f1, %r1; add.f32 %f2, %f1, %f1; mov.b32 %r5, %f2;"),
        ("FMUL", "mov.b32 %f1, %r1; mul.f32 %f2, %f1, %f1; mov.b32 %r5, %f2;"),
        ("F2FP", "mov.b32 %f1, %r1; mov.b32 %f2, %r2; cvt.rn.f16x2.f32 %r5, %f1, %f2;"),
        (
            "HMMA",
            "mov.b32 %f1, %r1; mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
            " {%f1, %f2, %f3, %f4}, {%r1, %r2, %r3, %r4}, {%r1, %r2}, {%f1, %f1, %f1, %f1};"
            " mov.b32 %r5, %f2;",
        ),
    ],
)
def test_operations_are_told_apart(operation, body):
    def counts(text):
        cubin = ptxas.assemble(SHELL.format(body=text), "sm_90a").cubin
        return sass.instructions(cubin)["k"]

    assert counts("")[operation] == 0
    assert counts(body)[operation] in (1, 2)


def test_spills_are_seen(kernels):
    ptx, _ = kernels(f"--scheme={SCHEMES['int4']}", "--chip=sm_90a", "--m=16", "--n=512", "--k=512")
    assert not any(k.spills for k in ptxas.assemble(ptx, "sm_90a").kernels.values())
    tight = re.sub(r"\.minnctapersm \d+", ".maxnreg 32", ptx)
    assert any(k.spills for k in ptxas.assemble(tight, "sm_90a").kernels.values())


def test_serialization_is_seen(kernels):
    ptx, _ = kernels(
        f"--scheme={SCHEMES['int4']}", "--chip=sm_90a", "--m=128", "--n=512", "--k=512"
    )
    assert ptxas.assemble(ptx, "sm_90a").remarks == []
    # Without its waits ptxas has to put some in, and says so.
    careless = re.sub(r"wgmma\.wait_group\.sync\.aligned 0;", "", ptx)
    assert careless != ptx
    assert re.search(r"C75\d\d", " ".join(ptxas.assemble(careless, "sm_90a").remarks))


# --- the kernels --------------------------------------------------------------

CHIPS = ["sm_80", "sm_89", "sm_90a", "sm_100a", "sm_120"]
# Shared memory that the blocks of a processor have together, and 1 KiB for each.
SHARED = {"sm_80": 164, "sm_89": 100, "sm_90a": 228, "sm_100a": 228, "sm_120": 100}
SCHEMES = {
    "int4": "#lowbit.affine<bits = 4, group = 128, symmetric, scale = f16>",
    "int4-zero": "#lowbit.affine<bits = 4, group = 128, integer_zero, scale = f16>",
    "int4-g32": "#lowbit.affine<bits = 4, group = 32, symmetric, scale = bf16>",
    "int2-minimum": "#lowbit.affine<bits = 2, group = 64, float_minimum, scale = f16>",
    "int3": "#lowbit.affine<bits = 3, group = 128, integer_zero, scale = f16>",
    "int8": "#lowbit.affine<bits = 8, per_channel, symmetric, scale = f32>",
    "int8-g7": "#lowbit.affine<bits = 8, group = 7, float_minimum, scale = f32>",
    "nf4": "#lowbit.codebook<nf4, group = 64, scale = f32>",
}
# One for each kernel and shape of it.
ROWS = [4, 8, 16, 32, 64, 128]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    """Calls quant-kernels; its PTX and its plan."""
    folder, count = tmp_path_factory.mktemp("kernels"), iter(range(10**9))

    def call(*arguments):
        name = folder / str(next(count))
        ptx, plan = name.with_suffix(".ptx"), name.with_suffix(".json")
        tools.run("quant-kernels", [*arguments, "-o", str(ptx), f"--plan={plan}"])
        return ptx.read_text(), json.loads(plan.read_text())

    return call


def directives(ptx: str) -> dict[str, tuple[int, int]]:
    """Threads of a block, and blocks that are to fit on a processor, of each entry."""
    found = {}
    for part in re.split(r"\.entry ", ptx)[1:]:
        threads = re.search(r"\.(?:max|req)ntid (\d+)", part)
        blocks = re.search(r"\.minnctapersm (\d+)", part)
        found[re.match(r"\w+", part)[0]] = (int(threads[1]), int(blocks[1]) if blocks else 1)
    return found


@pytest.mark.quant_opt
@pytest.mark.parametrize(
    "chip, scheme",
    [(chip, scheme) for chip in ("sm_80", "sm_90a") for scheme in SCHEMES]
    + [(chip, "int4") for chip in ("sm_89", "sm_100a", "sm_120")],
)
def test_kernels(kernels, chip, scheme):
    def check(problem):
        rows, type_ = problem
        ptx, plan = kernels(
            f"--scheme={SCHEMES[scheme]}", f"--chip={chip}", f"--type={type_}",
            f"--m={rows}", "--n=8192", "--k=8192",
        )  # fmt: skip
        done = ptxas.assemble(ptx, chip)
        assert done.remarks == [], f"m = {rows}, {type_}"
        shape = directives(ptx)
        for launch in plan["launches"]:
            name = launch["kernel"]
            kernel, (threads, blocks) = done.kernels[name], shape[name]
            assert kernel.spills == 0 and kernel.stack == 0, name
            assert threads == launch["block"][0]
            # Registers are given to warps in portions of 8 a thread.
            registers = -(-kernel.registers // 8) * 8 * threads
            assert blocks * registers <= 65536, f"{name}: {kernel.registers} registers"
            assert blocks * (kernel.shared + launch["shared"] + 1024) <= 1024 * SHARED[chip], name
            if name.startswith("warpgroup"):
                assert kernel.registers <= 128, name

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(check, [(rows, type_) for rows in ROWS for type_ in ("f16", "bf16")]))


@pytest.mark.quant_opt
@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize("options, goal", [([], 13), (["--bf16"], 15)])
def test_decoding_a_tile(chip, options, goal):
    """Instructions of a warp for 16 x 16 codes of 4 bits with a scale per group, all of
    them but loads and stores: what two blocks of four tiles more add.
    """

    def work(blocks):
        try:
            binary = tools.find("decoder-ptx")
        except tools.ToolNotFound as error:
            pytest.skip(f"NOT TESTED: {error}")
        command = [binary, f"--blocks={blocks}", f"--chip={chip}", *options]
        ptx = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        counts = sass.instructions(ptxas.assemble(ptx, chip).cubin)["decode"]
        return sum(count for name, count in counts.items() if name not in sass.MEMORY)

    assert (work(4) - work(2)) / 8 <= goal
