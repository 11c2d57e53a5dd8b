# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The command line, on a tiny model that the test makes."""

import json

import numpy as np
import pytest

torch = pytest.importorskip(
    "torch", reason="NOT TESTED: no torch here; pip install 'quantopt[torch]'"
)
transformers = pytest.importorskip(
    "transformers", reason="NOT TESTED: no transformers here; pip install 'quantopt[torch]'"
)
pytest.importorskip(
    "torch_mlir", reason="NOT TESTED: no torch_mlir here; pip install 'quantopt[torch]'"
)

from quantopt import cli, importer, models, text  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A Llama of two tiny layers with a tokenizer of single bytes."""
    path = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(path)
    vocabulary = {chr(i + 32): i for i in range(64)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "post_processor": None, "decoder": None,
        "pre_tokenizer": {"type": "Split", "pattern": {"String": ""}, "behavior": "Isolated", "invert": False},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": " "},
    }  # fmt: skip
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    return path


def fails(capsys, *arguments):
    """Runs a command that must fail cleanly; returns what it said."""
    assert cli.main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert "quantopt: error: " in error and "Traceback" not in error
    return error.split("quantopt: error: ")[1]


def test_names_and_tying_of_a_checkpoint(folder):
    model = models.CausalLM(models.load(models.resolve(folder)), 8)
    imported = importer.import_model(
        model, (torch.zeros(1, 8, dtype=torch.int64),), rename=model.checkpoint_name
    )
    assert "model.layers.1.self_attn.q_proj.weight" in imported.weights
    assert "model.layers.0.mlp.down_proj.weight" in imported.weights
    assert {"causal_mask", "position_ids"} <= set(imported.weights)
    assert imported.aliases == {"lm_head.weight": "model.embed_tokens.weight"}
    assert "@main(%arg0: tensor<1x8xi64>) -> tensor<1x8x64xf32>" in imported.text
    assert "tm_tensor" not in imported.text


def test_where_models_are_found(tmp_path, monkeypatch):
    package = tmp_path / "some_model"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('never imported')")
    (package / "m.gguf").write_bytes(b"")
    assert models.resolve(package / "m.gguf") == models.Source(package, "m.gguf")
    assert models.resolve(package) == models.Source(package, "m.gguf")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert models.resolve("some-model") == models.Source(package, "m.gguf")
    (package / "n.gguf").write_bytes(b"")
    with pytest.raises(models.ModelError, match="holds 2 GGUF files; name one"):
        models.resolve(package)
    (package / "config.json").write_text("{}")
    assert models.resolve(package) == models.Source(package)


def test_numbers_that_went_through_float32():
    config = transformers.LlamaConfig(rms_norm_eps=float(np.float32(1e-5)), initializer_range=0.02)
    models._undo_float32(config)
    assert config.rms_norm_eps == 1e-5 and config.initializer_range == 0.02


def test_attention_windows_are_respected():
    config = transformers.MistralConfig(
        vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=8,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(config)
    models.CausalLM(model, 8)
    with pytest.raises(models.ModelError, match="attends to 8 tokens only and 9.*--seq-len 8"):
        models.CausalLM(model, 9)


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "gpt_neox", "qwen2"])
def test_other_architectures(architecture):
    config = transformers.AutoConfig.for_model(
        architecture, vocab_size=64, hidden_size=16, intermediate_size=24, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, n_embd=16,
        n_layer=1, n_head=2, ffn_dim=24, word_embed_proj_dim=16, pad_token_id=0, bos_token_id=1,
        eos_token_id=2,
    )  # fmt: skip
    model = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager"
    ).eval()
    wrapped = models.CausalLM(model, 8)
    tokens = torch.arange(8)[None] + 3
    with torch.no_grad():
        torch.testing.assert_close(wrapped(tokens), model(tokens).logits)
    imported = importer.import_model(wrapped, (tokens,), rename=wrapped.checkpoint_name)
    names = {name for name, _ in model.named_parameters()}
    assert names <= set(imported.weights)


def test_tokenize(folder, tmp_path, capsys):
    source = tmp_path / "a.txt"
    source.write_bytes(b"AB\r\nCD" * 20)
    output = tmp_path / "t.npy"
    assert (
        cli.main(
            [
                "tokenize",
                str(folder),
                str(source),
                "-o",
                str(output),
                "--seq-len",
                "8",
                "--windows",
                "3",
            ]
        )
        == 0
    )
    tokens = np.load(output)
    assert tokens.dtype == np.int64 and tokens.shape == (3, 8)
    # As stored: the carriage return is a character of its own.
    assert tokens.ravel()[:7].tolist() == [33, 34, 0, 0, 35, 36, 33]
    message = fails(capsys, "tokenize", folder, source, "-o", tmp_path / "x.npy", "--windows", "3")
    assert "120 tokens, 3 windows of 512 take 1536" in message
    assert not (tmp_path / "x.npy").exists()


def test_a_prefix_of_the_text_is_enough():
    calls = []

    def tokenizer(string, **_):
        calls.append(len(string))
        return {"input_ids": [ord(c) for c in string[::20]]}

    import tempfile

    with tempfile.NamedTemporaryFile("w") as stream:
        stream.write("x" * 1000)
        stream.flush()
        assert text.windows(stream.name, tokenizer, 5, 4).shape == (4, 5)
    assert calls == [240, 1000], "read on only when the first part had too few tokens"


def test_errors(folder, tmp_path, capsys):
    output = tmp_path / "m.mlirbc"
    command = ("import", folder, "-o", output, "--seq-len", "8")
    assert "no model 'nothing-here'" in fails(capsys, "import", "nothing-here", "-o", output)
    assert "neither config.json nor a GGUF file" in fails(capsys, "import", tmp_path, "-o", output)
    (tmp_path / "a.bin").write_bytes(b"")
    assert "not a .gguf file" in fails(capsys, "import", tmp_path / "a.bin", "-o", output)
    assert "no such file" in fails(capsys, *command, "--text", tmp_path / "none.txt")
    assert "none.npy" in fails(capsys, *command, "--calibration", tmp_path / "none.npy")
    assert "not a .npy file" in fails(capsys, *command, "--calibration", tmp_path / "a.bin")

    def tokens(array, *more):
        np.save(tmp_path / "t.npy", array)
        return fails(capsys, *command, "--calibration", tmp_path / "t.npy", *more)

    assert "float64 [2, 8], integers" in tokens(np.zeros((2, 8)))
    assert "windows of 9 tokens" in tokens(np.zeros((2, 9), int))
    assert "--samples asks for 3" in tokens(np.zeros((2, 8), int), "--samples", "3")
    assert "0 windows" in tokens(np.zeros((0, 8), int))
    assert "token ids reach 64, the model knows 64" in tokens(np.full((2, 8), 64))
    assert not output.exists()


def test_arguments_are_checked(capsys):
    for arguments in (
        [],
        ["import"],
        ["import", "m", "-o", "x", "--dtype", "int4"],
        ["import", "m", "-o", "x", "--text", "a", "--calibration", "b"],
        ["tokenize", "m", "t", "-o", "x", "--windows", "0"],
    ):
        with pytest.raises(SystemExit) as status:
            cli.main(arguments)
        assert status.value.code == 2
    assert "must be at least 1" in capsys.readouterr().err


@pytest.mark.quant_opt
def test_import(folder, tmp_path):
    np.save(tmp_path / "t.npy", np.arange(16).reshape(2, 8))
    output = tmp_path / "m.mlirbc"
    assert cli.main(
        ["import", str(folder), "-o", str(output), "--seq-len", "8", "--dtype", "bf16",
         "--calibration", str(tmp_path / "t.npy")]
    ) == 0  # fmt: skip
    data = output.read_bytes()
    assert data[:4] == b"ML\xefR" and b"model.layers.1.mlp.up_proj.weight" in data
