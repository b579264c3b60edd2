import base64
import dataclasses
import hashlib
import html
import json
import re
import shutil

import numpy as np
import pytest

from keras_vit.cli import convert as verb
from keras_vit.export.edge import tflite
from keras_vit.export.web import bundle, runtime
from keras_vit.prediction.predictor import Predictor
from keras_vit.sources.answers import Answers
from tests.export.web.test_runtime import write_package

PAGE = {"index.html", "classify.js", "model.js", "prepare.js", "page.css", "README.md", "report.json"}
MODEL = {"toys_16x24_fp16.tflite", "labels.txt", "preprocessing.json"}


@pytest.fixture(scope="module")
def quick(float_file):
    """Conversions use the float file of the fixture."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tflite, "run_converter", lambda source, path, _: shutil.copyfile(float_file, path))
        yield


@pytest.fixture(scope="module")
def alone(quick, toy_source, expected, tmp_path_factory):
    """A page with its runtime."""
    package, folder = tmp_path_factory.mktemp("npm"), tmp_path_factory.mktemp("web") / "page"
    report = bundle.convert(toy_source, folder, litert_js=write_package(package), expected=expected)
    return folder, report


@pytest.fixture(scope="module")
def from_cdn(quick, toy_source, expected, tmp_path_factory):
    """A page without."""
    folder = tmp_path_factory.mktemp("web") / "page"
    return folder, bundle.convert(toy_source, folder, "none", expected=expected)


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def index(folder):
    return (folder / "index.html").read_text(encoding="utf-8")


def data(folder):
    """The page's data attributes."""
    return {name: html.unescape(value) for name, value in re.findall(r'data-(\w+)="([^"]*)"', index(folder))}


def test_all_files_are_there(alone):
    folder, report = alone
    assert names(folder) == PAGE | MODEL | {"litert/core.js", "litert/wasm-utils.js", "litert/package.json"} | {
        f"litert/{one}" for one in runtime.WASM
    }
    assert json.loads((folder / "report.json").read_text()) == report
    assert report["format"] == "web" and report["litert_js"]["version"] == runtime.VERSION


def test_the_page_names_what_is_in_the_folder(alone):
    folder, report = alone
    named = data(folder)
    assert (folder / named["model"]).stat().st_size == int(named["bytes"]) == report["files"][0]["size_bytes"]
    assert (folder / named["wasm"] / "litert_wasm_internal.js").is_file() and named["answers"] == ""
    sources = re.findall(r'(?:src|href)="([^"]+)"', index(folder))
    assert {"classify.js", "page.css"} < set(sources) and all(
        (folder / one).is_file() for one in sources if ":" not in one
    )
    imported = [re.findall(r'from "\./(\w+\.js)"', (folder / name).read_text()) for name in ("classify.js", "model.js")]
    assert {"model.js", "prepare.js"} == set(imported[0]) and imported[1] == []


@pytest.mark.parametrize("fixture", ["alone", "from_cdn"])
def test_nothing_else_may_be_loaded(fixture, request):
    """Every address of the page is relative, but for the CDN's; the policy allows these, and the import map."""
    folder, _ = request.getfixturevalue(fixture)
    text = index(folder)
    assert not re.findall(r'(?:src|href)="(?:/|\w+:(?!,))', text)
    [policy] = [html.unescape(one) for one in re.findall(r'Content-Security-Policy" content="([^"]+)"', text)]
    [imports] = re.findall(r'<script type="importmap">(.+)</script>', text)
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy and policy.startswith("default-src 'none'; ")
    cdn = runtime.CDN in policy
    assert cdn == (fixture == "from_cdn") == data(folder)["wasm"].startswith(runtime.CDN)
    assert all(one.startswith(runtime.CDN if cdn else "./litert/") for one in json.loads(imports)["imports"].values())


def test_the_readme_says_what_the_page_needs(alone, from_cdn):
    with_runtime, without = ((folder / "README.md").read_text(encoding="utf-8") for folder, _ in (alone, from_cdn))
    assert "needs no other server" in with_runtime and "--litert-js" not in with_runtime
    assert "does not work without the internet" in " ".join(without.split()) and "--litert-js" in without
    for text in (with_runtime, without):
        assert "python3 -m http.server -d ." in text and "file://" in text and "$" not in text
        assert max(len(line) for line in text.splitlines() if not line.startswith("- `toys")) <= 120


def test_predict_takes_the_file(alone, expected):
    given = Predictor.open(alone[0] / "toys_16x24_fp16.tflite").predict(expected.files)
    np.testing.assert_allclose(given, expected.probabilities, atol=1e-3)


