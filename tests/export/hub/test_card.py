"""The model card says what the facts say, in a form that the hub reads, and nothing else."""

import dataclasses
import re

import pytest
import yaml

from keras_vit.export.hub.card import LIBRARIES, card
from keras_vit.export.hub.facts import Facts, Measured
from keras_vit.preprocessing import Spec
from keras_vit.weights import catalogue

SPEC = Spec((6, 8), (0.45, 0.5, 0.5), (0.2, 0.25, 0.3), crop_pct=0.8)
FACTS = Facts(
    name="colours",
    model="SwinT",
    parameters=28_288_354,
    labels=("red", "deep <b>blue</b>", "a`b|c"),
    spec=SPEC,
    input_values="normalized",
    run={"data": "my colours", "weights": "ms_in1k", "best_epoch": 2, "train_seconds": 3600.4},
    settings={"epochs": 3, "lr": 0.001, "aa": None},
    images={"training": 1200, "test": 40},
    architecture="Config(depth=1)",
    base=catalogue.find("SwinT", "ms_in1k"),
    measured=Measured(97.5, 40, 100.0, 0.0123, "by `keras-vit push`, on the test split"),
)


def metadata(text):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", text, re.DOTALL)[1])


def test_numbers_are_those_that_were_measured():
    text = card(FACTS, "me/net")
    for expected in ("97.50 %", "100.00 %", "0.0123", "| images | 40 |", "28,288,354 parameters", "1,200 for training"):
        assert expected in text
    assert "on the test split of my colours" in text and "epoch 2" in text and "3,600 seconds" in text
    assert 'architecture: "Config(depth=1)"\nepochs: 3\nlr: 0.001\naa: null' in text
    assert "0.45, 0.5, 0.5" in text and "0.2, 0.25, 0.3" in text and "6 x 8 pixels" in text


def test_the_hub_reads_metadata():
    found = metadata(card(FACTS, "me/net", licence="mit", without={"timm": "no"}))
    assert found["license"] == "mit" and found["pipeline_tag"] == "image-classification"
    assert found["library_name"] == "keras_vit" and found["base_model"] == FACTS.base.hub_id
    assert set(found["tags"]) == {"image-classification", "keras", "keras_vit", "transformers"}
    (result,) = found["model-index"][0]["results"]
    assert result["dataset"] == {"name": "my colours", "type": "my-colours"}
    assert {one["type"]: one["value"] for one in result["metrics"]} == {
        "accuracy": 0.975,
        "expected_calibration_error": 0.0123,
    }


def test_huggingface_hub_reads_it_back():
    from huggingface_hub import ModelCard

    found = ModelCard(card(FACTS, "me/net", licence="mit"))
    assert found.data.model_name == "colours" and found.data.eval_results[0].metric_value == 0.975


@pytest.mark.parametrize("measured", [None, Measured(50.0, 4, by="by training, on the test split")])
def test_what_was_not_measured_is_said_to_be_missing(measured):
    text = card(dataclasses.replace(FACTS, measured=measured, missing="no images"), "me/net")
    assert "was not measured: no images" in text or "was measured: no images" in text
    assert "0.0123" not in text and "97.5" not in text
    assert ("model-index" in metadata(text)) == (measured is not None)
    assert "expected_calibration_error" not in str(metadata(text))


def test_what_is_not_known_is_said_so():
    bare = dataclasses.replace(FACTS, run={}, settings={}, images={}, base=None, measured=None, missing="no images")
    text = card(bare, "me/net")
    assert "What the model was trained on is not recorded" in text and "How the model was trained is not rec" in text
    assert "No licence is stated" in text and "license" not in metadata(text) and "base_model" not in metadata(text)


def test_an_accuracy_that_chose_the_checkpoint_is_said_to_be_too_high():
    measured = dataclasses.replace(FACTS.measured, chosen_on=True)
    assert "too high" in card(dataclasses.replace(FACTS, measured=measured), "me/net")
    assert "too high" not in card(FACTS, "me/net")


def test_the_licence_of_the_weights_that_it_began_with():
    text = card(FACTS, "me/net", licence="apache-2.0")
    assert "`apache-2.0`, stated by the owner" in text and f"licence {FACTS.base.licence}" in text
    assert f"https://huggingface.co/{FACTS.base.hub_id}" in text


def test_a_code_line_for_each_library_that_has_it():
    text = card(FACTS, "me/net")
    assert 'Predictor.open("hf://me/net")' in text and 'create_model("hf-hub:me/net"' in text
    assert '"me/net", "subfolder": "transformers"}' in text
    reasons = {library: f"no {library} here" for library in LIBRARIES}
    text = card(FACTS, "me/net", without=reasons)
    assert "hf-hub" not in text and "AutoModel" not in text and all(reason in text for reason in reasons.values())


def test_a_branch_is_named_in_each():
    text = card(FACTS, "me/net", revision="v2")
    assert "hf://me/net@v2" in text and "hf-hub:me/net@v2" in text and '"revision": "v2"' in text


def test_the_code_is_python():
    for block in re.findall(r"```python\n(.*?)```", card(FACTS, "me/net", revision="v2"), re.DOTALL):
        compile(block, "card", "exec")


def test_names_are_text_whatever_they_hold():
    text = card(FACTS, "me/net")
    assert "`deep b blue /b`" in text and "`a b c`" in text and "<b>" not in text
    many = dataclasses.replace(FACTS, labels=tuple(f"class {n}" for n in range(1000)))
    assert "`class 19`, and 980 more in labels.txt" in card(many, "me/net") and "class 20" not in card(many, "me/net")


def test_several_labels_are_measured_and_read_otherwise():
    measured = Measured(None, 40, None, 0.02, "by training", several={"map": 91.5, "micro_f1": 85.0, "macro_f1": 80.25})
    unknown = {"score": "energy", "threshold": 4.25, "kept": 0.95}
    run = {**FACTS.run, "multi_label": True, "unknown": unknown}
    text = card(dataclasses.replace(FACTS, measured=measured, run=run), "me/net", without={"timm": "a sigmoid"})
    assert "| mean average precision | 91.50 % |" in text and "top-1" not in text and "| macro F1 | 80.25 % |" in text
    assert "scores >= predictor.thresholds" in text and "argmax" not in text.partition("**transformers**")[0]
    assert "which of 3 labels an image has" in text and "below 4.25" in text and "95 % of the validation" in text
    (result,) = metadata(text)["model-index"][0]["results"]
    assert [(one["type"], one["value"]) for one in result["metrics"]] == [
        *(("mean_average_precision", 0.915), ("micro_f1", 0.85), ("macro_f1", 0.8025)),
        ("expected_calibration_error", 0.02),
    ]
