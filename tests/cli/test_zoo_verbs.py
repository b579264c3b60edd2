"""`keras-vit list`, `info` and `download`."""

import csv
import io

import pytest

from keras_vit.cli.main import main
from keras_vit.sources import hub
from keras_vit.sources.registry import resolve_row
from keras_vit.weights import download


def test_list_prints_a_line_per_model(capsys):
    assert main(["list", "swin*"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["model", "params_M"]
    assert any(line.startswith("SwinT ") and "28.3" in line for line in lines)
    assert lines[-1] == f"{len(lines) - 2} models"


def test_list_csv_of_weights(capsys):
    assert main(["list", "SwinT*", "--pretrained", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert resolve_row("SwinT").name in [row["model"] for row in rows]
    assert all(row["model"].startswith("SwinT.") and row["img_size"] == "224" for row in rows)


def test_list_without_a_match(capsys):
    assert main(["list", "resnext*"]) == 1
    assert "resnext*" in capsys.readouterr().err


def test_info(capsys):
    assert main(["info", "SwinT"]) == 0
    out = capsys.readouterr().out
    assert "28,288,354" in out and "licence" in out
    assert main(["info", "SwimT"]) == 1
    assert "SwinT" in capsys.readouterr().err


def test_download_tells_where(monkeypatch, tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    path.write_bytes(bytes(1_500_000))
    fetched = []
    monkeypatch.setattr(download, "fetch", lambda row: fetched.append(row.name) or str(path))
    assert main(["download", "SwinT", "ConvNeXtT"]) == 0
    out = capsys.readouterr().out
    assert fetched == [resolve_row("SwinT").name, resolve_row("ConvNeXtT").name]
    assert "1.5 MB" in out and str(path) in out


def test_download_checks_all_names_first(monkeypatch, capsys):
    monkeypatch.setattr(download, "fetch", lambda row: pytest.fail("nothing must be fetched"))
    assert main(["download", "SwinT", "SwinT.nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


def test_download_of_a_model_of_the_hub(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(hub, "folder", lambda reference: asked.append(reference) or tmp_path)
    assert main(["download", "hf://someone/net@v1"]) == 0
    assert asked == ["hf://someone/net@v1"] and str(tmp_path) in capsys.readouterr().out
    assert main(["download", "hf://someone"]) == 1
    assert "hf://owner/name" in capsys.readouterr().err and len(asked) == 1
