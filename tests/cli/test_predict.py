"""`keras-vit predict`: readable lines or a file, of files, folders, globs and lists; bad images named at the end."""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from keras_vit.cli.main import main
from keras_vit.sources.run_folder import Run
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


def test_the_number_of_images_decides_on_the_inference_form(run, images, monkeypatch):
    seen = []
    monkeypatch.setattr("keras_vit.prediction.for_many.for_many", lambda one, number: seen.append(number) or one)
    assert main(["predict", str(run), *map(str, images)]) == 0
    assert seen == [len(images)]


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


@pytest.fixture
def album(images, tmp_path, monkeypatch):
    """A folder that holds the images, two layers deep, and files that are none; the current one is its parent."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a.png", "b.png", "deep/c.png")):
        (tmp_path / "album" / name).parent.mkdir(parents=True, exist_ok=True)
        images[number].rename(tmp_path / "album" / name)
    for name in ("notes.txt", "._a.png"):
        (tmp_path / "album" / name).touch()
    return [f"album/{name}" for name in ("a.png", "b.png", "deep/c.png")]


@pytest.mark.parametrize(
    "given", [["album"], ["album/*"], ["album/?.png", "album/deep"], ["-"], ["album/a.png", "album"]]
)
@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_folders_globs_and_lists_are_answered_as_files_are(run, album, given, batch_size, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("\n".join(album).encode())))
    assert main(["predict", str(run), *given, "--top", "1", "--batch-size", str(batch_size)]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == album
    assert [line.split()[0] for line in lines[1:6:2]] == ["red", "green", "deep"]
    assert (".txt is no image" in err) == bool({"album", "album/*"} & set(given))


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_of_predictions_has_the_scores_of_predict(run, album, tmp_path, suffix, capsys):
    path = tmp_path / f"found{suffix}"
    assert main(["predict", str(run), "album", "--output", str(path), "--top", "9", "--batch-size", "2"]) == 0
    assert "3 of 3 images" in capsys.readouterr().out
    for (name, labels, scores), image, expected in zip(read(path), album, toy.expected(album), strict=True):
        assert name == image and labels == [toy.LABELS[k] for k in (-expected).argsort()]
        np.testing.assert_allclose(scores, -np.sort(-expected), rtol=1e-5)


def read(path):
    if path.suffix == ".csv":
        rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
        return [(row[0], row[1::2], [float(score) for score in row[2::2]]) for row in rows]
    if path.suffix == ".jsonl":
        return [tuple(json.loads(line).values()) for line in path.read_text().splitlines()]
    import pyarrow.parquet

    return [tuple(row.values()) for row in pyarrow.parquet.read_table(path).to_pylist()]


def test_bad_images_are_listed_at_the_end_and_all_good_ones_written(run, album, tmp_path, capsys):
    for name in ("album/aa.png", "album/z.jpg"):
        (tmp_path / name).write_text("no image")
    path = tmp_path / "found.csv"
    assert main(["predict", str(run), "album", "nowhere.png", "--output", str(path)]) == 1
    out, err = capsys.readouterr()
    assert [row[0] for row in read(path)] == album and "3 of 6 images" in out
    skipped = [line for line in err.splitlines() if "skipped" in line]
    assert [name in line for name, line in zip(("aa.png", "z.jpg", "nowhere.png"), skipped, strict=True)] == [True] * 3


def test_only_bad_images_are_an_empty_table_and_status_1(run, tmp_path, capsys):
    (tmp_path / "a.jpg").write_text("no image")
    path = tmp_path / "found.csv"
    assert main(["predict", str(run), str(tmp_path / "a.jpg"), "--output", str(path)]) == 1
    assert path.read_text() == "path,label_1,score_1,label_2,score_2,label_3,score_3\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["album", "--output", "found.txt"], ".csv, .jsonl or .parquet"),
        (["album", "--output", "album"], ".csv, .jsonl or .parquet"),
        (["album", "--top", "0"], "--top must be at least 1"),
        (["album", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["empty"], "empty: this folder holds no image; expected"),
        (["album/*.gif"], "matches no image"),
        (["-"], "standard input is empty"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_model_is_looked_for(
    album, tmp_path, arguments, message, capsys, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    (tmp_path / "empty").mkdir()
    assert main(["predict", "nowhere/run", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_parquet_without_pyarrow_names_the_extra_before_any_work(album, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["predict", "nowhere/run", "album", "--output", "a.parquet"]) == 1
    assert "keras-vit-models[parquet]" in capsys.readouterr().err


def test_paths_that_are_not_utf8_are_answered(run, images, tmp_path, capsys):
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    os.rename(images[0], folder + b"/a.png")
    with open(folder + b"/b.png", "wb") as file:
        file.write(b"no image")
    assert main(["predict", str(run), os.fsdecode(folder)]) == 1
    out, err = capsys.readouterr()
    assert "caf\\udce9/a.png" in out and "caf\\udce9/b.png" in err
    (out + err).encode()  # what a terminal gets


def test_a_model_that_knows_the_best_two_scores_shows_no_third(images, tmp_path, capsys):
    served = toy.write_saved_model(tmp_path / "toy" / "1", signatures=["serving_default"])
    assert main(["predict", str(served), str(images[0])]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def wait_until_idle(pid):
    """Until a process waits for something: an interrupt amid TensorFlow's compiling may be lost."""
    process, before = psutil.Process(pid), -1.0
    while (used := sum(process.cpu_times()[:2])) - before > 0.05:
        before = used
        time.sleep(1)


