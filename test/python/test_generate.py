# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Prefill, decode and quant-run --generate against what transformers generates."""

import json
import re
import subprocess

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

from quantopt import cli, generation, models, text, tools  # noqa: E402

pytestmark = pytest.mark.quant_opt

VOCABULARY, CACHE, PREFILL, BATCH = 64, 32, 8, 2
SIZES = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, max_position_embeddings=64, initializer_range=0.4,
)  # fmt: skip
CONFIGS = {
    "llama": lambda: transformers.LlamaConfig(
        num_key_value_heads=2, tie_word_embeddings=True, **SIZES
    ),
    "qwen2": lambda: transformers.Qwen2Config(num_key_value_heads=2, **SIZES),
    "gpt2": lambda: transformers.GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, initializer_range=0.4
    ),
}
# Shorter than a chunk, as long as one, longer, and as long as two.
PROMPTS = [[5, 9, 3], [7, 1, 2, 60, 33, 8, 4, 4], [11, 62, 13, 4, 15, 6, 17, 8, 19, 20, 2], list(range(16))]


class Imported:
    """A model, its folder and its module."""

    def __init__(self, kind, folder, *options):
        torch.manual_seed(0)
        config = CONFIGS[kind]()
        config.bos_token_id = config.eos_token_id = config.pad_token_id = None
        self.model = transformers.AutoModelForCausalLM.from_config(config).eval()
        self.folder = folder / kind
        self.model.save_pretrained(self.folder)
        self.path = folder / f"{kind}.mlirbc"
        np.save(folder / "tokens.npy", np.random.default_rng(0).integers(0, VOCABULARY, (4, 16)))
        assert 0 == cli.main(
            ["import", str(self.folder), "-o", str(self.path), "--seq-len=16", "--generate"]
            + [f"--cache-length={CACHE}", f"--prefill-length={PREFILL}", f"--batch={BATCH}"]
            + [f"--calibration={folder / 'tokens.npy'}", *options]
        )  # fmt: skip

    def expected(self, prompt, count):
        """What transformers generates, greedily."""
        tokens = torch.tensor([prompt])
        out = self.model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=count, do_sample=False
        )
        return out[0, len(prompt) :].tolist()

    def logits(self, tokens):
        with torch.no_grad():
            return self.model(torch.tensor(np.array([tokens]))).logits[0].numpy()


