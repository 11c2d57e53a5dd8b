# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line: python -m quantopt import|tokenize|generate ..."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from . import __version__, tools
from ._files import replacing
from ._progress import note, step
from .tools import ToolFailed, ToolNotFound


class UsageError(ValueError):
    """The arguments do not fit each other or the files they name."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    # What transformers draws while it loads would mix with our own lines.
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        options.run(options)
    except ModuleNotFoundError as error:
        return _fail(f"needs the Python module {error.name}: pip install 'quantopt[torch]'")
    except (
        ToolFailed,
        ToolNotFound,
        OSError,
        ValueError,
        RuntimeError,
        subprocess.SubprocessError,
    ) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("interrupted; nothing was written", 130)
    return 0


def run() -> None:
    """The installed command `quantopt`."""
    sys.exit(main())


def _fail(message: str, status: int = 1) -> int:
    print(f"quantopt: error: {message}", file=sys.stderr)
    return status


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quantopt", description="Brings language models to quant-opt."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "model",
        help="a Hugging Face folder, a GGUF file, or an installed Python package with one inside",
    )
    model.add_argument(
        "--seq-len", type=_positive, default=512, help="tokens in a window (default: 512)"
    )

    command = commands.add_parser("import", parents=[model], help="write a model as .mlirbc")
    command.add_argument(
        "-o", "--output", type=Path, required=True, help="the .mlirbc file to write"
    )
    data = command.add_mutually_exclusive_group()
    data.add_argument(
        "--calibration", type=Path, metavar="NPY", help="token ids [windows, seq-len]"
    )
    data.add_argument("--text", type=Path, help="a text file, tokenized for calibration")
    command.add_argument(
        "--samples", type=_positive, help="calibration windows (default: up to 32)"
    )
    command.add_argument(
        "--dtype", choices=("f32", "f16", "bf16"), default="f32", help="of weights and activations"
    )
    command.add_argument(
        "--generate",
        action="store_true",
        help="write the functions that quant-run --generate needs as well",
    )
    command.add_argument(
        "--cache-length", type=_positive, default=1024, help="tokens in all (default: 1024)"
    )
    command.add_argument(
        "--cache-type",
        choices=("f32", "f16", "bf16"),
        help="of cached keys and values: f16 takes half the memory of f32 (default: --dtype)",
    )
    command.add_argument(
        "--prefill-length",
        type=_positive,
        default=64,
        help="tokens of a prompt that are read at once (default: 64)",
    )
    command.add_argument(
        "--batch", type=_positive, default=1, help="sequences that are written at once (default: 1)"
    )
    command.set_defaults(run=_import)

    command = commands.add_parser(
        "tokenize", parents=[model], help="write a text as windows of token ids"
    )
    command.add_argument("text", type=Path, help="a UTF-8 text file; taken exactly as stored")
    command.add_argument("-o", "--output", type=Path, required=True, help="the .npy file to write")
    command.add_argument("--windows", type=_positive, default=40, help="how many (default: 40)")
    command.set_defaults(run=_tokenize)

    command = commands.add_parser(
        "generate", help="continue texts with a model that was imported with --generate"
    )
    command.add_argument("module", type=Path, help="the .mlirbc file, quantized or not")
    command.add_argument(
        "--tokenizer",
        required=True,
        metavar="MODEL",
        help="where the tokenizer is: what `import` was given",
    )
    command.add_argument(
        "--prompt", action="append", required=True, help="a text to continue; may be repeated"
    )
    command.add_argument(
        "--max-tokens", type=_positive, default=128, help="new tokens of each text (default: 128)"
    )
    command.add_argument(
        "--temperature", type=float, default=0, help="0, the default: always the likeliest token"
    )
    command.add_argument("--top-k", type=int, default=0, help="draw from the k likeliest (0: all)")
    command.add_argument(
        "--top-p", type=float, default=1, help="draw from the likeliest of this sum (1: all)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the draws (default: 0)")
    command.add_argument(
        "--compute",
        choices=("f32", "bf16", "i8"),
        default="f32",
        help="what quantized layers multiply in (default: f32)",
    )
    command.add_argument(
        "--ignore-end", action="store_true", help="go on after the tokenizer's end of text"
    )
    command.set_defaults(run=_generate)
    return parser


def _import(options: argparse.Namespace) -> None:
    # What needs no model is checked before anything slow is loaded.
    tokens = _read_tokens(options) if options.calibration else None
    if options.text and not options.text.is_file():
        raise UsageError(f"{options.text}: no such file")

    import torch

    from . import models
    from .frontend import from_torch

    source = models.resolve(options.model)
    if options.text:
        tokens = _windows(source, options.text, options.seq_len, options.samples or 32)
    model = models.load(source, models.DTYPES[options.dtype])
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if tokens is not None and not 0 <= tokens.min() <= tokens.max() < vocabulary:
        raise UsageError(
            f"{options.calibration}: token ids reach {tokens.max()}, the model knows {vocabulary}"
        )
    wrapped = models.CausalLM(model, options.seq_len)
    example = torch.zeros(1, options.seq_len, dtype=torch.int64)
    more = []
    if options.generate:
        from . import generation

        more = generation.functions(
            model,
            options.cache_length,
            options.prefill_length,
            options.batch,
            models.DTYPES.get(options.cache_type),
        )
    from_torch(wrapped, example, tokens, options.output, rename=wrapped.checkpoint_name, more=more)


def _read_tokens(options: argparse.Namespace) -> np.ndarray:
    path = options.calibration
    try:
        tokens = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise UsageError(f"{path}: not a .npy file of token ids: {error}") from None
    if not isinstance(tokens, np.ndarray) or tokens.dtype.kind not in "iu" or tokens.ndim != 2:
        what = (
            f"{tokens.dtype} {list(tokens.shape)}"
            if isinstance(tokens, np.ndarray)
            else "an archive"
        )
        raise UsageError(f"{path}: {what}, integers [windows, {options.seq_len}] are needed")
    if tokens.shape[1] != options.seq_len:
        raise UsageError(
            f"{path}: windows of {tokens.shape[1]} tokens, the model is imported for {options.seq_len}: "
            f"give --seq-len {tokens.shape[1]} or other windows"
        )
    if tokens.shape[0] < (options.samples or 1):
        raise UsageError(
            f"{path}: {tokens.shape[0]} windows, --samples asks for {options.samples or 1}"
        )
    return tokens[: options.samples or 32].astype(np.int64)


def _windows(source, path: Path, length: int, count: int) -> np.ndarray:
    from . import models, text

    with step(f"tokenizing {path.name}"):
        return text.windows(path, models.load_tokenizer(source), length, count)


def _tokenize(options: argparse.Namespace) -> None:
    if not options.text.is_file():
        raise UsageError(f"{options.text}: no such file")
    from . import models

    tokens = _windows(models.resolve(options.model), options.text, options.seq_len, options.windows)
    with replacing(options.output) as stream:
        np.save(stream, tokens)
    note(f"wrote {options.output}: {tokens.shape[0]} windows of {tokens.shape[1]} tokens")


def _generate(options: argparse.Namespace) -> None:
    if not options.module.is_file():
        raise UsageError(f"{options.module}: no such file")
    from . import models, text

    tokenizer = models.load_tokenizer(models.resolve(options.tokenizer))
    prompts = [tokenizer(prompt)["input_ids"] for prompt in options.prompt]
    arguments = [options.module, f"--max-tokens={options.max_tokens}"]
    arguments += [f"--temperature={options.temperature}", f"--seed={options.seed}"]
    arguments += [f"--compute={options.compute}"]
    arguments += [f"--top-k={options.top_k}", f"--top-p={options.top_p}"]
    arguments += ["--generate=" + ";".join(",".join(map(str, prompt)) for prompt in prompts)]
    end = tokenizer.eos_token_id
    if end is not None and not options.ignore_end:
        arguments.append(f"--stop={end}")
    texts = [text.Streamed(tokenizer, prompt) for prompt in prompts]
    # Texts that grow together are shown when they are whole.
    streaming = len(texts) == 1
    if streaming:
        print(options.prompt[0], end="", flush=True)
    with tools.lines("quant-run", arguments) as lines:
        for line in lines:
            number, token = ("0", line) if streaming else line.split()
            new = texts[int(number)].add(int(token))
            if streaming:
                print(new, end="", flush=True)
    if streaming:
        print(texts[0].rest())
        return
    for number, (prompt, grown) in enumerate(zip(options.prompt, texts)):
        grown.rest()
        print(f"--- {number}\n{prompt}{grown.text}")