@pytest.mark.slow  # test_images has it in one process
def test_an_interrupt_leaves_no_file_and_the_same_command_goes_on(run, album, tmp_path):
    """Ctrl-C while the last image, a pipe that nothing is written to, is waited for."""
    os.mkfifo(tmp_path / "z.png")
    command = [sys.executable, "-m", "keras_vit", "predict", str(run), "album", "z.png", "--output", "found.csv"]
    command += ["--batch-size", "3"]
    kept = tmp_path / "found.csv.partial" / "answers"
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=tmp_path) as process:
        while process.poll() is None and not (kept.exists() and kept.stat().st_size):
            time.sleep(0.1)
        wait_until_idle(process.pid)
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        with contextlib.suppress(OSError):  # if the process has ended
            os.close(os.open(tmp_path / "z.png", os.O_WRONLY | os.O_NONBLOCK))  # lets the reading thread end
        err = process.stderr.read()
    assert process.returncode == 130 and b"interrupted" in err
    assert [path.name for path in tmp_path.glob("*found*")] == ["found.csv.partial"]
    (tmp_path / "z.png").unlink()
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "going on after 3 images" in done.stderr and "z.png" in done.stderr
    assert [row[0] for row in read(tmp_path / "found.csv")] == album


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """A run of several labels, each with 4 x the mean of its channel as logit, and of known images."""
    folder = tmp_path_factory.mktemp("several")
    unknown = {"score": "max_logit", "threshold": 0.5, "kept": 0.95}
    details = {"multi_label": True, "thresholds": [0.9, 0.25, 0.5], "unknown": unknown}
    Run.write_description(folder, name="s", model_name="Toy", labels=toy.LABELS, spec=toy.SPEC, details=details)
    toy.keras_model("sigmoid").save(folder / "model.keras")
    return folder


@pytest.fixture
def colours(tmp_path):
    """Red and some green; green alone; nothing, which is unknown."""
    means = {"red": (1.0, 0.1, -1.0), "green": (0.5, 1.0, -0.5), "dark": (-1.0, -1.0, -1.0)}
    for name, mean in means.items():
        pixel = 255 * (np.array(mean) * toy.SPEC.std + toy.SPEC.mean)
        image = np.broadcast_to(np.clip(np.rint(pixel), 0, 255).astype("uint8"), (6, 8, 3))
        Image.fromarray(image).save(tmp_path / f"{name}.png")
    return [tmp_path / f"{name}.png" for name in means]


def test_all_labels_that_an_image_has_are_printed(several, colours, capsys):
    assert main(["predict", str(several), *map(str, colours)]) == 0
    red, green, dark = colours
    lines = [line.split("#")[0].rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split("  ")[0] if line[0] != " " else line.split()[0] for line in lines] == [
        *(str(red), "red", "green", str(green), "green", str(dark), "unknown:", "none")
    ]
    assert float(lines[1].split()[1]) == pytest.approx(98.2, abs=0.1)  # sigmoid(4), of rounded pixels
    assert lines[6].startswith("  unknown: max_logit -3.98,") and lines[6].endswith("below 0.50")


def test_top_limits_several_labels(several, colours, capsys):
    assert main(["predict", str(several), str(colours[0]), "--top", "1"]) == 0
    assert "green" not in capsys.readouterr().out


def test_files_of_several_labels(several, colours, tmp_path):
    assert main(["predict", str(several), *map(str, colours), "--output", str(tmp_path / "found.csv")]) == 0
    head, *rows = [line.split(",") for line in (tmp_path / "found.csv").read_text().splitlines()]
    assert head == ["path", "labels", "scores", "known_score", "unknown"]
    assert [(row[1], row[4]) for row in rows] == [("red|green", "false"), ("green", "false"), ("", "true")]
