# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Paths and skips that all tests of the Python package share."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# An installed package is tested as installed, a checkout from its sources.
if importlib.util.find_spec("quantopt") is None:
    sys.path.insert(0, str(REPOSITORY / "python"))


def missing_modules():
    """Modules that importing a model needs and that are not there."""
    return [name for name in ("torch", "torch_mlir") if importlib.util.find_spec(name) is None]


def pytest_configure(config):
    config.addinivalue_line("markers", "torch: needs torch and torch-mlir")
    config.addinivalue_line("markers", "transformers: needs transformers as well")
    config.addinivalue_line("markers", "quant_opt: needs a built quant-opt")


def pytest_runtest_setup(item):
    names = missing_modules() if item.get_closest_marker("torch") else []
    if item.get_closest_marker("transformers") and importlib.util.find_spec("transformers") is None:
        names.append("transformers")
    if names:
        pytest.skip(f"NOT TESTED: no {', '.join(names)} here; pip install 'quantopt[torch]'")
    if item.get_closest_marker("quant_opt"):
        from quantopt import tools

        try:
            tools.find("quant-opt")
        except tools.ToolNotFound as error:
            pytest.skip(f"NOT TESTED: {error}")


def pytest_terminal_summary(terminalreporter):
    reports = terminalreporter.stats.get("skipped", [])
    texts = [r.longrepr[2] if isinstance(r.longrepr, tuple) else str(r.longrepr) for r in reports]
    skipped = [text for text in texts if "NOT TESTED: " in text]
    if skipped:
        reasons = {text.split("NOT TESTED: ")[1] for text in skipped}
        terminalreporter.write_sep("!", f"{len(skipped)} tests, or files of tests, did not run")
        for reason in sorted(reasons):
            terminalreporter.write_line(reason)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch):
    # No test may reach for the network.
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.setenv(name, os.environ.get(name, "1"))
