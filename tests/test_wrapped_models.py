"""A classifier in every form in which people save one: predict, validate and export find the accuracy that it has.

Before `find_input_values` most of these forms were normalised twice, and export agreed with itself at that.
"""

import json

import numpy as np
import pytest

from keras_vit.cli.main import main
from keras_vit.export.model.inference import probabilities
from keras_vit.export.model.source import image_files, open_source
from keras_vit.export.parity.parity import expect
from keras_vit.prediction.predictor import Predictor
from tests import digits_toy
from tests.models.cases import params
from tests.wrapped_models import WRAPPINGS

QUICK = (  # one of a kind; the others differ in where the values change
    *("zoo", "rescaling_then_normalization", "preprocess_input", "lambda", "own_layer", "uint8", "tenth", "sequential"),
    *("nested", "subclassed", "batch_norm_of_pixels", "unit", "unit_to_pixels", "plain", "called_normalization"),
)
EXPORTED = ["augmentation", "subclassed", "unit_to_pixels"]
LABELS = "".join(f"{digit}\n" for digit in range(10))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return digits_toy.write_run(tmp_path_factory.mktemp("digits"))


@pytest.fixture(scope="module")
def images(run):
    """(paths, classes) of the test images."""
    found = Predictor.open(run), image_files([run / "by_class"], tuple("0123456789"))
    paths, classes = zip(*found[1])
    assert None not in classes
    return paths, np.array(classes)


@pytest.fixture(scope="module")
def accuracy(run, images):
    """Of the classifier itself, which is high, and of what it is when normalised twice, which is not."""
    paths, classes = images
    predictor = Predictor.open(run)
    accuracy, wrong = ((p.predict(paths).argmax(1) == classes).mean() for p in (predictor, predictor.taking("pixels")))
    assert accuracy > 0.95 and wrong < 0.75
    return accuracy


def write(name, run, folder):
    """The run's model in a form, as a file with labels beside it, but no preprocessing."""
    WRAPPINGS[name][0](digits_toy.unwrapped(run), digits_toy.SPEC).save(folder / "m.keras")
    (folder / "labels.txt").write_text(LABELS)
    return folder / "m.keras"


@pytest.mark.parametrize("name", params(QUICK, WRAPPINGS))
def test_predict_and_what_is_exported(name, run, images, accuracy, tmp_path):
    import tensorflow as tf

    file, (paths, classes) = write(name, run, tmp_path), images
    predictor = Predictor.open(file, spec=run)
    assert predictor.input_values == WRAPPINGS[name][1]
    given = predictor.predict(paths)
    assert (given.argmax(1) == classes).mean() == accuracy

    source = open_source(file, run)
    expected = expect(source, image_files([run / "by_class"], source.labels))
    np.testing.assert_allclose(expected.probabilities, given, atol=1e-6)
    assert (expected.classes == classes).all() and expected.warnings == ()
    graph = tf.function(probabilities(source))
    np.testing.assert_allclose(graph(tf.constant(expected.images, tf.float32)), given, atol=1e-5)


@pytest.mark.parametrize("name", ["subclassed", "rescaling_then_normalization", "unit", "plain"])
def test_validate(name, run, accuracy, tmp_path, capsys):
    file, data = write(name, run, tmp_path), run / "by_class"
    assert main(["validate", str(file), "--preprocessing", str(run), "--data-dir", str(data)]) == 0
    out, err = capsys.readouterr()
    assert f"top-1 {100 * accuracy:.3f} %" in out and "WARNING" not in err


@pytest.mark.parametrize("name", EXPORTED)
@pytest.mark.slow  # test_predict_and_what_is_exported has the graph
def test_export_says_the_accuracy_and_the_artifact_has_it(name, run, accuracy, tmp_path, capsys):
    file, data, served = (write(name, run, tmp_path), run / "by_class", tmp_path / "served")
    command = ["export", str(file), "--preprocessing", str(run), "--images", str(data), "--output", str(served)]
    assert main(command) == 0
    line = f"{digits_toy.IMAGES} given images, accuracy {accuracy:.4f} (Keras {accuracy:.4f}), agreement 100.00 %"
    assert line in capsys.readouterr().out
    assert main(["validate", str(served), "--data-dir", str(data)]) == 0
    assert f"top-1 {100 * accuracy:.3f} %" in capsys.readouterr().out
    (assets,) = served.glob("models/m/1/assets/preprocessing.json")
    assert "input_values" not in json.loads(assets.read_text())


@pytest.mark.parametrize("verb", ["export", "convert", "compare"])
def test_a_model_that_is_better_fed_otherwise_is_refused(verb, run, tmp_path, capsys):
    """Its preprocessing.json says something wrong of it."""
    file, spec = write("other_name", run, tmp_path), tmp_path / "preprocessing.json"
    spec.write_text(json.dumps(digits_toy.SPEC.to_json() | {"input_values": "normalized"}))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"")  # never opened
    more = [str(tmp_path / "1")] if verb == "compare" else ["--output", str(tmp_path / "out")]
    command = [verb, str(file), *more, "--images", str(run / "by_class")]
    assert main(command) == 1
    error = capsys.readouterr().err
    assert "where it is fed normalized values" in error and "use --input-values pixels" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # export/model/test_source has it without files
def test_who_says_which_values_is_believed_and_warned(run, accuracy, tmp_path, capsys):
    file = write("other_name", run, tmp_path)
    common = [str(file), "--preprocessing", str(run), "--input-values", "normalized"]
    data = str(run / "by_class")
    assert main(["convert", *common, "--images", data, "--quant", "none", "--output", str(tmp_path / "edge")]) == 0
    assert "WARNING: m: " in (error := capsys.readouterr().err) and "use --input-values pixels" in error
    guessing, _, better = json.loads((tmp_path / "edge" / "report.json").read_text())["warnings"]
    assert "10.00 % is that of guessing" in guessing and "--input-values pixels" in better
    assert main(["validate", *common, "--data-dir", data]) == 0
    assert "use --input-values pixels" in capsys.readouterr().err


@pytest.mark.parametrize("values", ["pixels", "unit"])
def test_a_preprocessing_json_beside_the_file_may_say_it(values, run, images, accuracy, tmp_path):
    """A model of raw values, of which nothing tells what it was trained on."""
    from tests.wrapped_models import behind, unscale_from

    model = behind(unscale_from(1.0, 0.0) if values == "pixels" else unscale_from(1 / 255, 0.0))
    model(digits_toy.unwrapped(run), digits_toy.SPEC).save(tmp_path / "m.keras")
    (tmp_path / "preprocessing.json").write_text(json.dumps(digits_toy.SPEC.to_json() | {"input_values": values}))
    paths, classes = images
    predictor = Predictor.open(tmp_path / "m.keras")
    assert predictor.input_values == values and (predictor.predict(paths).argmax(1) == classes).mean() == accuracy
    assert Predictor.open(tmp_path / "m.keras", input_values="normalized").input_values == "normalized"
    source = open_source(tmp_path / "m.keras")
    assert source.input_values == values and not source.asked
