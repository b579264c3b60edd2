import dataclasses
import re

import pytest

from keras_vit.export.edge import bundle
from keras_vit.sources.answers import Answers

FIGURES = {"n_images": 7, "dataset": "noise", "top1": None, "agreement": 1.0, "largest_difference": 1e-3, "cosine": 1.0}
FILE = {"quant": "int8", "size_bytes": 1_234_567, **FIGURES, "limits": {"cosine": 0.999}}
REPORT = {"files": [{**FILE, "file": f"toys_16x24_{end}.tflite"} for end in ("a", "b")]}


@pytest.fixture
def readme(toy_source, tmp_path):
    example, readme = bundle.write(tmp_path, toy_source, REPORT)
    assert {path.name for path in tmp_path.iterdir()} == {example.name, readme.name} == {"example.py", "README.md"}
    assert example.read_bytes() == bundle.EXAMPLE.read_bytes()
    return readme.read_text(encoding="utf-8")


def test_the_readme_names_the_files_and_their_figures(readme):
    assert "- `toys_16x24_a.tflite`, 1.23 MB, quantization int8: 7 noise images, agreement 100.00 %" in readme
    assert "python3 example.py image.jpg" in readme
    assert readme.count('"toys_16x24_a.tflite"') == readme.count('forResource: "toys_16x24_a"') == 1
    assert "probabilities of 6 classes (1, 6)" in readme


def test_of_several_sizes_all_are_said(toy_source, tmp_path):
    sizes = ([16, 24], [16, 24], [32, 32])
    files = [{**FILE, "file": f"{n}.tflite", "image_size": size} for n, size in enumerate(sizes)]
    text = bundle.write(tmp_path, toy_source, {"files": files})[1].read_text(encoding="utf-8")
    assert "16 x 24 pixels (1, 16, 24, 3) or 32 x 32 pixels (1, 32, 32, 3), as its name and its input say, RGB" in text


def test_no_placeholder_is_left(readme):
    assert set(re.findall(r"\$\{?[\w.()]*", readme)) == {"${category.categoryName()", "${category.score()"}
    assert readme.count("```") % 2 == 0


def test_snippets_are_marked_as_not_run_and_crop_the_centre(readme):
    assert re.findall(r"\((\w+), not run\)", readme) == ["Kotlin", "Swift"]
    assert "val scale = 0.9 * minOf(bitmap.height / 16.0, bitmap.width / 24.0)" in readme
    assert "let scale = 0.9 * min(Double(image.height) / 16, Double(image.width) / 24)" in readme


def test_a_model_of_squashed_images_gets_whole_images(toy_source, tmp_path):
    squash = dataclasses.replace(toy_source, spec=dataclasses.replace(toy_source.spec, crop_mode="squash"))
    text = bundle.write(tmp_path, squash, REPORT)[1].read_text(encoding="utf-8")
    assert "pass whole images" in text and "scale" not in text


def test_several_labels_and_known_scores_are_explained(toy_source, tmp_path):
    answers = Answers(True, (0.5,) * 6, {"score": "energy", "threshold": 4.25, "kept": 0.95})
    text = bundle.write(tmp_path, dataclasses.replace(toy_source, answers=answers), REPORT)[1].read_text("utf-8")
    text = text.partition("## In an app")[0]
    said = " ".join(text.split())
    assert "`thresholds` of `answers.json`" in said and "below 4.25" in said and "95 % of the validation images" in said
    assert max(len(line) for line in text.splitlines() if not line.startswith("- `")) <= 120 and "\n\n\n" not in text


def test_nothing_is_said_of_answers_that_there_are_not(readme):
    assert "answers.json" not in readme and "\n\n\n" not in readme
