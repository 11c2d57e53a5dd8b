# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""benchmarks/linear_cpu: what is timed and in which turns, the roofs, the store and the page."""

import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from quantopt import tools

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import cpu
import page
from linear_cpu import cases, child, model, ours, peers, roofs, run, timing

RUN = BENCHMARKS / "linear_cpu" / "run.py"
ON_X86 = platform.machine() == "x86_64"
RATES = {"dram": 50e9, "i8": 1e12, "bf16": 0.5e12, "f32": 0.25e12}


# --- What is timed ------------------------------------------------------------


def test_cases_have_names_of_their_own():
    all_ = cases.cases()
    assert len({case.name for case in all_}) == len(all_)
    assert {case.environment for case in all_} == set(peers.LIBRARIES) == set(cases.KERNELS)
    found = cases.select(all_, r"ggml, 2 threads.*K = 576, .*M = 1$")
    assert [(case.k, case.n, case.m) for case in found] == [(576, 1536, 1)]
    assert cases.select(all_, "M = 3$") == []


def test_every_environment_has_requirements():
    folder = BENCHMARKS / "linear_cpu" / "requirements"
    assert {path.stem for path in folder.glob("*.txt")} == set(cases.KERNELS)


@pytest.mark.parametrize("k, n", cases.SHAPES)
def test_weights_are_rotated(k, n):
    bytes_ = k * n // 2
    steps, each = cases.copies(bytes_, many_rows=False)
    assert steps >= 2 and steps * each * bytes_ >= 256 << 20
    # Memory is not filled without need, and a call from Python is nothing beside a step.
    assert steps * each * bytes_ <= 400 << 20 and each * bytes_ >= 32 << 20
    steps, _ = cases.copies(bytes_, many_rows=True)
    assert steps >= 2 and steps * each * bytes_ >= 64 << 20


