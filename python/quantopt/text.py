# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Text as windows of token ids, and text from tokens that come one by one."""

from __future__ import annotations

import os

import numpy as np


class TextTooShort(ValueError):
    """The text has fewer tokens than were asked for."""


def windows(path: str | os.PathLike[str], tokenizer, length: int, count: int) -> np.ndarray:
    """The first `count` windows of `length` tokens of the text file `path`, int64 [count, length].

    The file is decoded as UTF-8 exactly as stored and is one string; no
    special tokens are added; windows neither overlap nor are shuffled.
    """
    if length < 1 or count < 1:
        raise ValueError("the window length and the number of windows must be positive")
    with open(path, encoding="utf-8", newline="") as stream:
        # Tokenizers look at a neighbourhood only, so a prefix with some reserve
        # gives the same tokens as the whole file, which may be large.
        text = stream.read(12 * length * count)
        ids = _encode(tokenizer, text)
        if len(ids) < length * count:
            ids = _encode(tokenizer, text + stream.read())
    if len(ids) < length * count:
        raise TextTooShort(
            f"{path}: {len(ids)} tokens, {count} windows of {length} take {length * count}: "
            "give a longer text, or fewer or shorter windows"
        )
    return np.asarray(ids[: length * count], dtype=np.int64).reshape(count, length)


def _encode(tokenizer, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


class Streamed:
    """The text that follows a prompt, while its tokens come."""

    # Some tokenizers write a token's space or letter only with those before it.
    CONTEXT = 8

    def __init__(self, tokenizer, prompt: list[int]):
        self.text = ""
        self._tokenizer = tokenizer
        self._tokens = list(prompt[-self.CONTEXT :])
        self._begin = len(self._tokens)  # tokens from here on are not in the text
        self._context = 0  # and are decoded together with those from here on

    def add(self, token: int) -> str:
        """What `token` adds to the text; nothing while a character is not whole."""
        self._tokens.append(token)
        new = self._undecoded()
        return "" if new.endswith("\ufffd") else self._take(new)

    def rest(self) -> str:
        """What add() has kept back."""
        return self._take(self._undecoded())

    def _undecoded(self) -> str:
        known = self._decode(self._tokens[self._context : self._begin])
        return self._decode(self._tokens[self._context :])[len(known) :]

    def _take(self, new: str) -> str:
        self.text += new
        self._begin = len(self._tokens)
        self._context = max(self._context, self._begin - self.CONTEXT)
        return new

    def _decode(self, tokens: list[int]) -> str:
        return self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
