import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_vit.preprocessing import Spec
from keras_vit.training import trainer
from keras_vit.training.step import distillation, distribute
from tests import toy_artifacts
from tests.training import toy
from tests.training.test_trainer import train
from tests.wrapped_models import WRAPPINGS, behind, unscale_from

OWN = toy_artifacts.SPEC
STUDENT = Spec((6, 8), (0.5, 0.4, 0.3), (0.1, 0.2, 0.3))
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3)).astype("float32")
EXPECTED = np.log(toy_artifacts.probabilities(PIXELS))


def of_student(pixels, spec=STUDENT):
    return ((pixels / 255 - spec.mean) / spec.std).astype("float32")


def recipe(teacher, **changes):
    return toy.recipe(teacher=str(teacher), distillation="soft", **changes)


def log_probabilities(teacher, **options):
    return distillation.open_teacher(recipe(teacher), STUDENT, toy_artifacts.LABELS, **options)(of_student(PIXELS))


def write_keras(folder, **settings):
    folder.mkdir()
    toy_artifacts.keras_model(**settings).save(folder / "teacher.keras")
    OWN.save(folder / "preprocessing.json")
    return folder / "teacher.keras"


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_folder_is_a_teacher(tmp_path, compiled):
    found = log_probabilities(toy_artifacts.write_run(tmp_path), compiled=compiled)
    np.testing.assert_allclose(found, EXPECTED, rtol=1e-4)


@pytest.mark.parametrize("activation", ["softmax", None])
def test_a_keras_file_is_a_teacher_with_probabilities_or_logits(tmp_path, activation):
    path = write_keras(tmp_path / "keras", activation=activation)
    np.testing.assert_allclose(log_probabilities(path), EXPECTED, rtol=1e-4)


def test_a_keras_file_that_normalises_inside_gets_pixels(tmp_path):
    image = keras.Input((*OWN.size, 3))
    scale, offset = (1 / (255 * np.array(OWN.std))).tolist(), (-np.array(OWN.mean) / OWN.std).tolist()
    x = keras.layers.Rescaling(scale, offset, name="normalization")(image)
    keras.Model(image, toy_artifacts.keras_model()(x)).save(tmp_path / "teacher.keras")
    OWN.save(tmp_path / "preprocessing.json")
    np.testing.assert_allclose(log_probabilities(tmp_path / "teacher.keras"), EXPECTED, rtol=1e-4)


class Plain(tf.Module):
    """Somebody's SavedModel of normalised images, with a variable."""

    def __init__(self):
        self.sharpness = tf.Variable(toy_artifacts.SHARPNESS)

    @tf.function(input_signature=[tf.TensorSpec((None, *OWN.size, 3), tf.float32, name="x")])
    def __call__(self, x):
        return {"logits": self.sharpness * tf.reduce_mean(x, (1, 2))}


def write_plain(folder):
    plain = Plain()
    tf.saved_model.save(plain, str(folder), signatures=plain.__call__.get_concrete_function())
    OWN.save(folder / "preprocessing.json")
    return folder


@pytest.mark.parametrize("write", [write_plain, toy_artifacts.write_saved_model])
def test_a_saved_model_is_a_teacher_under_two_replicas(tmp_path, write):
    strategy, path = distribute.make_strategy(), write(tmp_path / "saved")
    with strategy.scope():
        teacher = distillation.open_teacher(recipe(path), STUDENT, toy_artifacts.LABELS)
    images = of_student(PIXELS)
    out = tf.function(lambda x: strategy.run(teacher, args=(x,)), autograph=False)(tf.constant(images))
    for got in strategy.experimental_local_results(out):
        np.testing.assert_allclose(got, EXPECTED, rtol=1e-4)


