"""The arguments that verbs share become a predictor."""

import argparse

from keras_vit.cli import source
from tests import toy_artifacts as toy


def test_arguments_reach_the_predictor(tmp_path):
    toy.write_run(tmp_path)
    (tmp_path / "other.txt").write_text("a\nb\nc\n")
    parser = argparse.ArgumentParser()
    source.add_arguments(parser)
    options = ["--preprocessing", str(tmp_path / "preprocessing.json"), "--labels", str(tmp_path / "other.txt")]
    predictor = source.open_source(parser.parse_args([str(tmp_path / "model.keras"), *options]))
    assert (predictor.kind, predictor.spec, predictor.labels) == ("keras model", toy.SPEC, ("a", "b", "c"))
