"""The arguments that verbs share become a predictor; the tab key is offered names and paths."""

from keras_vit.cli.arguments import add_model, complete_model, complete_name, open_predictor, verb_parser
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
