"""`keras-vit inspect`: what is a model, what an image, and what is refused before anything is written."""

import numpy as np
import pytest
from PIL import Image

from keras_vit.cli.inspect import _titled, _told_apart
from keras_vit.cli.main import main
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from tests import toy_artifacts
from tests.models.toys import TOYS


@pytest.fixture
def run(tmp_path):
    variant, shape = TOYS["convnext"]
    spec = Spec(shape[:2], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    Run.write_description(tmp_path / "run", name="toy", model_name="Toy", labels=("a", "b", "c"), spec=spec)
    variant(weights=None, input_shape=shape, classes=3).save(tmp_path / "run" / "model.keras")
    return tmp_path / "run"


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), "uint8")).save(path)
    return path


def test_a_page_of_a_run(run, image, tmp_path, capsys):
    output = tmp_path / "pages" / "one"
    assert main(["inspect", str(image), str(run), "--output", str(output), "--top", "2"]) == 0
    assert str(output / "index.html") in capsys.readouterr().out
    page = (output / "index.html").read_text(encoding="utf-8")
    assert "<title>Inside toy</title>" in page and "image.png" in page and page.count("<li><span>") == 2
    assert (output / "model1" / "image1_relevance.png").is_file()


@pytest.mark.slow
def test_a_page_at_another_size_with_unequal_sides(run, image, tmp_path):
    output = tmp_path / "page"
    assert main(["inspect", str(image), str(run), "--output", str(output), "--img-size", "48x96"]) == 0
    assert "48 × 96 pixels" in (output / "index.html").read_text(encoding="utf-8")
    with Image.open(output / "model1" / "image1.png") as seen:
        assert seen.size == (96, 48)


def test_an_output_that_exists_is_kept(run, image, tmp_path, capsys):
    (tmp_path / "old").mkdir()
    assert main(["inspect", str(run), str(image), "--output", str(tmp_path / "old")]) == 1
    assert "exists already" in capsys.readouterr().err
    assert not list((tmp_path / "old").iterdir())


@pytest.mark.parametrize("broken", ["text.png", "text.txt", "nowhere.jpg"])
def test_images_that_cannot_be_read_leave_nothing(broken, run, image, tmp_path, capsys):
    if not broken.startswith("nowhere"):
        (tmp_path / broken).write_text("no image")
    assert main(["inspect", str(run), str(image), str(tmp_path / broken), "--output", str(tmp_path / "out")]) == 1
    assert broken in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_models_and_artifacts_leave_nothing(run, image, tmp_path, capsys):
    output = ["--output", str(tmp_path / "out")]
    assert main(["inspect", "SwimT", str(image), *output]) == 1
    assert "SwinT" in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "no" / "run"), str(image), *output]) == 1
    assert "does not exist" in capsys.readouterr().err
    edge = tmp_path / "edge"
    edge.mkdir()
    toy_artifacts.write_tflite(edge / "toy.tflite")
    toy_artifacts.write_beside(edge)
    assert main(["inspect", str(edge / "toy.tflite"), str(image), *output]) == 1
    assert "is a tflite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_both_models_and_images_are_needed(run, image, capsys):
    for given in ([run], [image], [run, image, "--top", "0"]):
        assert main(["inspect", *map(str, given), "--output", "out"]) == 1
    assert "--top must be at least 1" in capsys.readouterr().err


def test_models_and_images_come_in_any_order(run, image, tmp_path):
    folder = tmp_path / "folder.png"
    folder.mkdir()
    file = tmp_path / "without_suffix"
    file.write_bytes(image.read_bytes())
    given = ["SwinT", str(image), str(run), str(file), "nowhere.PNG", str(folder), str(run / "model.keras")]
    models, images = _told_apart(given)
    assert models == ["SwinT", str(run), str(folder), str(run / "model.keras")]
    assert list(map(str, images)) == [str(image), str(file), "nowhere.PNG"]


def test_models_of_one_name_are_told_apart():
    same, other = (Predictor("keras run", name, (), None, None) for name in ("digits", "SwinT"))
    assert list(_titled([same, other, same], ["runs/a", "SwinT", "runs/b"])) == [
        "digits (runs/a)",
        "SwinT",
        "digits (runs/b)",
    ]
    with pytest.raises(ValueError, match="each model once"):
        _titled([same, same], ["runs/a", "runs/a"])


def test_a_folder_of_images_is_its_images_without_hidden_ones(run, image, tmp_path):
    folder = tmp_path / "photos"
    for name in ("b.png", "deep/a.JPG", "._b.png", "notes.txt", ".deep/c.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(image.read_bytes())
    models, images = _told_apart([str(folder), str(run), str(image)])
    assert models == [str(run)] and images == [folder / "b.png", folder / "deep/a.JPG", image]
