# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Other programs for the same layer, as far as they are installed. Goes with the folder
that build.py makes.

Each function takes torch, [m, k] activations x (bf16 or f16) and the [n, k] weight as f64,
and returns the weight in the program's form with a function (x, weight) -> y. It raises if
the program is not there or does not take the layer.
"""


class Missing(Exception):
    """The program is not installed, or is not for this layer."""


def cublas(torch, x, weight, case):
    """The dense product, on the weight rounded to the type of x."""
    return (weight.to(x.dtype),), lambda x, w: torch.nn.functional.linear(x, w)


def torch_int4(torch, x, weight, case):
    """torch's own tinygemm: groups of bf16 scales and offsets. It rounds the weight anew;
    where the layer is symmetric with scales of bf16 it could hold the same values.
    """
    scheme, (n, k) = case["scheme"], weight.shape
    if scheme["bits"] != 4 or scheme["table"] != "linear" or x.dtype != torch.bfloat16:
        raise Missing("takes 4 bits and bf16")
    if scheme["group"] not in (32, 64, 128, 256):
        raise Missing("takes groups of 32, 64, 128 or 256")
    groups = weight.reshape(n, -1, scheme["group"])
    low, high = groups.amin(2, keepdim=True), groups.amax(2, keepdim=True)
    scales = ((high - low) / 15).bfloat16().double()
    middle = (low + 8 * scales).bfloat16().double()
    codes = ((groups - middle) / scales + 8).round().clamp(0, 15).to(torch.uint8).reshape(n, k)
    packed = torch.ops.aten._convert_weight_to_int4pack(codes[:, ::2] << 4 | codes[:, 1::2], 8)
    pairs = torch.cat([scales, middle], 2).bfloat16().transpose(0, 1).contiguous()
    group = scheme["group"]
    product = torch.ops.aten._weight_int4pack_mm
    return (packed, pairs), lambda x, packed, pairs: product(x, packed, group, pairs)


def bitsandbytes(torch, x, weight, case):
    """Its NF4 with blocks of 64, rounded anew."""
    if case["scheme"]["table"] != "nf4":
        raise Missing("is compared with NF4")
    try:
        import bitsandbytes as bnb
    except ImportError as error:
        raise Missing(f"not installed ({error})") from None
    packed, state = bnb.functional.quantize_4bit(
        weight.to(x.dtype), blocksize=64, quant_type="nf4"
    )
    return (packed,), lambda x, w: bnb.matmul_4bit(x, w.t(), state)


def marlin(torch, x, weight, case):
    """IST-DASLab's Marlin (package `marlin`): f16, symmetric, groups of 128."""
    scheme, (n, k) = case["scheme"], weight.shape
    if scheme["bits"] != 4 or scheme["table"] != "linear" or scheme["group"] != 128:
        raise Missing("takes 4 bits in groups of 128")
    if x.dtype != torch.float16:
        raise Missing("takes f16")
    try:
        import marlin as module
    except ImportError as error:
        raise Missing(f"not installed ({error})") from None
    layer = module.Layer(k, n, groupsize=128).to(x.device)
    linear = torch.nn.Linear(k, n, bias=False, dtype=torch.float16, device=x.device)
    scales = (weight.reshape(n, -1, 128).abs().amax(2) / 7).half()
    whole = scales.double().repeat_interleave(128, 1)
    linear.weight.data = ((weight / whole).round().clamp(-8, 7) * whole).half()
    layer.pack(linear, scales.t().contiguous())
    workspace = torch.zeros(n // 128 * 16, dtype=torch.int32, device=x.device)

    def product(x, b, s):
        y = torch.empty(x.shape[0], n, dtype=x.dtype, device=x.device)
        module.mul(x, b, y, s, workspace)
        return y

    return (layer.B, layer.s), product


PEERS = {
    "cuBLAS": cublas,
    "torch int4": torch_int4,
    "bitsandbytes": bitsandbytes,
    "Marlin": marlin,
}
