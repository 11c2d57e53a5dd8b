# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""One line on stderr for each thing that takes a while."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Says `what` is being done and, at its end, how long it took."""
    terminal = sys.stderr.isatty()
    start = time.monotonic()
    print(f"quantopt: {what} ...", end="" if terminal else "\n", file=sys.stderr, flush=True)
    try:
        yield
    except BaseException:
        if terminal:
            print(file=sys.stderr)
        raise
    seconds = f"{time.monotonic() - start:.1f} s"
    print(
        f" {seconds}" if terminal else f"quantopt: {what}: {seconds}", file=sys.stderr, flush=True
    )


def note(what: str) -> None:
    """A line of information."""
    print(f"quantopt: {what}", file=sys.stderr, flush=True)
