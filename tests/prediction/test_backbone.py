import numpy as np
import pytest

from keras_vit.models import VARIANTS, swin
from keras_vit.models.family import Variant
from keras_vit.prediction.backbone import has_no_classifier, whole_model, without_classifier
from keras_vit.preprocessing import Spec
from keras_vit.sources.resolve import Resolved, resolve
from keras_vit.sources.run_folder import Run

SPEC = Spec((32, 32), (0.5,) * 3, (0.25,) * 3, input_values="normalized")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of a small Swin that has a name, and its model."""
    variant, folder = Variant("TinySwin", swin.SWIN, swin.Config(12, (1, 1), (1, 2), 2)), tmp_path_factory.mktemp("run")
    model = variant(weights=None, input_shape=(32, 32, 3), classes=3)
    Run.write_description(folder, name="tiny", model_name="TinySwin", labels="abc", spec=SPEC)
    model.save(folder / "model.keras")
    return resolve(folder), variant, model


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_a_run_is_built_again_with_another_pooling(run, pooling, monkeypatch):
    found, variant, model = run
    monkeypatch.setitem(VARIANTS, "TinySwin", variant)
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    last = model.get_layer("norm")(model.get_layer("stage1_block0").output)
    features = type(model)(model.inputs[0], last)(images).numpy()
    expected = features.mean((1, 2)) if pooling == "avg" else features.max((1, 2))
    np.testing.assert_allclose(without_classifier(found, SPEC, pooling)(images), expected, atol=1e-5)


def test_a_pooling_needs_a_model_of_this_library(run):
    with pytest.raises(ValueError, match="Leave --pooling out"):
        without_classifier(run[0], SPEC, "avg")
    with pytest.raises(ValueError, match="another pooling is for names"):
        without_classifier(Resolved("keras", "tiny", run[0].path / "model.keras"), SPEC, "avg")


def test_a_run_is_whole_with_its_classifier(run):
    assert whole_model(run[0], SPEC, resized=False).output_shape == (None, 3)
    assert whole_model(run[0], SPEC.at((64, 64)), resized=True).input_shape == (None, 64, 64, 3)


def test_which_published_weights_have_no_classifier(run):
    assert has_no_classifier(resolve("DINOv2S")) and not has_no_classifier(resolve("SwinT"))
    assert not has_no_classifier(run[0])
