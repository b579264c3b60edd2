"""The three verbs from their arguments to their last line."""

import pytest

from keras_vit.cli import compare, convert, export


def test_export_convert_compare(toy_run, tmp_path, capsys):
    serving, edge, table = (str(tmp_path / name) for name in ("serving", "edge", "table.csv"))
    arguments = [str(toy_run), "--max-images", "4", "--output"]
    assert export.main([*arguments, serving, "--name", "mine", "--top-k", "2"]) == 0
    assert "models/mine/1" in capsys.readouterr().out
    assert convert.main([*arguments, edge, "--quant", "none"]) == 0
    printed = capsys.readouterr().out
    assert "toys_16x24_fp32.tflite" in printed and "4 held-out pictures" in printed
    assert not list(tmp_path.glob("edge/*int8*"))
    assert compare.main([str(toy_run), serving, edge, "--csv", table, "--max-images", "4"]) == 0
    printed = capsys.readouterr().out
    assert "SavedModel" in printed and "toys_16x24_fp32.tflite" in printed
    assert (tmp_path / "table.csv").read_text().count("\n") == 4


def test_a_model_without_pictures_is_checked_on_noise(toy_run, tmp_path, capsys):
    spec = str(toy_run / "preprocessing.json")
    arguments = [str(toy_run / "model.keras"), "--preprocessing", spec, "--output", str(tmp_path)]
    assert convert.main(arguments) == 0
    assert "16 noise pictures" in capsys.readouterr().out


@pytest.mark.parametrize("verb", [export, convert, compare])
def test_help_and_missing_arguments(verb, capsys):
    with pytest.raises(SystemExit) as done:
        verb.main(["--help"])
    assert done.value.code == 0 and "MODEL_OR_RUN" in capsys.readouterr().out
    with pytest.raises(SystemExit) as done:
        verb.main([])
    assert done.value.code == 2
