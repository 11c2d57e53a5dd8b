# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""llama.cpp on a whole model, in the environment ggml; model.py starts it.

  python -m linear_cpu.llamacpp quantize SOURCE.gguf TYPE OUTPUT.gguf
  python -m linear_cpu.llamacpp serve MODEL.gguf THREADS PROMPT TOKENS REPEATS

`serve` answers each line of its input by a line of JSON: the seconds of a prompt of so many
tokens, and of writing so many after a prompt of one, the fastest of so many times.
"""

from __future__ import annotations

import ctypes
import json
import sys
import time

import llama_cpp


def quantize(source: str, type_: str, output: str) -> None:
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{type_}")
    parameters.allow_requantize = True  # for times, values mean nothing
    status = llama_cpp.llama_model_quantize(
        source.encode(), output.encode(), ctypes.byref(parameters)
    )
    if status:
        raise SystemExit(f"llama.cpp could not quantize: {status}")


class Model:
    def __init__(self, path: str, threads: int, length: int):
        self.model = llama_cpp.Llama(
            path, n_ctx=length, n_batch=length, n_ubatch=length, n_threads=threads,
            n_threads_batch=threads, verbose=False)  # fmt: skip

    def clear(self) -> None:
        memory = llama_cpp.llama_get_memory(self.model.ctx)
        llama_cpp.llama_memory_clear(memory, True)

    def seconds(self, tokens: list[int]) -> float:
        """Of tokens that are added at once."""
        ids = (llama_cpp.llama_token * len(tokens))(*tokens)
        batch = llama_cpp.llama_batch_get_one(ids, len(tokens))
        start = time.perf_counter()
        if llama_cpp.llama_decode(self.model.ctx, batch):
            raise SystemExit("llama.cpp could not decode")
        llama_cpp.llama_synchronize(self.model.ctx)
        return time.perf_counter() - start


    def prefill(self, tokens: int) -> float:
        self.clear()
        return self.seconds(list(range(1000, 1000 + tokens)))

    def decode(self, tokens: int) -> float:
        self.clear()
        self.seconds([1000])
        return sum(self.seconds([2000 + token]) for token in range(tokens))


def serve(path: str, threads: int, prompt: int, tokens: int, repeats: int) -> None:
    model = Model(path, threads, prompt + tokens)
    for _ in sys.stdin:
        prefill = min(model.prefill(prompt) for _ in range(repeats))
        decode = min(model.decode(tokens) for _ in range(repeats))
        print(json.dumps({"prefill": prefill, "decode": decode}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "quantize":
        quantize(*sys.argv[2:])
    else:
        serve(sys.argv[2], *map(int, sys.argv[3:]))
