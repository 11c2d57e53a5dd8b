# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""AWQ's scales go into any architecture, small and random, and change no result."""

import json

import numpy as np
import pytest

from oracle import run

torch = pytest.importorskip(
    "torch", reason="NOT TESTED: no torch here; pip install 'quantopt[torch]'"
)
pytest.importorskip(
    "torch_mlir", reason="NOT TESTED: no torch_mlir here; pip install 'quantopt[torch]'"
)
transformers = pytest.importorskip(
    "transformers", reason="NOT TESTED: no transformers here; pip install 'quantopt[torch]'"
)

import quantopt  # noqa: E402
from quantopt.models import CausalLM  # noqa: E402

pytestmark = pytest.mark.quant_opt

LENGTH, SAMPLES = 12, 8
SIZES = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 4, "max_position_embeddings": 64, "n_embd": 32, "n_layer": 2,
    "n_head": 4, "ffn_dim": 48, "word_embed_proj_dim": 32, "head_dim": 8, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# What takes the scales of some layers of the second block; nothing: they are not
# worth a product of their own.
PLACES = {
    # q, k and v in one linear, layer norms with biases, weights [K, N]
    "gpt2": {"attn.c_attn": ["ln_1.weight", "ln_1.bias"], "mlp.c_fc": ["ln_2.weight", "ln_2.bias"]},
    # linears with biases
    "opt": {
        "self_attn.q_proj": ["self_attn_layer_norm.weight", "self_attn_layer_norm.bias"],
        "self_attn.out_proj": ["self_attn.v_proj.bias", "self_attn.v_proj"],
    },
    # attention and MLP read norms of one value
    "gpt_neox": {
        "attention.query_key_value": ["input_layernorm.weight", "input_layernorm.bias"],
        "mlp.dense_h_to_4h": ["post_attention_layernorm.weight", "post_attention_layernorm.bias"],
    },
    "qwen2": {
        "mlp.gate_proj": ["post_attention_layernorm.weight"],
        "mlp.down_proj": ["mlp.up_proj"],
    },
    # gains of 1 + w
    "gemma": {
        "mlp.gate_proj": ["post_attention_layernorm.weight"],
        "mlp.down_proj": ["mlp.up_proj"],
    },
    # four heads share two of keys and values
    "llama": {"mlp.gate_proj": ["post_attention_layernorm.weight"], "self_attn.o_proj": []},
}


def make(architecture, folder):
    torch.manual_seed(0)
    heads = 2 if architecture == "llama" else 4
    config = transformers.AutoConfig.for_model(architecture, num_key_value_heads=heads, **SIZES)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            # Channels of different size, or there is nothing to scale.
            size = parameter.shape[-1]
            parameter.mul_(torch.empty(size).log_normal_(0, 1.0))
            parameter.add_(0.1 * torch.randn(parameter.shape))
    path = folder / "model.mlirbc"
    tokens = torch.randint(3, 64, (SAMPLES, 1, LENGTH))
    wrapped = CausalLM(model.eval().requires_grad_(False), LENGTH)
    quantopt.from_torch(
        wrapped, tokens[0], calibration=tokens, output=path, rename=wrapped.checkpoint_name
    )
    return path, tokens[0].numpy()


def logits(path, tokens, folder):
    np.save(folder / "x.npy", tokens)
    run("quant-run", path, f"--input={folder / 'x.npy'}", f"--output={folder / 'y.npy'}")
    return np.load(folder / "y.npy")


@pytest.mark.parametrize("architecture", PLACES)
def test_the_scaled_model_computes_the_same(architecture, tmp_path):
    path, tokens = make(architecture, tmp_path)
    scaled, report = tmp_path / "scaled.mlirbc", tmp_path / "report.json"
    options = f"bits=3 group-size=16 progress=none report={report}"
    run("quant-opt", path, f"--lowbit-awq-scale={options}", "-o", scaled)
    before, after = (logits(p, tokens, tmp_path) for p in (path, scaled))
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-5 * np.abs(before).max())
    layers = {layer["name"]: layer["awq"] for layer in json.loads(report.read_text())["layers"]}
    assert max(awq["alpha"] for awq in layers.values()) > 0
    for name, places in PLACES[architecture].items():
        (awq,) = [awq for layer, awq in layers.items() if f".1.{name}" in layer]
        placed = [place for place in awq["placed"].split(", ") if place]
        assert len(placed) == len(places), placed
        assert all(place.endswith(f".1.{end}") for place, end in zip(placed, places)), placed
