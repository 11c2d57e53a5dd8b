# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Mixture-of-experts models of transformers, small and random, from import to run."""

import json

import numpy as np
import pytest

from oracle import execute, run

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

LENGTH, SAMPLES, EXPERTS = 12, 6, 5

COMMON = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 64,
    "num_experts_per_tok": 2,
}
# [E, N, K] without biases; the same with the top k renormalized; [E, K, N] with
# biases, which are gathered too; a sigmoid router with groups and a shared expert.
ARCHITECTURES = {
    "mixtral": {"num_local_experts": EXPERTS},
    "qwen3_moe": {"num_experts": EXPERTS, "moe_intermediate_size": 20},
    "gpt_oss": {
        "num_local_experts": EXPERTS,
        "layer_types": ["full_attention"] * 2,
        "sliding_window": 64,
    },
    "glm4_moe": {
        "n_routed_experts": EXPERTS,
        "moe_intermediate_size": 20,
        "first_k_dense_replace": 0,
        "n_group": 1,
        "topk_group": 1,
    },
}


def _model(architecture):
    torch.manual_seed(0)
    config = transformers.AutoConfig.for_model(
        architecture, **COMMON, **ARCHITECTURES[architecture]
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    with torch.no_grad():
        for parameter in model.parameters():
            # Larger than the default, so that tokens differ and experts have work.
            parameter.mul_(4 if parameter.dim() > 1 else 1)
    return model.eval().requires_grad_(False)


def _run(path, tokens, folder):
    np.save(folder / "tokens.npy", tokens)
    run("quant-run", path, f"--input={folder / 'tokens.npy'}", f"--output={folder / 'logits.npy'}")
    return np.load(folder / "logits.npy")


def _expert_counts(model, tokens):
    """[layer, expert]: how many tokens the routers of `model` send to each expert."""
    counts = []
    hooks = [
        module.register_forward_pre_hook(
            lambda _, arguments: counts.append(
                torch.bincount(arguments[1].flatten(), minlength=EXPERTS)
            )
        )
        for name, module in model.named_modules()
        if name.endswith(".experts")
    ]
    for sample in tokens:
        model(sample)
    for hook in hooks:
        hook.remove()
    return torch.stack(counts).reshape(len(tokens), -1, EXPERTS).sum(0).tolist()


@pytest.mark.quant_opt
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_from_import_to_run(architecture, tmp_path):
    model = _model(architecture)
    before = model.get_experts_implementation()
    generator = torch.manual_seed(1)
    samples = torch.randint(0, 64, (SAMPLES, 1, LENGTH), generator=generator)
    wrapped = CausalLM(model, LENGTH)
    path = quantopt.from_torch(
        wrapped,
        samples[0],
        calibration=samples,
        output=tmp_path / "model.mlirbc",
        rename=CausalLM.checkpoint_name,
    )
    assert model.get_experts_implementation() == before

    found = tmp_path / "found.mlirbc"
    run("quant-opt", path, "--lowbit-find-linears", "-o", found)
    expected = wrapped(samples[1]).numpy()
    for module in (path, found):
        y = _run(module, samples[1].numpy(), tmp_path)
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-4, err_msg=module.name)

    # With nothing quantized before it, a layer's tokens are those of torch.
    report = tmp_path / "report.json"
    quantized = tmp_path / "quantized.mlirbc"
    done = execute(
        "quant-opt",
        path,
        rf"--gptq-quantize=bits=8 group-size=16 only=mlp\.experts\. progress=none report={report}",
        "-o",
        quantized,
    )
    assert done.returncode == 0, done.stderr.decode()
    layers = {layer["name"]: layer for layer in json.loads(report.read_text())["layers"]}
    counts = _expert_counts(model, samples)
    parts = ("gate_up_proj", "down_proj")
    for part in parts:
        for expert in range(EXPERTS):
            layer = layers[f"model.layers.0.mlp.experts.{part}.{expert}"]
            assert layer["tokens"] == counts[0][expert]
            assert (layer["fallback"] is None) == (counts[0][expert] > 0)
    assert len(layers) == 2 * len(parts) * EXPERTS
    for part in parts:
        total = sum(layers[f"model.layers.1.mlp.experts.{part}.{e}"]["tokens"] for e in range(EXPERTS))
        assert total == 2 * SAMPLES * LENGTH

    y = _run(quantized, samples[1].numpy(), tmp_path)
    lowered = tmp_path / "lowered.mlirbc"
    run("quant-opt", quantized, "--lowbit-to-linalg", "-o", lowered)
    meaning = _run(lowered, samples[1].numpy(), tmp_path)
    np.testing.assert_allclose(y, meaning, rtol=0, atol=1e-5)
    scale = np.abs(expected).max()
    assert 0 < np.abs(y - expected).max() < 0.05 * scale
