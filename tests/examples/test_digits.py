import dataclasses

import pytest

from examples import digits
from tests.examples.toys import SETTINGS, SWIN, VIT


@pytest.mark.parametrize("name", digits.FAMILIES)
def test_every_family_is_about_a_million_parameters(name):
    small = digits.FAMILIES[name]
    model = small.variant(weights=None, input_shape=(small.img_size, small.img_size, 3), classes=10)
    assert 250_000 < model.count_params() < 1_300_000


def test_table_has_a_line_per_family():
    row = {"family": "ViT", "seed": 0, "parameters": 12345, "epochs": 40, "top1": 98.0, "seconds": 60.0}
    text = digits.table([row, row | {"seed": 1, "top1": 99.0}, row | {"family": "Swin"}])
    assert "98.50" in text and "98.00 - 99.00" in text and len(text.splitlines()) == 3


def test_distillation_has_a_teacher(tmp_path, monkeypatch):
    toys = {"Swin": digits.Small(SWIN, 16, 1), "DeiT": digits.Small(VIT, 16, 1)}
    monkeypatch.setattr(digits, "FAMILIES", toys)
    monkeypatch.setattr(digits, "DISTILLED", dataclasses.replace(toys["DeiT"]))
    quick = {name: value for name, value in SETTINGS.items() if name in ("batch_size", "warmup_epochs")}
    monkeypatch.setattr("examples.digit_runs.QUICKSTART", digits.QUICKSTART.replace(**quick))
    rows = digits.train_distilled(tmp_path, seeds=(3,))
    assert [(row["family"], row["seed"]) for row in rows] == [("DeiT", 3), ("DeiT distilled", 3)]
    assert {path.name for path in tmp_path.iterdir()} == {"toy_swin-3", "toy_vit-3", "toy_vit-taught-3"}
    settings = (tmp_path / "toy_vit-taught-3" / "args.yaml").read_text()
    assert f'teacher: "{tmp_path}/toy_swin-3"' in settings and 'distillation: "hard"' in settings