def test_a_page_is_replaced_by_one_of_the_same_model(alone, toy_source, expected, tmp_path):
    folder = shutil.copytree(alone[0], tmp_path / "page")
    bundle.convert(toy_source, folder, "none", expected=expected)
    assert data(folder)["model"] == "toys_16x24_fp32.tflite"
    assert [path.name for path in folder.glob("*.tflite")] == ["toys_16x24_fp32.tflite"]


def test_other_folders_are_refused(alone, converted, toy_source, expected, tmp_path):
    other = dataclasses.replace(toy_source, name="others")
    with pytest.raises(ValueError, match="holds the files of 'toys'.*another --output for 'others'"):
        bundle.convert(other, alone[0], expected=expected)
    with pytest.raises(ValueError, match="was written with --format tflite; choose another --output"):
        bundle.convert(toy_source, converted[0], expected=expected)
    with pytest.raises(ValueError, match="was written with --format web; choose another --output"):
        tflite.convert(toy_source, alone[0], ["none"], expected)


def test_nothing_is_written_if_the_check_or_the_page_fails(quick, toy_source, expected, tmp_path, monkeypatch):
    shifted = dataclasses.replace(expected, probabilities=np.roll(expected.probabilities, 1, -1))
    with pytest.raises(ValueError, match="exceeds its tolerance"):
        bundle.convert(toy_source, tmp_path / "page", expected=shifted)
    with pytest.raises(ValueError, match="is not the npm package"):
        bundle.convert(toy_source, tmp_path / "page", litert_js=tmp_path, expected=expected)
    monkeypatch.setattr(bundle, "policy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        bundle.convert(toy_source, tmp_path / "page", expected=expected)
    assert list(tmp_path.iterdir()) == []


def test_scores_in_steps_are_refused(toy_source, tmp_path):
    with pytest.raises(ValueError, match="of a page's file are float16, none, dynamic_int8. Received: int8"):
        bundle.convert(toy_source, tmp_path / "page", "int8")


def test_answers_are_read_where_there_are_any(quick, toy_source, expected, tmp_path, monkeypatch):
    """The page is told of answers.json; what it does with it is tested in a browser."""
    answers = Answers(True, (0.5,) * 6, {"score": "energy", "threshold": 4.25, "kept": 0.95})
    report = {"files": [{**json.loads(json.dumps(FILE))}]}
    monkeypatch.setattr(tflite, "convert", lambda source, folder, *_: written(source, folder, report))
    folder = tmp_path / "page"
    bundle.convert(dataclasses.replace(toy_source, answers=answers), folder)
    assert data(folder)["answers"] == "answers.json"
    assert json.loads((folder / "answers.json").read_text()) == answers.entries()
    text = " ".join((folder / "README.md").read_text(encoding="utf-8").split())
    assert "several labels, or none" in text and "below 4.25" in text and "95 % of the validation images" in text
    bundle.convert(toy_source, folder)
    assert data(folder)["answers"] == "" and not (folder / "answers.json").exists()


FIGURES = {"n_images": 7, "dataset": "noise", "top1": None, "agreement": 1.0, "largest_difference": 1e-3, "cosine": 1.0}
FILE = {"file": "a.tflite", "quant": "float16", "size_bytes": 3, **FIGURES, "limits": {"cosine": 0.999}}


def written(source, folder, report):
    """What `tflite.convert` leaves in a folder, without a model."""
    (folder / "a.tflite").write_bytes(b"abc")
    tflite.write_labels_and_spec(folder, source)
    return {"model": source.name, **report}


@pytest.mark.parametrize(
    "options, message",
    [
        (["--format", "web", "--quant", "none", "float16"], "one file, of one --quant .*Received: none float16"),
        (["--format", "web", "--quant", "int8"], "one --quant float16, none, dynamic_int8. Received: int8"),
        (["--format", "web", "--img-size", "16", "32"], "Several sizes of --img-size are for --format tflite"),
        (["--litert-js", "node_modules"], "--litert-js is for --format web. Received: tflite"),
        (["--format", "web", "--litert-js", "/nowhere"], "/nowhere is not the npm package"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(toy_run, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        verb.main([str(toy_run), "--output", str(tmp_path / "page"), *options])
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_the_page_needs(quick, toy_run, tmp_path, capsys):
    arguments = [str(toy_run), "--format", "web", "--max-images", "4", "--output", str(tmp_path / "page")]
    assert verb.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "needs the internet" in printed and f"http.server -d {tmp_path / 'page'}" in printed
    assert verb.main([*arguments, "--quant", "none", "--litert-js", str(write_package(tmp_path / "npm"))]) == 0
    assert "needs nothing from elsewhere" in capsys.readouterr().out