@pytest.fixture(scope="module", params=list(CONFIGS))
def imported(request, tmp_path_factory):
    return Imported(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return Imported("llama", tmp_path_factory.mktemp("llama"))


def run(*arguments, check=True):
    command = [str(tools.find("quant-run")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert not check or done.returncode == 0, done.stderr
    return done


def generate(path, prompts, *options, report):
    """The new tokens of each prompt."""
    spelled = ";".join(",".join(map(str, prompt)) for prompt in prompts)
    run(path, f"--generate={spelled}", f"--json={report}", *options)
    return [sequence["tokens"] for sequence in json.loads(report.read_text())["sequences"]]


def test_greedy_tokens_are_those_of_transformers(imported, tmp_path):
    tokens = generate(imported.path, PROMPTS, "--max-tokens=14", report=tmp_path / "report.json")
    assert tokens == [imported.expected(prompt, 14) for prompt in PROMPTS]


def test_repeats_are_written_once(llama, tmp_path):
    report = tmp_path / "report.json"
    done = run(llama.path, "--generate=5,9,3", "--max-tokens=4", "--repeat=3", f"--json={report}")
    tokens = llama.expected([5, 9, 3], 4)
    assert [int(line) for line in done.stdout.split()] == tokens
    figures = json.loads(report.read_text())
    assert figures["sequences"][0]["tokens"] == tokens and figures["new_tokens"] == 4


def test_a_batch_is_as_each_alone(llama, tmp_path):
    options = ("--max-tokens=9", "--temperature=1.5", "--top-k=20", "--top-p=0.95")
    report = tmp_path / "report.json"
    together = generate(llama.path, PROMPTS, *options, "--seed=3", report=report)
    alone = [
        generate(llama.path, [prompt], *options, f"--seed={3 + i}", report=report)[0]
        for i, prompt in enumerate(PROMPTS)
    ]
    assert together == alone
    other = generate(llama.path, PROMPTS, *options, "--seed=99", report=report)
    assert other != together


def test_a_short_rest_of_a_prompt_is_decoded(llama, tmp_path):
    """An eighth of a chunk, which is one token; the prompts beside it wait."""
    report = tmp_path / "report.json"
    prompts = [[7], PROMPTS[1], PROMPTS[2], [7, 1, 2, 60, 33, 8, 4, 4, 9]]
    together = generate(llama.path, prompts, "--max-tokens=9", report=report)
    assert together == [llama.expected(prompt, 9) for prompt in prompts]
    for prompt, calls in zip(prompts, (0, 1, 2, 1)):
        generate(llama.path, [prompt], "--max-tokens=1", report=report)
        assert json.loads(report.read_text())["prefill_calls"] == calls
    # The last place of a full cache.
    full = np.random.default_rng(2).integers(0, VOCABULARY, CACHE - PREFILL + 1).tolist()
    other = np.random.default_rng(3).integers(0, VOCABULARY, CACHE).tolist()
    tokens = generate(llama.path, [full, other], "--max-tokens=3", report=report)
    assert tokens == [llama.expected(full, 3), llama.expected(other, 1)]


def call(path, entry, inputs, folder):
    """The results of one call of `entry`; the inputs are written to files and left as they are."""
    arguments = []
    for i, array in enumerate(inputs):
        np.save(folder / f"in{i}.npy", array)
        arguments.append(f"--input={folder / f'in{i}.npy'}")
    run(path, f"--entry={entry}", f"--output-dir={folder / 'out'}", *arguments)
    for i, array in enumerate(inputs):
        assert np.array_equal(np.load(folder / f"in{i}.npy"), array)
    return [np.load(folder / "out" / f"result{i}.npy") for i in range(1 + 4)]


@pytest.mark.parametrize("cache_type, tolerance", [("f32", 1e-3), ("f16", 1e-2)])
def test_logits_and_caches(tmp_path, cache_type, tolerance):
    """Each function by itself, against the logits of the whole text."""
    llama = Imported("llama", tmp_path, f"--cache-type={cache_type}")
    texts = np.random.default_rng(1).integers(0, VOCABULARY, (BATCH, PREFILL + 3))
    # What stands in a cache behind the last token is never looked at.
    element = {"f32": np.float32, "f16": np.float16}[cache_type]
    caches = [np.full((BATCH, 2, CACHE, 8), 1e3, element) for _ in range(4)]
    last = np.array([4, PREFILL - 1])
    results = call(
        llama.path, "prefill", [texts[:, :PREFILL], np.zeros(BATCH, np.int64), last, *caches], tmp_path
    )
    lengths = last + 1
    for step in range(3):
        for b in range(BATCH):
            expected = llama.logits(texts[b, : lengths[b]])[-1]
            np.testing.assert_allclose(results[0][b], expected, rtol=tolerance, atol=tolerance)
        for cache in results[1:]:
            assert cache.dtype == element
            for b in range(BATCH):
                written = PREFILL if step == 0 else max(PREFILL, lengths[b])
                assert (cache[b, :, written:] == 1e3).all() and (cache[b, :, :written] != 1e3).all()
        tokens = texts[np.arange(BATCH), lengths][:, None]
        results = call(llama.path, "decode", [tokens, lengths, *results[1:]], tmp_path)
        lengths = lengths + 1


def test_main_and_decode_are_quantized_to_one_weight(llama, tmp_path):
    quantized, report = tmp_path / "q.mlirbc", tmp_path / "report.json"
    tools.run(
        "quant-opt",
        [f"--gptq-quantize=group-size=16 tied=quantize report={report}", llama.path, "-o", quantized],
    )
    layers = json.loads(report.read_text())
    names = [layer["name"] for layer in layers["layers"]]
    assert len(names) == len(set(names)) == 15
    assert not any("entry function" in skip["reason"] for skip in layers["skipped"])
    tokens = generate(quantized, PROMPTS, "--max-tokens=10", report=report)
    # `main` of the quantized module, a token at a time, is what decode must follow.
    for prompt, new in zip(PROMPTS, tokens):
        whole = prompt + new
        for i in range(max(len(prompt), 1), min(len(whole), 16)):
            window = np.array([whole[:i] + [0] * (16 - i)])
            np.save(tmp_path / "window.npy", window)
            run(quantized, f"--input={tmp_path / 'window.npy'}", f"--output={tmp_path / 'y.npy'}")
            assert np.load(tmp_path / "y.npy")[0, i - 1].argmax() == whole[i]


def test_weights_stand_in_the_file_once(llama, tmp_path):
    quantized, packed = tmp_path / "quantized.mlirbc", tmp_path / "packed.mlirbc"
    tools.run("quant-opt", ["--rtn-quantize=group-size=16", llama.path, "-o", quantized])
    tools.run("quant-opt", ["--lowbit-pack=target=cpu", quantized, "-o", packed])
    for path in (llama.path, quantized, packed):
        keys = resource_keys(path)
        assert "model.layers.0.mlp.up_proj" in " ".join(keys)
        # A second one of the same name would have a number.
        assert len(keys) == len({re.sub(r"_\d+$", "", key) for key in keys}), keys


def resource_keys(path):
    done = subprocess.run(
        [str(tools.find("quant-opt")), str(path)], capture_output=True, text=True, check=True
    )
    resources = done.stdout.split("{-#")[1]
    return [line.split(":")[0].strip() for line in resources.splitlines() if ': "0x' in line]


def test_text_comes_with_its_spaces(llama, tmp_path, capsys):
    """The command line, with a tokenizer of words."""
    vocabulary = {f"w{i}": i for i in range(VOCABULARY)}
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "post_processor": None, "decoder": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w0"},
    }  # fmt: skip
    (tmp_path / "config.json").write_text((llama.folder / "config.json").read_text())
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"})
    )
    words = lambda tokens: " ".join(f"w{token}" for token in tokens)  # noqa: E731
    common = ["generate", str(llama.path), f"--tokenizer={tmp_path}", "--max-tokens=5"]
    assert cli.main([*common, f"--prompt={words(PROMPTS[0])}"]) == 0
    expected = [words(llama.expected(prompt, 5)) for prompt in PROMPTS[:2]]
    assert capsys.readouterr().out == f"{words(PROMPTS[0])} {expected[0]}\n"
    assert cli.main([*common, *(f"--prompt={words(prompt)}" for prompt in PROMPTS[:2])]) == 0
    out = capsys.readouterr().out
    for i in range(2):
        assert f"--- {i}\n{words(PROMPTS[i])} {expected[i]}\n" in out
    assert cli.main(["generate", str(llama.path), "--tokenizer=nowhere", "--prompt=x"]) == 1
    assert "no model 'nowhere'" in capsys.readouterr().err


class Bytes:
    """A tokenizer of single bytes."""

    def decode(self, tokens, **options):
        return bytes(tokens).decode(errors="replace")


def test_characters_are_shown_when_they_are_whole():
    shown = text.Streamed(Bytes(), list("né".encode()))
    parts = [shown.add(token) for token in "aüb".encode()]
    assert parts == ["a", "", "ü", "b"]
    assert shown.add(0xC3) == "" and shown.rest() == "\ufffd" and shown.text == "aüb\ufffd"


def test_bad_input(llama, tmp_path):
    plain = tmp_path / "plain.mlirbc"
    assert 0 == cli.main(["import", str(llama.folder), "-o", str(plain), "--seq-len=16"])
    done = run(plain, "--generate=1", check=False)
    assert done.returncode == 1
    assert "has no function 'prefill' - import the model with --generate" in done.stderr
    model = models.load(models.resolve(llama.folder))
    for sizes, message in (
        ((30, 8, 1), "multiple of --prefill-length"),
        ((128, 8, 1), "the model knows 64 positions"),
    ):
        with pytest.raises(models.ModelError, match=message):
            generation.functions(model, *sizes)
