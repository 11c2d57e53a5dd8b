# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO]:
    """Opens a temporary neighbour of `path` and renames it there at the end.

    When the body raises, the temporary file is removed and whatever stood at
    `path` before stays as it was.
    """
    target = Path(path)
    # Not tempfile.mkstemp: its files are private, and an output file should
    # have the permissions that the user's umask gives.
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    options = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    try:
        with open(temporary, mode.replace("w", "x"), **options) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
