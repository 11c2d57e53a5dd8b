# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The safetensors writer and reader, which need numpy only."""

import json
import struct

import numpy as np
import pytest

from quantopt import _safetensors as st


def test_round_trip(tmp_path):
    tensors = {
        "w": np.arange(6, dtype=np.float32).reshape(2, 3),
        'odd name/with "quotes"': np.array([1, 2, 3], np.uint8),
        "ids": np.array([[-1]], np.int64),
        "half": np.array([1.5], np.float16),
        "scalar": np.array(7, np.int32),
        "empty": np.zeros((0, 4), np.float32),
        "flags": np.array([True, False]),
    }
    path = tmp_path / "a.safetensors"
    stored = {name: st.Stored.of(array) for name, array in tensors.items()}
    stored["brain"] = st.Stored("BF16", (2,), np.array([0x3F80, 0x4000], np.uint16))
    st.save(path, stored)
    back = st.load(path)
    assert list(back) == list(stored)
    for name, array in tensors.items():
        assert back[name].data.dtype == array.dtype
        np.testing.assert_array_equal(back[name].data, array)
    assert back["brain"].dtype == "BF16" and back["brain"].data.tolist() == [0x3F80, 0x4000]


def test_read_by_the_reference(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    st.save(tmp_path / "a", {"x": st.Stored.of(array.T)})
    np.testing.assert_array_equal(safetensors.load_file(tmp_path / "a")["x"], array.T)
    safetensors.save_file({"y": array}, tmp_path / "b")
    np.testing.assert_array_equal(st.load(tmp_path / "b")["y"].data, array)


def test_data_is_made_when_its_turn_comes(tmp_path):
    st.save(tmp_path / "a", {"x": st.Stored("F32", (2,), lambda: np.ones(2, np.float32))})
    assert st.load(tmp_path / "a")["x"].data.tolist() == [1, 1]
    with pytest.raises(ValueError, match="tensor 'x': 4 bytes given.*take 8"):
        st.save(tmp_path / "b", {"x": st.Stored("F32", (2,), lambda: np.ones(1, np.float32))})
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    "header",
    [
        b"{",
        json.dumps({"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"x": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}).encode(),
        json.dumps({"x": {"dtype": "F4", "shape": [1], "data_offsets": [0, 4]}}).encode(),
        json.dumps({"x": {"shape": [1], "data_offsets": [0, 4]}}).encode(),
    ],
)
def test_bad_files_are_refused(tmp_path, header):
    path = tmp_path / "a"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"1234")
    with pytest.raises(ValueError, match="a: "):
        st.load(path)
