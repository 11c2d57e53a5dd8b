# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The machine instructions in a cubin, by kind.

A cubin is an ELF64 file with the code of each kernel in a section of its name. From
sm_70 on an instruction has 16 bytes; its lowest 9 bits say the operation, the next 3
where the operands come from (register, immediate, constant). What the numbers mean
was found by assembling PTX of one instruction; test_ptxas.py does it again.
"""

import struct
from collections import Counter

OPERATIONS = {
    0x012: "LOP3",
    0x016: "PRMT",
    0x019: "SHF",
    0x020: "FMUL",
    0x021: "FADD",
    0x023: "FFMA",
    0x030: "HADD2",
    0x031: "HFMA2",
    0x032: "HMUL2",
    0x035: "HFMA2",  # on the tensor cores' side
    0x03C: "HMMA",
    0x03E: "F2FP",
    0x118: "NOP",
    0x181: "LDG",
    0x186: "STG",
}

# What moves data or fills the end of a kernel: no work on numbers.
MEMORY = {"LDG", "STG", "NOP"}


def _sections(cubin: bytes):
    table = struct.unpack_from("<Q", cubin, 40)[0]
    size, count, names = struct.unpack_from("<HHH", cubin, 58)
    headers = [struct.unpack_from("<IIQQQQ", cubin, table + i * size) for i in range(count)]
    for name, _, _, _, offset, length in headers:
        start = headers[names][4] + name
        text = cubin[start : cubin.index(b"\0", start)].decode()
        yield text, cubin[offset : offset + length]


def instructions(cubin: bytes) -> dict[str, Counter]:
    """For each kernel how many there are of each operation; unknown ones as "0x...". """
    result = {}
    for name, code in _sections(cubin):
        if not name.startswith(".text."):
            continue
        words = (struct.unpack_from("<Q", code, at)[0] & 0x1FF for at in range(0, len(code), 16))
        result[name.removeprefix(".text.")] = Counter(
            OPERATIONS.get(word, hex(word)) for word in words
        )
    return result
