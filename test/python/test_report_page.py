# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The report as a page: whole, alone, and saying what the JSON report says."""

import html.parser
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from oracle import REPOSITORY, linear_model, read_weights, run

pytestmark = pytest.mark.quant_opt

MODEL = REPOSITORY / "examples" / "char-lm" / "char-lm.mlirbc"
EMPTY_ELEMENTS = {"meta", "br", "wbr", "hr", "img", "input", "link"}
VARIES = {"wall_seconds", "cpu_seconds", "peak_bytes", "seconds"}


class Page(html.parser.HTMLParser):
    """What a reader without scripts sees, and the data for those with them."""

    def __init__(self, path):
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.open, self.elements, self.data, self.seen = [], [], {}, []
        self.rows, self.heads = [], []
        self.feed(self.text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        self.report = json.loads(self.data["report-data"])
        self.extra = json.loads(self.data["page-data"])

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag not in EMPTY_ELEMENTS:
            self.open.append((tag, attributes.get("id", "")))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            if "data-key" in attributes:
                self.heads.append(attributes["data-key"])

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data):
        tag, identity = self.open[-1] if self.open else ("", "")
        if tag == "script":
            self.data[identity] = self.data.get(identity, "") + data
        elif tag != "style":
            self.seen.append(data)
            if any(tag in ("td", "th") for tag, _ in self.open):
                self.rows[-1][-1] += data

    @property
    def cells(self):
        """Layer name -> column key -> text."""
        wide = [row for row in self.rows if len(row) == len(self.heads)][1:]
        return {row[0]: dict(zip(self.heads, row, strict=True)) for row in wide}


def quantize(model, report, options, folder):
    run("quant-opt", model, f"{options} progress=none report={report}", "-o", folder / "q.mlir")
    return report


@pytest.fixture(scope="module")
def char_lm(tmp_path_factory):
    """Path of the page, the page, and the JSON report of the same run."""
    folder = tmp_path_factory.mktemp("report")
    options = "--gptq-quantize=samples=2"
    path = quantize(MODEL, folder / "report.html", options, folder)
    plain = quantize(MODEL, folder / "report.json", options, folder)
    return path, Page(path), json.loads(plain.read_text())


def without_times(value):
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in VARIES}
    return [without_times(v) for v in value] if isinstance(value, list) else value


def test_the_data_is_the_json_report(char_lm):
    _, page, report = char_lm
    assert without_times(page.report) == without_times(report)
    assert page.report["model"]["peak_bytes"] > 0


def test_nothing_is_loaded(char_lm):
    _, page, _ = char_lm
    for tag, attributes in page.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert not {"src", "srcset", "action", "background", "data"} & set(attributes)
        assert attributes.get("href", "#").startswith("#"), attributes
    code = page.text.replace("'http://www.w3.org/2000/svg'", "")
    for word in ("http:", "https:", "url(", "@import", "import(", "fetch(", "XMLHttpRequest", "//cdn"):
        assert word not in code, word
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in page.elements:
        if "href" in attributes:
            assert attributes["href"][1:] in ids, "a link to nowhere"


def test_table_and_headline_without_scripts(char_lm):
    _, page, _ = char_lm
    layers = page.report["layers"]
    assert list(page.cells) == [layer["name"] for layer in layers]
    levels = page.extra["levels"]
    for layer in layers:
        cells = page.cells[layer["name"]]
        error, level = cells["relative_error"].split(" ", 1)
        assert float(error) == pytest.approx(layer["relative_error"], rel=0.05)
        assert level == next(
            entry["name"]
            for entry in levels
            if entry["up_to"] is None or layer["relative_error"] <= entry["up_to"]
        )
        assert cells["shape"] == f"{layer['n']}×{layer['k']}"
        assert float(cells["bits_per_weight"]) == pytest.approx(layer["bits_per_weight"], abs=1e-3)
        ratio = layer["relative_error"] / layer["rtn_relative_error"]
        assert float(cells["ratio"]) == pytest.approx(ratio, abs=1e-3)
    seen = " ".join("".join(page.seen).split())
    model = page.report["model"]
    assert f"{model['bits_per_weight']:.2f}" in seen
    assert f"{model['weight_bytes_before'] / 1e6:.1f} MB" in seen
    assert "gptq-quantize, 2 calibration samples" in seen
    worst = max(layers, key=lambda layer: layer["relative_error"])["name"]
    assert seen.index(worst) < seen.index("Error by depth"), "the worst layer is in the headline"
    for skip in page.report["skipped"]:
        assert skip["reason"] in seen


def test_embeddings_are_named(char_lm, tmp_path):
    _, page, _ = char_lm
    assert all("role" not in cells for cells in page.cells.values())
    options = "--rtn-quantize=embeddings=quantize"
    page = Page(quantize(MODEL, tmp_path / "report.html", options, tmp_path))
    assert list(page.cells)[0] == "embedding"
    assert {name for name, cells in page.cells.items() if cells["role"] == "embedding"} == {"embedding"}