@pytest.mark.parametrize("sizes", [(), ((5, 6), (13, 20))], ids=["the student's", "one that is trained on too"])
def test_another_size_is_resized_as_preprocessing_does(tmp_path, sizes):
    larger, teacher = Spec((13, 20), STUDENT.mean, STUDENT.std), toy_artifacts.write_run(tmp_path)
    own = STUDENT if sizes else larger
    pixels = np.random.default_rng(1).integers(0, 256, (2, 13, 20, 3)).astype("float32")
    opened = distillation.open_teacher(recipe(teacher), own, toy_artifacts.LABELS, sizes=sizes)
    got = opened(of_student(pixels, larger))
    resized = tf.image.resize(pixels, OWN.size, OWN.interpolation, antialias=True)
    expected = np.log(toy_artifacts.probabilities(tf.clip_by_value(resized, 0, 255)))
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def test_without_a_teacher_there_is_no_function():
    assert distillation.open_teacher(toy.recipe(), STUDENT, ("a", "b")) is None


@pytest.mark.parametrize(
    "prepare, message",
    [
        (
            lambda folder: folder / "nowhere",
            "teacher: .*nowhere does not exist. Expected a run folder.*, a .keras file",
        ),
        (lambda folder: folder, "teacher: .* is of no known kind. Expected a run folder"),
        (
            lambda folder: write_keras(folder / "k").with_name("preprocessing.json").unlink()
            or folder / "k/teacher.keras",
            "does not say how its images are prepared. Put a preprocessing.json",
        ),
    ],
)
def test_what_cannot_be_a_teacher_is_refused(tmp_path, prepare, message):
    with pytest.raises(ValueError, match=message):
        log_probabilities(prepare(tmp_path))


def test_other_classes_are_refused(tmp_path):
    run, file = toy_artifacts.write_run(tmp_path / "run"), write_keras(tmp_path / "keras")
    with pytest.raises(ValueError, match="in their order: red, deep blue, green. Received: red, green, deep blue"):
        distillation.open_teacher(recipe(run), STUDENT, ("red", "deep blue", "green"))
    with pytest.raises(ValueError, match=r"expected scores of 2 classes.*Received outputs of shape \(2, 3\)"):
        distillation.open_teacher(recipe(file), STUDENT, ("red", "green"))


@pytest.mark.slow  # test_step has the loss, run/test_header the entry
def test_a_student_is_trained_and_its_header_names_the_teacher(tmp_path):
    path = write_keras(tmp_path / "teacher")
    settings = {"data_dir": str(toy.write_folder(tmp_path / "data")), "epochs": 1, "distillation_alpha": 1.0}
    results, text = train(recipe(path, **settings), tmp_path / "run")
    assert f"teacher        {path}, soft distillation" in text and results["n_images"] == 4
    assert trainer.read_results(tmp_path / "run") == results


@pytest.mark.parametrize("name", ["augmentation", "preprocess_input", "subclassed", "unit", "called_normalization"])
def test_a_keras_file_gets_the_values_that_it_takes(tmp_path, name):
    WRAPPINGS[name][0](toy_artifacts.keras_model(), OWN).save(tmp_path / "teacher.keras")
    OWN.save(tmp_path / "preprocessing.json")
    np.testing.assert_allclose(log_probabilities(tmp_path / "teacher.keras"), EXPECTED, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("values", ["pixels", "unit"])
def test_a_preprocessing_json_may_say_what_it_takes(tmp_path, values):
    scale = 1.0 if values == "pixels" else 1 / 255
    model = behind(unscale_from(scale, 0.0))(toy_artifacts.keras_model(), OWN)
    model.save(tmp_path / "teacher.keras")
    dataclasses.replace(OWN, input_values=values).save(tmp_path / "preprocessing.json")
    np.testing.assert_allclose(log_probabilities(tmp_path / "teacher.keras"), EXPECTED, rtol=1e-4, atol=1e-5)


def test_one_output_of_two_classes_is_a_teacher(tmp_path):
    image = keras.Input((*OWN.size, 3))
    x = keras.layers.GlobalAveragePooling2D()(image)
    model = keras.Model(image, keras.layers.Dense(1, activation="sigmoid")(x))
    model.save(tmp_path / "teacher.keras")
    OWN.save(tmp_path / "preprocessing.json")
    found = distillation.open_teacher(recipe(tmp_path / "teacher.keras"), STUDENT, ("cat", "dog"))(of_student(PIXELS))
    dog = np.asarray(model(of_student(PIXELS, OWN)))
    np.testing.assert_allclose(found, np.log(np.concatenate([1 - dog, dog], 1)), atol=1e-5)