def test_the_list_says_what_there_is():
    done = subprocess.run(
        [sys.executable, RUN, "--list", "--only=zentorch, 1 thread.*M = 512"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "zentorch, 1 thread, K = 4096, N = 4096, M = 512\n"
    done = subprocess.run([sys.executable, RUN, "--only=nothing"], capture_output=True, text=True)
    assert done.returncode == 1 and "no case matches 'nothing'" in done.stderr


def test_environments_are_looked_for(tmp_path):
    python = tmp_path / "ggml" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert run.interpreters(tmp_path, []) == {"ggml": python}
    assert run.interpreters(None, [f"openvino={python}"]) == {"openvino": python}
    for wrong in (f"ours={python}", "ggml=/there/is/no/such/file"):
        with pytest.raises(ValueError, match="no such environment"):
            run.interpreters(None, [wrong])


# --- Time ---------------------------------------------------------------------


class Clock:
    """In place of the module time: sleeping and working take as long as they say."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    monkeypatch.setattr(timing.RealTime, "allowed", False)
    return clock


def contestant(clock, name, seconds, log, copies=4, steps=3):
    def step(number):
        log.append((name, number))
        clock.now += seconds * copies

    work = [lambda number=number: step(number) for number in range(steps)]
    return timing.Contestant(name, work, copies)


def test_a_step_is_not_followed_by_itself(clock):
    log = []
    fast = contestant(clock, "fast", 0.001, log)
    turn = fast.turn(0.1)
    # 4 ms a step; the first wakes threads up and is not counted, but takes its time.
    assert turn.seconds == pytest.approx([0.001] * 24)
    assert all(one != other for one, other in zip(log, log[1:]))
    assert len({number for _, number in log}) == 3


def test_a_long_step_is_one_turn(clock):
    slow = contestant(clock, "slow", 1, [])
    assert slow.turn(0.1).seconds == pytest.approx([1])
    assert clock.now == pytest.approx(4)
    medium = contestant(clock, "medium", 0.05, [])
    assert medium.turn(0.1).seconds == pytest.approx([0.05, 0.05])


def test_shares_are_of_the_roofs_around_a_turn(clock):
    # The memory slows down and so does who reads it, by turns: the share stays.
    bytes_, state = 1e6, {"dram": 40e9}

    def probe():
        state["dram"] = 20e9 if state["dram"] > 30e9 else 40e9
        return RATES | state

    class Reader(timing.Contestant):
        def turn(self, budget):
            turn = timing.Turn([bytes_ / 1e10 * (40e9 / state["dram"])])
            self.turns.append(turn)
            return turn

    reader = Reader("reader", [], 1)
    timing.compete([reader], probe, rounds=4, budget=0.1)
    # Roofs are the better ones of before and after.
    assert [turn.roof["dram"] for turn in reader.turns] == [40e9] * 4
    reader.turns[0].seconds.append(1.0)  # disturbed: the turn counts by its best
    figures = reader.figures(bytes_, "i8", 2e6, RATES)
    assert figures["best"] == pytest.approx(1e-4) and figures["seconds"] == pytest.approx(2e-4)
    assert figures["dram"] == pytest.approx((0.25 + 0.125) / 2)
    assert figures["peak"] == pytest.approx((2e6 / 1e-4 / 1e12 + 2e6 / 2e-4 / 1e12) / 2)
    # A processor may have no such instruction.
    assert reader.figures(bytes_, "i8", 2e6, RATES | {"i8": 0})["peak"] == 0


def test_contestants_take_turns(clock):
    log, probes = [], []

    def probe():
        probes.append(len(log))
        return RATES

    both = [contestant(clock, name, 1, log) for name in "ab"]
    timing.compete(both, probe, rounds=2, budget=0.1)
    assert [name for name, _ in log] == ["a", "b", "a", "b"]
    assert probes == [0, 1, 2, 3, 4]
    assert all(turn.roof == RATES for one in both for turn in one.turns)


# --- Roofs --------------------------------------------------------------------


@pytest.mark.skipif(not ON_X86, reason="roofs.c has instructions of x86-64")
def test_roofs_are_those_of_the_processor(tmp_path):
    roof = roofs.Roofs(roofs.build(tmp_path), 16 << 20)
    rates = roof.measure(1, repeats=2)
    flags = Path("/proc/cpuinfo").read_text().split()
    assert rates["dram"] > 1e8 and rates["f32"] > 1e9
    assert (rates["bf16"] > 0) == ("avx512_bf16" in flags)
    assert (rates["i8"] > 0) == ("avx512_vnni" in flags or "avx_vnni" in flags)
    assert (rates["i8 matrices"] > 0) == ("amx_int8" in flags)
    assert (rates["bf16 matrices"] > 0) == ("amx_bf16" in flags)


# --- Programs -----------------------------------------------------------------


def dense(name="dense", wrong=0.0):
    """A program that keeps its weight in f32."""

    def make(k, n, steps, each):
        codes, scales = peers.random_weight(k, n, 32)
        weight = peers.dequantized(codes, scales, 32)
        whole = weight(np.arange(n)) + np.float32(wrong)

        def bind(x, count):
            results = []
            return [lambda: results.append(x @ whole.T)] * count, lambda: results[0]

        return peers.Layer(codes.nbytes, weight, bind)

    return peers.Program(name, "f32", 32, make)


class FixedRoofs:
    def measure(self, threads, repeats=2):
        return RATES


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(cases, "copies", lambda bytes_, many_rows: (2, 1))
    monkeypatch.setattr(timing, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(timing.RealTime, "allowed", False)


def row_of(programs, m=5, k=64, n=40):
    return child.Field(programs, k, n).row(FixedRoofs(), 2, m, {"rounds": 2, "budget": 0.001})


def test_a_row_has_times_shares_and_errors(small):
    row = row_of([dense(), dense("wrong", wrong=0.01)])
    assert row["roof"] == RATES and row["real_time"] is False
    entry = row["entries"]["dense"]
    assert entry["error"] < 1e-6 and row["entries"]["wrong"]["error"] > 1e-2
    assert 0 < entry["best"] <= entry["seconds"]
    assert entry["bytes"] == 64 * 40 and entry["compute"] == "f32"
    text = "\n".join(run.lines("a row", row))
    assert "dram 50, i8 1000" in text and "no real time" in text and "dense" in text
    assert json.loads(json.dumps(row)) == row


def test_trouble_of_a_program_is_its_own(small):
    def breaks(k, n, steps, each):
        raise ImportError("no such thing\nat all")

    def breaks_later(k, n, steps, each):
        def bind(x, count):
            raise ValueError("not this x")

        return peers.Layer(1, None, bind)

    programs = [dense(), peers.Program("broken", "f32", 32, breaks),
                peers.Program("late", "f32", 32, breaks_later)]  # fmt: skip
    row = row_of(programs)
    assert row["entries"]["broken"] == {"failed": "ImportError: no such thing"}
    assert row["entries"]["late"] == {"failed": "ValueError: not this x"}
    assert "seconds" in row["entries"]["dense"]
    assert row_of([dense()], k=50)["entries"]["dense"] == {
        "left out": "K = 50 is no multiple of 32"
    }
    assert "left out: K = 50" in "\n".join(run.lines("a row", row_of([dense()], k=50)))


def test_random_weights_mean_what_peers_are_given():
    codes, scales = peers.random_weight(64, 3, 32)
    packed = peers.nibbles(codes)
    weight = peers.dequantized(codes, scales, 32)(np.array([2]))
    for column in (0, 1, 33, 63):
        code = packed[2, column // 2] >> (4 * (column % 2)) & 15
        assert weight[0, column] == (np.float32(code) - 8) * scales[2, column // 32]
    assert sorted(map(tuple, peers.another(codes, 1))) == sorted(map(tuple, codes))
    assert not np.array_equal(peers.another(codes, 1), codes)


@pytest.mark.quant_opt
@pytest.mark.skipif(not ON_X86, reason="i8 is for the instructions of x86-64")
def test_our_kernels_compute_the_layer(small, tmp_path):
    bounds = {"f32": 1e-5, "bf16": 1e-2, "i8": 2e-2}
    kernels = [cases.Kernel("i8", cases.INT4), cases.Kernel("i8", cases.INT4, columns=32),
               cases.Kernel("bf16", cases.INT4_SMALL), cases.Kernel("f32", cases.NF4_SMALL)]  # fmt: skip
    shape = (160, 48)  # the last group of 128 is short
    ours.build(tmp_path, tools.find("quant-kernels"),
               [(kernel, *shape, m) for kernel in kernels for m in (1, 5)])  # fmt: skip
    programs = ours.programs(tmp_path, kernels)
    for m in (1, 5):
        row = row_of(programs, m, *shape)
        for kernel in kernels:
            found = row["entries"][kernel.name]
            assert found["error"] < bounds[kernel.compute], kernel.name
            assert found["compute"] == kernel.compute
            # Codes of half a byte, and scales of f16 for each group.
            groups = -(-160 // kernel.scheme.group)
            assert found["bytes"] == 48 * 160 / 2 + 48 * groups * 2
    assert "left out" in row_of(programs, 1, 64, 48)["entries"][kernels[0].name]


@pytest.mark.quant_opt
def test_a_kernel_that_cannot_be_made_is_told(tmp_path):
    scheme = cases.Scheme("of a table that is not there", 32, "nf5")
    with pytest.raises(RuntimeError, match="quant-kernels: .*nf5"):
        ours.build(
            tmp_path, tools.find("quant-kernels"), [(cases.Kernel("f32", scheme), 64, 48, 1)]
        )


def test_every_kernel_is_built_once():
    chosen = cases.select(cases.cases(), "2 threads, K = 576")
    wanted = run.wanted(chosen, {"ggml", "onnxruntime"})
    assert len(wanted) == len(set(wanted)) == len(cases.KERNELS["onnxruntime"]) * len(cases.ROWS)
    assert run.wanted(chosen, {}) == []


def test_an_environment_that_is_broken_is_told(tmp_path):
    store = run.Store(tmp_path / "out.json")
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho cannot start >&2\nexit 3\n")
    broken.chmod(0o755)
    told = run.child(broken, "ggml", 2, cases.cases()[:1], {}, 1.0, store)
    assert "ggml: exit code 3" in told and "cannot start" in told
    assert store.added == set()


# --- Results ------------------------------------------------------------------


def test_rows_are_replaced_one_by_one(tmp_path):
    path = tmp_path / "linear_cpu.x.json"
    first = run.Store(path)
    first.add("one", {"roof": RATES, "value": 0.123456})
    first.add("two", {"value": 1})
    again = run.Store(path)
    again.add("one", {"value": 2})
    rows = json.loads(path.read_text())["rows"]
    assert [rows[name]["value"] for name in ("one", "two")] == [2, 1]
    assert first.whole["rows"]["one"]["value"] == 0.1235 and rows["one"]["commit"]
    assert again.added == {"one"} and not list(tmp_path.glob("*.partial"))


def measured(environment, m, entries, shape=cpu.SQUARE, threads=2):
    k, n = shape
    row = {"environment": environment, "threads": threads, "k": k, "n": n, "m": m, "roof": RATES,
           "real_time": True, "date": "today", "commit": "abc", "entries": entries}  # fmt: skip
    return f"{environment}, {threads}, {shape}, {m}", row


def entry(seconds, dram, peak, compute="i8"):
    return {"compute": compute, "group": 128, "bytes": 1, "error": 1e-3, "seconds": seconds,
            "best": seconds, "dram": dram, "peak": peak}  # fmt: skip


def test_figures_are_judged(tmp_path, monkeypatch):
    ours = "ours i8, int4 g128"
    rows = [
        measured("ggml", 1, {ours: entry(180e-6, 0.96, 0.1), "ggml Q4_0": entry(263e-6, 0.6, 0.1)}),
        measured("openvino", 1, {ours: entry(200e-6, 0.90, 0.1), "broken": {"failed": "no"}}),
        measured("bitsandbytes", 1, {ours: entry(400e-6, 0.99, 0.1)}),
        measured("zentorch", 1, {ours: entry(400e-6, 0.86, 0.1)}),
        measured("ggml", 4, {ours: entry(200e-6, 0.90, 0.3) | {"bytes": 8.65e6}}),
        measured("ggml", 8, {ours: entry(300e-6, 0.60, 0.3) | {"bytes": 8.65e6}}),
        measured("ggml", 16, {ours: entry(900e-6, 0.2, 0.64)}),
        measured("ggml", 1, {"ours i8, int4 g32": entry(9e-6, 0.5, 0.1),
                             "ggml Q4_0": entry(10e-6, 0.4, 0.1)}, cpu.SMALL),
        measured("zentorch", 8, {"ours i8, int4 g32": entry(9e-6, 0.5, 0.1),
                                 "zentorch": entry(30e-6, 0.4, 0.1)}, cpu.SMALL),
    ]  # fmt: skip
    dict(rows)["bitsandbytes, 2, (4096, 4096), 1"]["roof"] = RATES | {"dram": 25e9}
    whole = {"processor": "A CPU", "cores": 2, "versions": {"ggml": "ggml 1"}, "models": {},
             "rows": dict(rows)}  # fmt: skip
    monkeypatch.setattr(cpu, "STORE", tmp_path)
    assert cpu.section(page.table) == []
    (tmp_path / "linear_cpu.a-cpu.json").write_text(json.dumps(whole))
    text = "\n".join(cpu.section(page.table))
    square = "K = 4096, N = 4096"
    # The middle one of the environments in which the memory was fast.
    assert (
        f"| i8, int4 g128, M = 1: share of DRAM, {square} | 0.9 | 0.85 (0.95) | reached |" in text
    )
    assert f"| i8, int4 g128: M = 8 over M = 1, {square} | 1.5 | 1.35 (1.2) | **missed** |" in text
    assert f"M = 16: share of i8 peak, {square} | 0.64 | 0.65 (0.75) | **missed** |" in text
    # Against the peers of the worst environment.
    assert "every M, K = 576, N = 1536 | 0.9 | 0.8 (0.6) | **missed** |" in text
    assert "| ours i8, int4 g128 | i8 | 1e-03 | 200 (90%) |" in text
    assert "| ggml Q4_0 | i8 | 1e-03 | 263 (60%) |" in text
    # 8 x 33.6 MOP at 1 TOP/s, and 8.65 MB at 50 GB/s.
    assert "alone take 1.00 (M = 4) and 1.55 (M = 8) times what M = 1 takes" in text
    assert "broken" not in text and "NF4" not in text
    assert "DRAM 50 GB/s, i8 1000 GOP/s" in text


MODEL = {
    "threads": 2, "roof": RATES, "date": "today", "commit": "abc",
    "entries": {
        "ours a": {"bytes": 1e8, "prefill": 900, "decode": 250, "perplexity": 20.08,
                   "exact_perplexity": 20, "speedup": {"prefill": 1.8, "decode": 2.5}},
        "ours b": {"bytes": 1e8, "prefill": 1100, "decode": 200, "perplexity": 20.05,
                   "exact_perplexity": 20, "speedup": {"prefill": 2.2, "decode": 2}},
        "llama.cpp Q4_0": {"bytes": 9e7, "prefill": 500, "decode": 100,
                           "speedup": {"prefill": 1, "decode": 1}},
    },
}  # fmt: skip


def test_whole_models_are_judged():
    whole = {"processor": "A CPU", "cores": 2, "versions": {}, "rows": {},
             "models": {"SmolLM2-135M, 2 threads": MODEL}}  # fmt: skip
    text = "\n".join(cpu.processor_section(whole, page.table))
    assert "decode: tokens/s over llama.cpp's | 2.5 | 2 (3) | reached |" in text
    assert "512 tokens at once: tokens/s over llama.cpp's | 2.2 | 2 (3) | reached |" in text
    # The worst of our forms.
    assert "above that of f32 products, % | 0.4 | 0.5 (0.2) | reached |" in text
    # 100 MB 250 times a second are half of 50 GB/s.
    assert "| ours a | 100 | 900 (1.80x) | 250 (2.50x) | 50% | 20.080 (20.000) |" in text
    assert "| llama.cpp Q4_0 | 90 | 500 (1.00x) | 100 (1.00x) | 18% | – |" in text


def test_speedups_are_those_of_rounds():
    samples = {
        "ours": [{"decode": 20}, {"decode": 60}, {"decode": 30}],
        "other": [{"decode": 10}, {"decode": 20}, {"decode": 30}],
    }
    assert model.summary(samples["ours"]) == {"decode": 30}
    assert model.speedups(samples, "ours", "other") == {"decode": 2}


def test_other_shapes_may_fall_behind_by_a_twentieth():
    bounds = {goal.what: (goal.bound, goal.stretch) for goal in cpu.GOALS}
    assert bounds["i8, int4 g128, M = 32: share of i8 peak, K = 4096, N = 14336"] == (0.7125, 0.779)
    assert bounds["i8, int4 g128: M = 8 over M = 1, K = 14336, N = 4096"] == (1.4211, 1.2632)
    assert len(bounds) == len(cpu.GOALS)


def test_every_goal_is_timed():
    entries = {
        kernel.name: entry(1e-3, 0.5, 0.5)
        for kernels in cases.KERNELS.values()
        for kernel in kernels
    }
    rows = {case.name: measured(case.environment, case.m,
                                {kernel.name: entries[kernel.name]
                                 for kernel in cases.KERNELS[case.environment]}
                                | {"peer": entry(1e-3, 0.5, 0.5)},
                                (case.k, case.n), case.threads)[1]
            for case in cases.cases()}  # fmt: skip
    whole = {"rows": rows, "models": {"a model": MODEL}}
    assert None not in [goal.figure(whole) for goal in cpu.GOALS]
