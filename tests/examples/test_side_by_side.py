import numpy as np
import pytest

import keras_vit
from examples import side_by_side
from examples.side_by_side import Entry
from examples.small_runs import train_small
from keras_vit.models import convnext
from keras_vit.models.family import Variant
from tests.examples.toys import SETTINGS, VIT


@pytest.mark.slow
def test_a_run_is_measured_and_drawn(tmp_path, few_digits):
    facts = train_small(VIT, tmp_path / "toy", **SETTINGS)
    (tmp_path / "unfinished").mkdir()
    (folder,) = side_by_side.finished_runs(tmp_path)
    files = [path for path, _ in keras_vit.load_run(folder).test_images()[:2]]
    entry = side_by_side.measure(folder, files)
    assert (entry.name, entry.parameters) == ("toy", facts["parameters"])
    assert entry.top1 == pytest.approx(facts["top1"], abs=0.005) and entry.milliseconds > 0
    assert entry.rollout.shape == (2, 2, 2)
    assert entry.line().split()[0] == f"{facts['parameters']:,}"
    figure = side_by_side.draw([entry], files)
    texts = [text.get_text() for axis in figure.axes for text in axis.texts]
    assert "toy" in texts and sum(len(axis.images) for axis in figure.axes) == 2 + 2


def test_a_model_without_attention_has_no_rollout(tmp_path):
    model = Variant("Toy", convnext.CONVNEXT, convnext.Config((1,), (8,)))(
        weights=None, input_shape=(32, 32, 3), classes=3
    )
    images = np.zeros((1, 32, 32, 3), "float32")
    assert side_by_side.rollout_of(model, images) is None
    assert side_by_side.latency(model, images) > 0


def test_a_model_without_rollout_is_drawn_with_a_note(tmp_path):
    from PIL import Image

    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    figure = side_by_side.draw([Entry("convnext", 1000, 99.0, 1.0, None)], [tmp_path / "0.png"])
    assert "no attention\nweights" in [text.get_text() for axis in figure.axes for text in axis.texts]


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no finished run"):
        side_by_side.finished_runs(tmp_path)
