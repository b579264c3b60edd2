"""A spec survives its file, and bad ones name the field or the file."""

import dataclasses

import pytest

from keras_vit.preprocessing import Spec
from tests.preprocessing.samples import HALF, STD, spec


def test_spec_round_trips(tmp_path):
    one = Spec([8, 9], list(HALF), STD, 0.875, "squash", "bilinear")
    assert one.size == (8, 9) and one.mean == HALF
    assert Spec.from_json(one.to_json()) == one
    one.save(tmp_path / "preprocessing.json")
    assert Spec.load(tmp_path / "preprocessing.json") == one == Spec.load(str(tmp_path / "preprocessing.json"))


def test_what_the_model_takes_is_recorded_where_it_is_known(tmp_path):
    plain = spec(8)
    assert plain.input_values is None and "input_values" not in plain.to_json()  # files as before
    recorded = dataclasses.replace(plain, input_values="pixels")
    recorded.save(tmp_path / "preprocessing.json")
    assert Spec.load(tmp_path / "preprocessing.json") == recorded != plain


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 224},
        {"size": (224, 0)},
        {"size": (224.5, 224)},
        {"mean": (0.5, 0.5)},
        {"mean": ("0.5", 0.5, 0.5)},
        {"std": (1, 0, 1)},
        {"crop_pct": 0},
        {"crop_pct": 1.1},
        {"crop_pct": "0.9"},
        {"crop_mode": "border"},
        {"interpolation": "nearest"},
        {"input_values": "bytes"},
        {"crop_rounding": "up"},
    ],
)
def test_bad_spec_names_the_field(changes):
    (field,) = changes
    with pytest.raises(ValueError, match=field):
        Spec(**{"size": (8, 8), "mean": HALF, "std": HALF, **changes})


def test_a_spec_at_another_size_or_with_another_crop_keeps_the_rest():
    one = Spec((8, 9), HALF, STD, 0.875, "squash", "bilinear", "pixels")
    assert one.at(12) == dataclasses.replace(one, size=(12, 12))
    assert one.at([12, 6], 0.5) == dataclasses.replace(one, size=(12, 6), crop_pct=0.5)
    assert one.at(crop_pct=1) == dataclasses.replace(one, crop_pct=1) and one.at() == one
    assert [one.size_name, one.at(12).size_name] == ["8x9", "12"]
    for bad, word in (
        ((0,), "size"),
        ((-8,), "size"),
        (((8, 8, 8),), "size"),
        ((8.5,), "size"),
        ((None, 2), "crop_pct"),
    ):
        with pytest.raises(ValueError, match=word):
            one.at(*bad)


def test_bad_spec_file_is_named(tmp_path):
    path = tmp_path / "p.json"
    entries = spec(8).to_json()
    for text, word in (("{", "p.json"), ("[]", "p.json"), ('{"size": [8, 8]}', "mean")):
        path.write_text(text)
        with pytest.raises(ValueError, match=word):
            Spec.load(path)
    with pytest.raises(ValueError, match="crop_percentage"):
        Spec.from_json({**entries, "crop_percentage": 1})
