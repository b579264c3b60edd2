"""AUROC against scikit-learn, and the share that a threshold rejects."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from keras_vit.evaluation import evaluate
from keras_vit.evaluation.unknown import Separation, auroc, require_score, separation, unknown_images
from tests.evaluation.toys import images, predictor_of

ENERGY = {"score": "energy", "threshold": 3.5, "kept": 0.95}


def test_auroc_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    known, unknown = np.round(rng.normal(1, 1, 80), 1), np.round(rng.normal(0, 1, 50), 1)  # with equal scores
    labels = [1] * 80 + [0] * 50
    assert auroc(known, unknown) == pytest.approx(roc_auc_score(labels, [*known, *unknown]))
    assert auroc(unknown, known) == pytest.approx(1 - auroc(known, unknown))
    assert (auroc([2, 3], [1]), auroc([1], [2, 3]), auroc([1, 1], [1])) == (1, 0, 0.5)


def test_images_below_a_folder_are_scored_and_compared_with_the_threshold(tmp_path):
    (tmp_path / "other" / "deep").mkdir(parents=True)
    known, other = images(tmp_path, 3), images(tmp_path / "other" / "deep", 5, broken=(2,))
    predictor = predictor_of(np.eye(7, dtype="float32"), known=[4.0, 3.5, 3.0, 1.0, 2.0, 3.25, 5.0], unknown=ENERGY)
    predictions = evaluate(predictor, zip(known, (0, 1, 2)))
    assert predictions.known.tolist() == [4.0, 3.5, 3.0]
    found = separation(predictor, predictions, tmp_path / "other", batch_size=2)
    assert found.unknown.tolist() == [1.0, 2.0, 3.25, 5.0] and [path for path, _ in found.bad] == [str(other[2])]
    assert (found.rejected, found.kept) == (0.75, 2 / 3)  # a score that equals the threshold is known
    assert found.entries() == {
        **{"score": "energy", "threshold": 3.5, "auroc": 100 * auroc([4, 3.5, 3], [1, 2, 3.25, 5])},
        **{"rejected": 75.0, "kept": 100 * (2 / 3), "n_unknown": 4, "n_known": 3, "unreadable": 1},
    }


def test_a_threshold_is_compared_in_the_scores_type():
    third = np.float32(1) / np.float32(3)
    scores = np.array([third], "float32")
    assert Separation("energy", float(third) + 1e-12, scores, scores).kept == 1


def test_without_a_score_images_or_one_that_can_be_read_it_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"toy \(keras model\) has no score .* Train with --unknown-score energy"):
        require_score(predictor_of([]))
    with pytest.raises(ValueError, match="holds no image. Expected a folder with images of none of the model's"):
        unknown_images(tmp_path)
    images(tmp_path, 1, broken=(0,))
    with pytest.raises(ValueError, match="None of the 1 images of .* can be read, .*0.png for one"):
        separation(predictor_of([], known=[], unknown=ENERGY), None, tmp_path)
