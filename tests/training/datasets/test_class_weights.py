import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from keras_vit.training.datasets.class_weights import class_weights, effective_numbers
from keras_vit.training.datasets.splits import DataSet, Split
from tests.training import toy

LABELS = np.repeat(np.arange(3), (40, 9, 1)).astype("int32")


def data_set(labels=LABELS, classes=("cat", "dog", "Étang")):
    split = Split(tuple(map(str, range(len(labels)))), labels)
    return DataSet("toy", classes, split, split, split)


def weights(kind, *args, **changes):
    return class_weights(toy.recipe(class_weights=kind and str(kind), **changes), data_set(*args))


def test_balanced_weights_are_scikit_learns():
    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_allclose(weights("balanced"), expected, rtol=1e-6)


def test_effective_weights_are_in_inverse_proportion_to_equation_2_and_have_the_mean_1_over_the_images():
    found = weights("effective", effective_beta=0.9)
    numbers = np.array([sum(0.9**i for i in range(n)) for n in (40, 9, 1)])
    np.testing.assert_allclose(effective_numbers([40, 9, 1], 0.9), numbers)
    np.testing.assert_allclose(found * numbers, found[0] * numbers[0], rtol=1e-6)
    assert found[LABELS].mean() == pytest.approx(1)


def test_effective_weights_lie_between_none_and_balanced():
    assert weights(None) is None
    even, balanced = weights("effective", effective_beta=1e-6), weights("effective", effective_beta=1 - 1e-9)
    np.testing.assert_allclose(even, 1, rtol=1e-4)
    np.testing.assert_allclose(balanced, weights("balanced"), rtol=1e-4)


def test_of_several_labels_each_label_counts():
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]], "uint8")
    np.testing.assert_allclose(weights("balanced", labels), [5 / 9, 5 / 3, 5 / 3], rtol=1e-6)


def test_a_file_gives_each_class_its_weight(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("class,weight\ndog,2\nE\u0301tang,0.5\ncat,0\n", encoding="utf-8")
    np.testing.assert_array_equal(weights(path), np.array([0, 2, 0.5], "float32"))


@pytest.mark.parametrize(
    "text, message",
    [
        ("class,weight\ncat,1\ndog,1\n", "no weight for 1 of 3 classes: 'Étang'"),
        ("class,weight\ncat,1\ndgo,1\n", "line 3: there is no class 'dgo'. Closest: 'dog'"),
        ("class,weight\ncat,1\ncat,2\n", "line 3: 'cat' has a weight already"),
        ("class,weight\ncat,-1\n", "line 2: a weight must be a number, 0 or more. Received: '-1'"),
        ("class,weight\ncat,nan\n", "must be a number"),
        ("class,weight\ncat\n", "must be a number, 0 or more. Received: None"),
        ("class,weight\ncat,0\ndog,0\nÉtang,0\n", "all weights are 0"),
        ("cat,1\n", "needs the columns class,weight"),
        ("", "needs the columns class,weight. It has none"),
    ],
)
def test_a_file_that_does_not_fit_is_named(tmp_path, text, message):
    path = tmp_path / "weights.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        weights(path)


def test_a_file_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(ValueError, match="must be balanced, effective, or the path of a CSV file"):
        weights(tmp_path / "none.csv")
    (tmp_path / "image.csv").write_bytes(b"\x89PNG\r\n\xff\xfe")
    with pytest.raises(ValueError, match="is not a CSV file in UTF-8"):
        weights(tmp_path / "image.csv")
