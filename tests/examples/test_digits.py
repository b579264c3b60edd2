import pytest

from examples import digits


@pytest.mark.parametrize("name", digits.FAMILIES)
def test_every_family_is_about_a_million_parameters(name):
    small = digits.FAMILIES[name]
    model = small.variant(weights=None, input_shape=(small.img_size, small.img_size, 3), classes=10)
    assert 250_000 < model.count_params() < 1_300_000


def test_distillation_has_a_teacher(tmp_path, monkeypatch):
    trained = []

    def train(variant, folder, **settings):
        trained.append((variant.name, folder.name, settings.get("teacher"), settings.get("distillation")))
        return {"parameters": 1, "top1": 99.0}

    monkeypatch.setattr(digits, "train_small", train)
    rows = digits.train_distilled(tmp_path, seeds=(3,))
    assert [(row["family"], row["seed"]) for row in rows] == [("DeiT", 3), ("DeiT distilled", 3)]
    assert trained == [
        ("SwinDigits", "swin_digits-3", None, None),
        ("DeiTDigits", "deit_digits-3", None, None),
        ("DeiTDistilledDigits", "deit_distilled_digits-taught-3", str(tmp_path / "swin_digits-3"), "hard"),
    ]
