# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Brings PyTorch models to quant-opt.

    import quantopt
    quantopt.from_torch(model, (example,), calibration=samples, output="model.mlirbc")

Importing the package loads neither torch nor torch-mlir; using it does.
"""

from __future__ import annotations

from . import tools

__version__ = "0.1.0"
__all__ = ["from_torch", "tools"]


def __getattr__(name: str):
    if name != "from_torch":
        raise AttributeError(f"module 'quantopt' has no attribute '{name}'")
    try:
        from .frontend import from_torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"quantopt.from_torch needs {error.name}: pip install 'quantopt[torch]'",
            name=error.name,
        ) from None
    return from_torch
