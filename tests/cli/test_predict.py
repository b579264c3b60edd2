"""`keras-vit predict`: readable lines, and bad images named without stopping the others."""

import pytest
from PIL import Image

from keras_vit.cli.main import main
from tests import toy_artifacts as toy


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy.write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, toy.random_images()):
        Image.fromarray(image).save(path)
    return paths


def test_best_labels_with_scores(run, images, capsys):
    assert main(["predict", str(run), *map(str, images), "--top", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 9 and lines[::3] == [str(path) for path in images]
    for line, label, scores in zip(lines[1::3], toy.LABELS, toy.expected(images)):
        assert line.strip().startswith(label)
        assert f"{100 * scores.max():.2f} %" in line


def test_bad_image_is_named_and_the_others_are_answered(run, images, tmp_path, capsys):
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    assert main(["predict", str(run), str(bad), str(tmp_path / "nowhere.png"), str(images[0])]) == 1
    out, err = capsys.readouterr()
    assert "red" in out and str(images[0]) in out
    assert "bad.png" in err and "nowhere.png" in err


def test_bare_keras_file_with_preprocessing_and_labels(run, images, tmp_path, capsys):
    bare = tmp_path / "bare.keras"
    bare.write_bytes((run / "model.keras").read_bytes())
    assert main(["predict", str(bare), str(images[0])]) == 1
    assert "--preprocessing" in capsys.readouterr().err
    options = ["--preprocessing", str(run), "--labels", str(run / "labels.txt")]
    assert main(["predict", str(bare), str(images[0]), *options]) == 0
    assert capsys.readouterr().out.splitlines()[1].strip().startswith("red")


def test_unknown_source_and_bad_top(run, images, capsys):
    assert main(["predict", "nowhere/run", str(images[0])]) == 1
    assert "nowhere/run" in capsys.readouterr().err
    assert main(["predict", str(run), str(images[0]), "--top", "0"]) == 1
    assert "--top" in capsys.readouterr().err
