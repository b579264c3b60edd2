import signal

import pytest

from keras_vit.cli import train
from keras_vit.training import lr_finder, recipe, trainer
from keras_vit.training.run.signals import Stopped
from tests.training import toy


def test_the_recipes_values_are_the_defaults():
    parsed, output, instead, _ = train.parse(["--recipe", "quickstart", "--output", "runs/digits"])
    assert parsed == recipe.load("quickstart") and str(output) == "runs/digits" and instead is None


def test_every_setting_is_an_option():
    options = ["--epochs", "7", "--lr", "0.5", "--hflip", "0.5", "--img-size", "16", "24"]
    parsed, *_ = train.parse(["--output", "x", *options, "--clip-grad", "None"])
    changes = {"epochs": 7, "lr": 0.5, "hflip": 0.5, "img_size": (16, 24)}
    assert parsed == recipe.load("quickstart").replace(clip_grad=None, **changes)


@pytest.mark.parametrize("option", [["--data-dir", "photos"], ["--data-dir=photos"]])
def test_a_folder_means_finetuning(option):
    parsed, *_ = train.parse([*option, "--output", "x", "--model", "ConvNeXtT"])
    changes = {"data_dir": "photos", "model": "ConvNeXtT"}
    assert parsed == recipe.load("finetune").replace(**changes)


def test_a_folder_with_the_quickstart_recipe():
    parsed, *_ = train.parse(["--recipe", "quickstart", "--data-dir", "d", "--output", "x"])
    assert parsed == recipe.load("quickstart").replace(dataset="folder", data_dir="d")


def test_a_wrong_value_is_told_what_would_be_right(capsys):
    with pytest.raises(SystemExit) as exit:
        train.parse(["--output", "x", "--epochs", "0"])
    assert exit.value.code == 2 and "epochs must be above 0" in capsys.readouterr().err


def test_negations_and_underscores_are_known():
    parsed, *_ = train.parse(["--output=x", "--no-xla", "--deterministic", "--batch_size=16", "--min-lr", "-0"])
    assert (parsed.xla, parsed.deterministic, parsed.batch_size) == (False, True, 16)


@pytest.mark.parametrize(
    "argv, message",
    [
        (["--recipe", "quickstat", "--output", "x"], "Closest: quickstart"),
        (["--output", "x", "--model", "SwinTt"], "SwinT"),
        (["--epoch", "3"], "There is no option --epoch. Closest: --epochs"),
        (["--clip-norm=3", "--output", "x"], "There is no option --clip-norm. Closest: --clip-grad"),
        (["--qqqqqqq", "--output", "x"], "There is no option --qqqqqqq. --help lists them."),
        (["--data-dir", "/no/such/folder", "--output", "x"], "data_dir is not a folder"),
    ],
)
def test_a_mistake_is_a_line_and_an_exit_code(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert train.main(argv) == 1
    error = capsys.readouterr().err
    assert error.startswith("keras-vit train: ") and message in error
    assert not list(tmp_path.iterdir())


def test_a_folder_of_class_folders_is_trained(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "load", lambda name: toy.recipe())
    data, run = toy.write_folder(tmp_path / "data"), tmp_path / "run"
    assert train.main(["--data-dir", str(data), "--output", str(run), "--epochs", "1"]) == 0
    assert "Test accuracy" in capsys.readouterr().out and (run / "model.keras").is_file()


@pytest.mark.parametrize(
    "number, options, code",
    [
        *((signal.SIGTERM, [], 0), (signal.SIGINT, [], 130), (None, [], 0)),
        (signal.SIGTERM, ["--stopped-status", "75"], 75),
        (None, ["--stopped-status", "75"], 75),  # another worker received it
        (signal.SIGINT, ["--stopped-status", "75"], 130),
    ],
)
def test_a_run_that_was_asked_to_stop_says_how_to_go_on(number, options, code, capsys, monkeypatch):
    def stopped(recipe, output):
        raise Stopped(12, number)

    monkeypatch.setattr(trainer, "train", stopped)
    assert train.main(["--output", "x", *options]) == code
    assert capsys.readouterr().err == "Stopped and saved after step 12; the same command continues from there.\n"


def test_a_dry_run_shows_a_batch_and_writes_nothing_else(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(recipe, "load", lambda name: toy.recipe())
    data = str(toy.write_folder(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert train.main(["--data-dir", data, "--dry-run"]) == 0
    assert "2 epochs x 3 = 6" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"data", "dry_run.png"}
    assert train.main(["--data-dir", data, "--output", "run", "--dry-run"]) == 0
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"dry_run.png"}


def test_a_rate_is_looked_for_instead_of_a_run(tmp_path, monkeypatch, capsys):
    called = []
    monkeypatch.setattr(lr_finder, "find_lr", lambda *arguments: called.append(arguments))
    assert train.main(["--recipe", "quickstart", "--lr-finder", "--output", str(tmp_path)]) == 0
    assert called == [(recipe.load("quickstart"), tmp_path)]
    with pytest.raises(SystemExit):
        train.parse(["--lr-finder", "--dry-run"])
    assert "Give one of them" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_follows_its_dry_run_in_the_same_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "load", lambda name: toy.recipe())
    options = ["--data-dir", str(toy.write_folder(tmp_path / "data")), "--output", str(tmp_path / "run")]
    for extra, names in ([["--dry-run"], {"dry_run.png"}], [["--epochs", "1"], {"dry_run.png", "model.keras"}]):
        assert train.main([*options, *extra]) == 0
        assert {path.name for path in (tmp_path / "run").iterdir()} >= names


def test_a_status_that_no_process_has_is_refused(capsys):
    with pytest.raises(SystemExit):
        train.parse(["--output", "x", "--stopped-status", "256"])
    assert "from 0 to 255. Received: 256" in capsys.readouterr().err


def test_without_an_output_there_is_no_run(capsys):
    with pytest.raises(SystemExit):
        train.parse([])
    assert "--output" in capsys.readouterr().err
