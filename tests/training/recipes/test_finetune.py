import numpy as np
import pytest

from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from keras_vit.training import recipe
from keras_vit.training.step import model
from keras_vit.training.trainer import train
from tests.models.cases import params
from tests.models.test_contract import build, liven
from tests.models.toys import TOYS
from tests.training import toy


def test_the_recipe_starts_from_published_weights_on_a_folder():
    tuned = recipe.load("finetune")
    assert tuned.dataset == "folder" and tuned.weights == "imagenet" and tuned.variant is None
    assert model.find(tuned)[0].name == "SwinT"


def digits_run(folder, name):
    """Write the run folder of a toy for ten digits; the model."""
    trained, spec = liven(build(name, classes=10)), Spec(TOYS[name][1][:2], (0.25,) * 3, (0.3,) * 3)
    labels = [str(digit) for digit in range(10)]
    Run.write_description(folder, name="digits", model_name=trained.name, labels=labels, spec=spec)
    trained.save(folder / "model.keras")
    return trained


@pytest.mark.parametrize("name", params(()))
def test_a_run_on_digits_is_fine_tuned_on_larger_images_of_other_classes(name, tmp_path):
    trained, (variant, (height, width, _)) = digits_run(tmp_path / "digits", name), TOYS[name]
    tuned = recipe.load("finetune").replace(
        model=variant.name,
        variant=variant,
        weights=str(tmp_path / "digits"),
        data_dir=str(toy.write_folder(tmp_path / "data")),
        img_size=(2 * height, 2 * width),
        precision="float32",
        xla=False,
        epochs=1,
        warmup_epochs=0,
        batch_size=12,
    )
    spec = model.spec_of(tuned)
    assert (spec.size, spec.mean, spec.std) == ((2 * height, 2 * width), (0.25,) * 3, (0.3,) * 3)
    start = model.build_for_training(tuned, 3, spec)
    kept = {v.path: v.shape for v in trained.weights if "head" not in v.path}
    same = [v for v in start.weights if kept.get(v.path) == v.shape and "seed" not in v.path]
    assert len(same) > 0.8 * len(kept)  # all but the head and what depends on the image size
    before = {v.path: np.asarray(v) for v in trained.weights}
    for variable in same:
        np.testing.assert_array_equal(variable, before[variable.path], err_msg=variable.path)
    results = train(tuned, tmp_path / "run")
    assert results["n_images"] == 4
    assert Run.open(tmp_path / "run").load_model().output_shape == (None, 3)
