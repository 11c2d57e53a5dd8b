# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where the command-line tools of quant-opt are, and how to call them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path


class ToolNotFound(FileNotFoundError):
    """No such tool in any of the places where tools are looked for."""


class ToolFailed(RuntimeError):
    """A tool ended with an error; the message holds what it printed."""


def find(name: str) -> Path:
    """The path of the tool `name`, e.g. "quant-opt".

    Looked for in $QUANTOPT_BIN, in the package's own bin/ folder (a wheel
    brings the tools along), in build/bin of the source checkout that this
    package lies in, and on PATH, in this order. When QUANTOPT_BIN is set, the
    tool must be there: a forgotten setting never picks another build.
    """
    override = os.environ.get("QUANTOPT_BIN")
    if override:
        path = Path(override) / name
        if _is_executable(path):
            return path
        raise ToolNotFound(
            f"{name} is not in QUANTOPT_BIN ({override}): build it there or unset the variable"
        )
    package = Path(__file__).resolve().parent
    places = [package / "bin"]
    # <repository>/python/quantopt/tools.py, and only in a checkout of ours.
    if (package.parents[1] / "CMakePresets.json").is_file():
        places.append(package.parents[1] / "build" / "bin")
    for place in places:
        if _is_executable(place / name):
            return place / name
    on_path = shutil.which(name)
    if on_path:
        return Path(on_path)
    looked = ", ".join(str(place) for place in places)
    raise ToolNotFound(
        f"{name} not found: looked in {looked} and on PATH; build it with "
        "'cmake --preset default && cmake --build build', or set QUANTOPT_BIN to the folder it is in"
    )


def run(
    name: str,
    arguments: Sequence[str | os.PathLike[str]],
    folder: str | os.PathLike[str] | None = None,
) -> None:
    """Runs the tool `name` in `folder`; what it says is passed on, a failure raises ToolFailed."""
    command = [str(find(name).resolve()), *map(str, arguments)]
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    if done.returncode:
        status = (
            f"exit code {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
        )
        raise ToolFailed(f"{name} failed ({status}):\n{done.stderr.strip()}")
    if done.stderr:
        print(done.stderr, end="", file=sys.stderr)


@contextlib.contextmanager
def lines(name: str, arguments: Sequence[str | os.PathLike[str]]) -> Iterator[Iterator[str]]:
    """Runs the tool `name`; gives what it prints line by line, as it comes.

    Its messages go to this process's stderr as they are. Raises ToolFailed at the end if it failed.
    """
    command = [str(find(name).resolve()), *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield (line.rstrip("\n") for line in process.stdout)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ToolFailed(f"{name} failed (exit code {process.returncode})")


def _is_executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)
