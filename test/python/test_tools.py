# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Finding and running the command-line tools."""

import os

import pytest

from quantopt import tools


def make_tool(folder, name="quant-opt", body="exit 0"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A package folder without tools, and nothing on PATH."""
    package = tmp_path / "site" / "python" / "quantopt"
    package.mkdir(parents=True)
    monkeypatch.setattr(tools, "__file__", str(package / "tools.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.delenv("QUANTOPT_BIN", raising=False)
    return tmp_path


def test_order_of_places(nowhere, monkeypatch):
    on_path = make_tool(nowhere / "path")
    monkeypatch.setenv("PATH", str(nowhere / "path"))
    assert tools.find("quant-opt") == on_path

    build = make_tool(nowhere / "site" / "build" / "bin")
    assert tools.find("quant-opt") == on_path, "not a checkout of ours: build/ is somebody else's"
    (nowhere / "site" / "CMakePresets.json").write_text("{}")
    assert tools.find("quant-opt") == build

    packaged = make_tool(nowhere / "site" / "python" / "quantopt" / "bin")
    assert tools.find("quant-opt") == packaged

    chosen = make_tool(nowhere / "chosen")
    monkeypatch.setenv("QUANTOPT_BIN", str(nowhere / "chosen"))
    assert tools.find("quant-opt") == chosen


def test_setting_is_never_passed_over(nowhere, monkeypatch):
    make_tool(nowhere / "site" / "python" / "quantopt" / "bin")
    monkeypatch.setenv("QUANTOPT_BIN", str(nowhere / "forgotten"))
    with pytest.raises(tools.ToolNotFound, match="not in QUANTOPT_BIN .*forgotten"):
        tools.find("quant-opt")


def test_not_found_says_what_to_do(nowhere):
    with pytest.raises(tools.ToolNotFound, match="quant-opt not found.*QUANTOPT_BIN"):
        tools.find("quant-opt")


def test_files_that_cannot_run_do_not_count(nowhere):
    make_tool(nowhere / "site" / "python" / "quantopt" / "bin").chmod(0o644)
    with pytest.raises(tools.ToolNotFound):
        tools.find("quant-opt")


def test_failure_holds_what_the_tool_said(tmp_path, monkeypatch):
    monkeypatch.setenv("QUANTOPT_BIN", str(tmp_path))
    make_tool(tmp_path, body='echo "in.mlir:3: error: no $1" >&2; exit 1')
    with pytest.raises(tools.ToolFailed, match=r"exit code 1\):\nin.mlir:3: error: no luck"):
        tools.run("quant-opt", ["luck"])
    make_tool(tmp_path, body="kill -9 $$")
    with pytest.raises(tools.ToolFailed, match="signal 9"):
        tools.run("quant-opt", [])


def test_temporary_files_do_not_stay(tmp_path):
    from quantopt._files import replacing

    target = tmp_path / "a"
    target.write_text("old")
    with pytest.raises(RuntimeError), replacing(target, "w") as stream:
        stream.write("half")
        raise RuntimeError
    assert target.read_text() == "old"
    with replacing(target, "w") as stream:
        stream.write("new")
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a"]
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask
