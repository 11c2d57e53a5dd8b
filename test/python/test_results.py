# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The page of results comes from the stored rows, and rows are measured one by one."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import gpu
import measure
import page
import scale
import table


def test_page_is_what_the_stored_rows_give():
    assert page.PAGE.read_text() == page.text(), "run scripts/results render"


def test_names_of_rows_are_keys():
    for entries in (table.METHODS, table.PEERS):
        names = [entry.name for entry in entries]
        assert len(names) == len(set(names))


def test_goals_and_orders_name_rows():
    names = {entry.name for entry in table.METHODS}
    assert {goal.row for goal in table.GOALS} <= names
    assert set(table.ORDERING) <= names
    assert {row for one, other, _ in table.RATIOS for row in (one, other)} <= names


def test_measuring_a_row_keeps_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "STORE", tmp_path)
    measure.store("model", "first", {"value": 1})
    measure.store("model", "second", {"value": 2})
    measure.store("model", "first", {"value": 3})
    rows = measure.stored("model")["rows"]
    assert [rows[name]["value"] for name in ("first", "second")] == [3, 2]
    assert rows["second"]["measured"]["commit"]


def test_scale_tells_hessian_from_solve():
    # 100 s of forward and 60 of Hessian for all samples, 40 of solve for any number.
    def row(share, speed):
        return {
            "samples": 32 * share,
            "wall": (100 * share + 60 * share + 40) / speed,
            "layers": {"q": (60 * share + 10) / speed, "k": 30 / speed},
        }

    runs = [row(1, 1), row(0.25, 1), row(0.25, 0.5)]
    parts = scale.parts(dict(zip(scale.PARTS, runs)))[scale.PARTS[0]]
    assert parts["forward"] == pytest.approx(100)
    assert parts["hessian"] == pytest.approx(60)
    assert parts["solve"] == pytest.approx(40)
    assert scale.amdahl(2, 1) == 0 and scale.amdahl(1, 1) == 1


def test_scale_counts_the_weights_of_llama_2():
    # Published sizes, less embeddings, head and norms.
    assert scale.MODELS["Llama-2-7B"].weights * 32 == 6_476_005_376
    assert scale.MODELS["Llama-2-70B"].weights * 80 == 68_451_041_280


def test_gpu_figures_are_said_to_be_missing_or_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "STORE", tmp_path)
    assert "Not measured yet" in "\n".join(gpu.section(page.table))

    def row(seconds, cublas):
        return {
            "bytes": 35e6, "operations": 2 * 8192**2,
            "ours": {"seconds": seconds, "error": 1e-3},
            "cuBLAS": {"seconds": cublas, "error": 2e-3},
            "Marlin": {"left out": "takes f16"},
        }  # fmt: skip

    whole = {
        "device": "A GPU", "copy": 4e12, "peak": 8e14, "date": "today", "commit": "abc", "torch": "2",
        "nvidia_smi": {"driver_version": "1", "clocks.sm": "1980"},
        "rows": {gpu.name(1, gpu.SQUARE): row(16e-6, 40e-6), gpu.name(16, gpu.SQUARE): row(20e-6, 41e-6)},
    }  # fmt: skip
    (tmp_path / "linear_gpu.a-gpu.json").write_text(json.dumps(whole))
    text = "\n".join(gpu.section(page.table))
    assert "Not measured" not in text
    # 35 MB in 16 us are 55 % of 4 TB/s; 20 us are more than 1.1 times as long.
    assert "| M = 1, 8192 x 8192: share of copy bandwidth | 0.547 | 0.5 (0.7) | reached |" in text
    assert "| M = 16 over M = 1, 8192 x 8192 | 1.25 | 1.1 (1.03) | **missed** |" in text
    assert "| cuBLAS over ours, M = 16, 8192 x 8192 | 2.05 | 2.2 (3) | **missed** |" in text
    assert "| largest error over that of cuBLAS | 0.5 | 1 (1) | reached, stretch too |" in text
    assert "Marlin" not in text and "| 16.0 | 54.7% |" in text
