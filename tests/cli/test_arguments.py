"""The arguments that verbs share become a predictor; the tab key is offered names and paths."""

import pytest

from keras_vit.cli.arguments import add_model, add_sizes, complete_model, complete_name, open_predictor, verb_parser
from tests import toy_artifacts as toy


def test_arguments_reach_the_predictor(tmp_path):
    toy.write_run(tmp_path)
    (tmp_path / "other.txt").write_text("a\nb\nc\n")
    parser = verb_parser("predict", "")
    add_model(parser)
    options = ["--preprocessing", str(tmp_path / "preprocessing.json"), "--labels", str(tmp_path / "other.txt")]
    predictor = open_predictor(parser.parse_args([str(tmp_path / "model.keras"), *options]))
    assert (predictor.kind, predictor.spec, predictor.labels) == ("keras model", toy.SPEC, ("a", "b", "c"))


def test_names_complete_to_models_and_after_a_dot_to_tags():
    assert complete_name("Swin") == ["SwinT", "SwinS", "SwinB", "SwinL", "SwinB384", "SwinL384"]
    assert complete_name("SwinT.ms_in22k_") == ["SwinT.ms_in22k_ft_in1k"]
    assert complete_name("nothing") == []


def test_models_complete_to_paths_too(tmp_path, monkeypatch):
    (tmp_path / "SwinRuns").mkdir()
    monkeypatch.chdir(tmp_path)
    assert {"SwinT", "SwinRuns/"} <= set(complete_model("Swin"))


def test_sizes_are_one_side_or_two():
    one, several = verb_parser("predict", ""), verb_parser("validate", "")
    add_sizes(one)
    add_sizes(several, several_sizes=True)
    found = one.parse_args(["--img-size", "288x384", "--crop-pct", "0.95"])
    assert (found.img_size, found.crop_pct) == ((288, 384), 0.95)
    assert several.parse_args(["--img-size", "192", "224X256"]).img_size == [(192, 192), (224, 256)]
    assert one.parse_args([]).img_size is several.parse_args([]).img_size is one.parse_args([]).crop_pct is None


@pytest.mark.parametrize("option", ["--img-size", "--crop-pct"])
@pytest.mark.parametrize("text", ["0", "-8", "big", "8x", "1x2x3", "0x8", "1.5x2", "nan"])
def test_what_is_no_size_or_share_is_refused_by_name(option, text, capsys):
    parser = verb_parser("predict", "")
    add_sizes(parser)
    with pytest.raises(SystemExit):
        parser.parse_args([f"{option}={text}"])
    assert f"argument {option}: expected a" in (error := capsys.readouterr().err) and text in error
