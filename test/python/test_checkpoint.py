# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checkpoints: killed at any moment and started again, a run gives the same bytes."""

import random
import shutil
import subprocess
import time

import numpy as np
import pytest

from oracle import REPOSITORY, execute, run
from quantopt import tools

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
SAMPLES = 16
KILLS = 20


def command(output, options=""):
    name = f"--gptq-quantize=samples={SAMPLES} progress=none {options}"
    return [tools.find("quant-opt"), MODEL, name, "-o", output]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The bytes of an undisturbed run, and how long it took."""
    output = tmp_path_factory.mktemp("reference") / "q.mlirbc"
    start = time.monotonic()
    subprocess.run(command(output), check=True)
    return output.read_bytes(), time.monotonic() - start


def test_checkpoint_changes_nothing(tmp_path, reference):
    output, folder = tmp_path / "q.mlirbc", tmp_path / "checkpoint"
    subprocess.run(command(output, f"checkpoint={folder}"), check=True)
    assert output.read_bytes() == reference[0]
    assert len(list(folder.glob("layer-*.safetensors"))) == 29


def test_killed_at_random_moments(tmp_path, reference):
    rng = random.Random(20)
    expected, seconds = reference
    solved = []
    for trial in range(KILLS):
        output, folder = tmp_path / f"{trial}.mlirbc", tmp_path / f"checkpoint-{trial}"
        arguments = command(output, f"checkpoint={folder}")
        process = subprocess.Popen(arguments)
        time.sleep(rng.uniform(0, seconds))
        process.kill()
        process.wait()
        if not output.exists():
            solved.append(len(list(folder.glob("layer-*.safetensors"))))
        else:
            assert output.read_bytes() == expected
        subprocess.run(arguments, check=True)
        assert output.read_bytes() == expected, f"killed with {solved[-1:]} layers solved"
        assert not list(folder.glob("*.tmp"))
        shutil.rmtree(folder)
    assert any(0 < count < 29 for count in solved), f"no kill fell among the layers: {solved}"


def test_one_run_killed_again_and_again(tmp_path, reference):
    """Solved layers are not solved again: runs that are cut short come to an end."""
    expected, seconds = reference
    output, folder = tmp_path / "q.mlirbc", tmp_path / "checkpoint"
    arguments = command(output, f"checkpoint={folder}")
    counts = [0]
    for _ in range(60):
        process = subprocess.Popen(arguments)
        # Until one more layer than before is there.
        while process.poll() is None:
            count = len(list(folder.glob("layer-*.safetensors")))
            if count > counts[-1]:
                process.kill()
            time.sleep(0.002)
        process.wait()
        if output.exists():
            break
        assert count > counts[-1]
        counts.append(count)
    assert output.read_bytes() == expected
    assert len(counts) > 3, "it was never killed among the layers"


def refusal(arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stderr


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    subprocess.run(
        command(tmp_path / "q.mlirbc", f"only=layers.0 checkpoint={folder}"), check=True
    )
    return folder


def test_other_option_is_refused(tmp_path, checkpoint):
    output = tmp_path / "other.mlirbc"
    error = refusal(command(output, f"only=layers.0 bits=3 checkpoint={checkpoint}"))
    assert "another run" in error and "layers.0" in error and "give another folder" in error
    assert "bits=4, now bits=3" in error and "group-size" not in error
    assert not output.exists()


def test_other_layers_are_refused(tmp_path, checkpoint):
    error = refusal(command(tmp_path / "other.mlirbc", f"checkpoint={checkpoint}"))
    assert "7 layers were to be quantized, now 29" in error


def test_other_data_is_refused(tmp_path, checkpoint):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "data.npy", rng.integers(0, 60, (SAMPLES, 1, 256)))
    options = f"only=layers.0 calibration={tmp_path}/data.npy checkpoint={checkpoint}"
    error = refusal(command(tmp_path / "other.mlirbc", options))
    assert "the calibration data has changed" in error


def test_other_model_is_refused(tmp_path, checkpoint):
    changed = bytearray(MODEL.read_bytes())
    # Among the weights: in a region of floats, one bit of a mantissa.
    changed[len(changed) // 2] ^= 1
    model = tmp_path / "changed.mlirbc"
    model.write_bytes(changed)
    arguments = command(tmp_path / "other.mlirbc", f"only=layers.0 checkpoint={checkpoint}")
    arguments[1] = model
    assert "the model has changed" in refusal(arguments)


def test_other_folder_is_refused(tmp_path):
    folder = tmp_path / "letters"
    folder.mkdir()
    (folder / "letter.txt").write_text("not ours")
    error = refusal(command(tmp_path / "q.mlirbc", f"checkpoint={folder}"))
    assert "letter.txt" in error and "no checkpoint" in error
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_damaged_layer_is_refused(tmp_path, checkpoint):
    layer = sorted(checkpoint.glob("layer-*.safetensors"))[0]
    layer.write_bytes(layer.read_bytes()[:-5])
    done = execute(
        "quant-opt", *command(tmp_path / "q2.mlirbc", f"only=layers.0 checkpoint={checkpoint}")[1:]
    )
    assert done.returncode == 1 and layer.name in done.stderr.decode()


def test_report_survives(tmp_path, checkpoint):
    """The report of a resumed run has the figures of the layers solved before."""
    import json

    first, second = tmp_path / "first.json", tmp_path / "second.json"
    run("quant-opt", *command(tmp_path / "a.mlirbc", f"only=layers.0 report={first}")[1:])
    options = f"only=layers.0 checkpoint={checkpoint} report={second}"
    run("quant-opt", *command(tmp_path / "b.mlirbc", options)[1:])
    rows = [json.loads(path.read_text())["layers"] for path in (first, second)]
    for before, after in zip(*rows, strict=True):
        before.pop("seconds"), after.pop("seconds")
        assert before == after
