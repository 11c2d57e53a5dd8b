# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the trained model and its calibration windows as char-lm.mlirbc."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from model import CharLM
from quantopt import from_torch

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="what train.py wrote")
    parser.add_argument("-o", "--output", type=Path, default=HERE / "char-lm.mlirbc")
    parser.add_argument(
        "--calibration",
        type=Path,
        help="token ids [windows, context] (default: calibration.npy beside the checkpoint)",
    )
    options = parser.parse_args()
    model = CharLM()
    model.load_state_dict(load_file(options.checkpoint))
    windows = np.load(options.calibration or options.checkpoint.with_name("calibration.npy"))
    example = torch.zeros(1, model.config.context, dtype=torch.int64)
    from_torch(model, example, windows[:, None, :].astype(np.int64), options.output)


if __name__ == "__main__":
    main()
