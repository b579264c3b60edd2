import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

import keras_vit
from keras_vit.cli.main import main
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from keras_vit.training import averaging, trainer
from keras_vit.training.run import checkpoint, logs
from keras_vit.training.settings import RunSettings
from tests.training import toy

HISTORY = [
    {"epoch": epoch, "eval_top1": top1, "eval_loss": 1.0} for epoch, top1 in enumerate([70.0, 90.0, 60.0, 80.0, 50.0])
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder as a run of five epochs leaves it that keeps the weights of two."""
    folder = tmp_path_factory.mktemp("averaging") / "run"
    model = toy.TOY(weights=None, input_shape=(8, 8, 3), classes=3)
    spec = Spec((8, 8), (0.5,) * 3, (0.5,) * 3)
    Run.write_description(folder, name="run", model_name="Toy", labels=("a", "b", "c"), spec=spec)
    generator, store = np.random.default_rng(0), checkpoint.Store(folder / "checkpoints", 2)
    for epoch in averaging.epochs_to_keep(HISTORY, 2, RunSettings().rank):
        store.save_epoch(epoch, [generator.normal(size=w.shape).astype("float32") for w in model.get_weights()])
    store.save(15, {"model/0": np.zeros(1)}, {"history": HISTORY, "best": None})
    model.set_weights(store.load_epoch(1))
    model.save(folder / "model.keras")
    logs.write_settings(folder, {"eval_metric": "top1"})
    Image.fromarray(np.full((8, 8, 3), 99, "uint8")).save(folder / "0.png")
    Run.write_test_images(folder, [("0.png", 1)])
    return folder


def test_the_newest_and_the_best_epochs_are_kept():
    rank = RunSettings().rank
    assert averaging.epochs_to_keep(HISTORY, 2, rank) == {1, 3, 4}
    assert averaging.epochs_to_keep(HISTORY, 9, rank) == {0, 1, 2, 3, 4}
    assert averaging.epochs_to_keep(HISTORY, 0, rank) == averaging.epochs_to_keep([], 3, rank) == set()


def test_the_average_is_the_mean_of_the_epochs_weights(run, tmp_path):
    folder, epochs = averaging.write_average(run, "last:2", tmp_path / "mean")
    assert epochs == [3, 4]
    store = checkpoint.Store(run / "checkpoints", 1)
    expected = [np.mean(both, axis=0) for both in zip(store.load_epoch(3), store.load_epoch(4))]
    averaged = keras_vit.load_run(folder).load_model().get_weights()
    for one, other in zip(averaged, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-8)


def test_of_one_best_epoch_the_average_is_the_run_itself(run, tmp_path):
    best = keras_vit.load_run(run).load_model().get_weights()
    folder, _ = averaging.write_average(run, "best:1", tmp_path / "best")
    for one, other in zip(keras_vit.load_run(folder).load_model().get_weights(), best, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_average_is_a_run_that_commands_take(run, capsys):
    assert main(["validate", str(run), "--average", "best:2"]) == 0
    said, folder = capsys.readouterr(), run / "average-best-2"
    assert "on 1 images" in said.out and str(folder) in said.err
    details = json.loads((folder / "run.json").read_text())
    assert details["name"] == "run-best-2" and details["averaged"]["of"] == "best:2" and "held_out" not in details
    assert [path for path, _ in keras_vit.load_run(folder).require_test_images()]
    assert main(["validate", str(folder)]) == 0
    assert capsys.readouterr().out == said.out


def test_a_temperature_of_the_run_is_in_the_average_too(run, tmp_path):
    plain, _ = averaging.write_average(run, "last:2", tmp_path / "plain")
    entries = json.loads((run / "run.json").read_text())
    try:
        (run / "run.json").write_text(json.dumps(entries | {"temperature": 2.0}))
        divided, _ = averaging.write_average(run, "last:2", tmp_path / "divided")
    finally:
        (run / "run.json").write_text(json.dumps(entries))
    heads = [keras_vit.load_run(folder).load_model().get_layer("head").get_weights() for folder in (plain, divided)]
    for one, other in zip(*heads):
        np.testing.assert_array_equal(one / 2, other)


@pytest.mark.parametrize(
    "which, message",
    [
        ("last:3", r"does not have the weights of epoch 3, which last:3.*--average-hist 3"),
        ("best:9", r"does not have the weights of epochs 1, 3, which best:9 averages.*average_hist"),
        ("first:2", "Expected last:K or best:K, as in best:3. Received: first:2."),
        ("last:0", "Expected last:K"),
    ],
)
def test_epochs_that_were_not_kept_are_named_with_the_remedy(run, which, message):
    with pytest.raises(ValueError, match=message):
        averaging.write_average(run, which)


@pytest.mark.slow
def test_a_run_keeps_the_weights_of_its_moving_average(tmp_path):
    data = str(toy.write_folder(tmp_path / "data"))
    recipe = toy.recipe(data_dir=data, epochs=4, average_hist=2, eval_metric="loss", model_ema_decay=0.9)
    trainer.train(recipe, tmp_path / "run", Console(quiet=True))
    folder, _ = averaging.write_average(tmp_path / "run", "best:1")
    best, averaged = (keras_vit.load_run(path).load_model().get_weights() for path in (tmp_path / "run", folder))
    for one, other in zip(averaged, best, strict=True):
        np.testing.assert_array_equal(one, other)
    assert averaging.find_epochs(tmp_path / "run", "last:2") == [2, 3]
    assert len(list((tmp_path / "run" / "checkpoints").glob("epoch-*.npz"))) <= 4


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no checkpoints"):
        averaging.find_epochs(tmp_path, "last:2")