def test_it_stays_small(char_lm):
    path, page, _ = char_lm
    # SmolLM2-135M has 210 layers and should stay below a megabyte.
    frame = path.stat().st_size - len(page.data["report-data"]) - len(page.data["page-data"])
    layers = len(page.report["layers"])
    assert len(page.data["page-data"]) < 2000 * layers
    assert frame < 60_000 + 700 * layers


def test_histogram_is_that_of_the_weights(tmp_path):
    w = np.random.default_rng(5).normal(size=(32, 128)).astype(np.float32)
    w[3, 5] = 40
    (tmp_path / "m.mlir").write_text(linear_model({"fc": w}, leading={"fc": 2}))
    path = quantize(
        tmp_path / "m.mlir",
        tmp_path / "r.html",
        "--rtn-quantize=bits=3 group-size=32 search=none",
        tmp_path,
    )
    histogram = Page(path).extra["histograms"][0]
    weight = read_weights((tmp_path / "q.mlir").read_text())["fc"]
    scales, zeros = weight.expand(weight.scales), weight.expand(weight.offsets)
    units = histogram["units"]
    assert units["grid"] == list(range(8)) and (units["from"], units["to"]) == (-0.5, 7.5)
    places = w / scales + zeros
    expected, _ = np.histogram(places.clip(-0.5, 7.5), bins=64, range=(-0.5, 7.5))
    np.testing.assert_allclose(units["bins"], expected / w.size * 1e5, atol=51)
    stored = np.bincount(weight.codes.ravel(), minlength=8) / w.size * 1e5
    np.testing.assert_allclose(units["stored"], stored, atol=1)
    assert histogram["beyond"] == pytest.approx(((places < -0.5) | (places > 7.5)).mean(), abs=5e-4)
    assert histogram["max"] == 40
    assert histogram["deviation"] == pytest.approx(w.std(), rel=1e-4)
    absolute = histogram["absolute"]
    assert absolute["to"] == pytest.approx(w.mean() + 6 * w.std(), rel=1e-3)
    clipped = w.clip(absolute["from"], absolute["to"])
    expected, _ = np.histogram(clipped, bins=64, range=(absolute["from"], absolute["to"]))
    np.testing.assert_allclose(absolute["bins"], expected / w.size * 1e5, atol=51)
    typical = np.sort(np.abs(weight.scales.ravel()))[(weight.scales.size - 1) // 2]
    np.testing.assert_allclose(np.diff(absolute["grid"]), typical, rtol=1e-3)


NAMES = [
    "a.0.</script><script>window.broken = 1</script>",
    "a.1.<!-- <b>&amp; 'x'",
    "a.2.%%rows%% ünïcode ✓",
]


@pytest.fixture(scope="module")
def odd_names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(1)
    weights = {name: rng.normal(size=(8, 64)).astype(np.float32) for name in NAMES}
    (folder / "m.mlir").write_text(linear_model(weights, leading=dict.fromkeys(NAMES, 2)))
    return quantize(folder / "m.mlir", folder / "r.HTML", "--rtn-quantize=", folder)


def test_names_are_text(odd_names):
    page = Page(odd_names)
    assert [layer["name"] for layer in page.report["layers"]] == NAMES
    assert list(page.cells) == NAMES
    assert sum(tag == "script" for tag, _ in page.elements) == 3
    assert "<script>window" not in page.text and "<!-- <b>" not in page.text


def test_other_endings_are_json(tmp_path):
    (tmp_path / "m.mlir").write_text(linear_model({"fc": np.eye(8, 64, dtype=np.float32)}))
    for name in ("r.json", "r.txt", "html"):
        path = quantize(tmp_path / "m.mlir", tmp_path / name, "--rtn-quantize=", tmp_path)
        assert json.loads(path.read_text())["layers"][0]["name"] == "fc"


# --- in a browser ---------------------------------------------------------------


@pytest.fixture(scope="module")
def browse(tmp_path_factory):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if not browser:
        pytest.skip("NOT TESTED: no chromium here; apt-get install chromium")

    def dump(path):
        """The document after its scripts ran, and what they complained about."""
        profile = tmp_path_factory.mktemp("profile")
        done = subprocess.run(
            [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
             f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom",
             path.resolve().as_uri()],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return dump


def test_scripts_run(char_lm, browse):
    path, page, _ = char_lm
    document, complaints = browse(path)
    assert not complaints
    for part in ("depth-chart", "size-chart", "weights-chart"):
        chart = document[document.index(f'id="{part}"') :]
        assert "<svg" in chart[: chart.index("</section>")], part
    kinds = re.search(r'id="kinds".*?<tbody>(.*?)</tbody>', document, re.S)[1]
    labels = re.findall(r"</svg> ([^<]+)</th>", kinds)
    assert labels == ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "head"]
    assert document.count("<option value=") > len(page.report["layers"])


def test_odd_names_in_a_browser(odd_names, browse):
    document, complaints = browse(odd_names)
    assert not complaints
    assert document.count("<script") == 3
    assert "window.broken = 1</strong>" not in document
