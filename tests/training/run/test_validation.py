import numpy as np
import pytest
from sklearn import metrics

from keras_vit.training.run import validation
from keras_vit.training.step.step import measure_sums

generator = np.random.default_rng(0)


def test_the_row_of_one_label_each_is_scikit_learns():
    labels, logits = generator.integers(0, 6, 50).astype("int32"), generator.normal(size=(50, 6)).astype("float32")
    weights = np.array([1] * 45 + [0] * 5, "float32")
    row = validation.row_of_sums([measure_sums(labels[s], logits[s], weights[s]) for s in (slice(30), slice(30, 50))])
    labels, best = labels[:45], logits[:45].argmax(1)
    assert row["eval_top1"] == pytest.approx(100 * (labels == best).mean())
    assert row["eval_balanced_accuracy"] == pytest.approx(100 * metrics.balanced_accuracy_score(labels, best))
    assert row["eval_macro_f1"] == pytest.approx(100 * metrics.f1_score(labels, best, average="macro"))


def test_the_row_of_several_labels_is_scikit_learns_without_the_padding():
    labels = generator.integers(0, 2, (40, 5))
    logits = labels + generator.normal(size=(40, 5)).astype("float32")
    weights = np.array([1] * 33 + [0] * 7, "float32")
    losses = generator.random(40).astype("float32")
    parts = [tuple(values[s] for values in (losses, logits, labels, weights)) for s in (slice(25), slice(25, 40))]
    row = validation.row_of_scores(parts)
    labels, logits = labels[:33], logits[:33]
    assert row["eval_loss"] == pytest.approx(losses[:33].mean(), rel=1e-6)
    assert row["eval_map"] == pytest.approx(100 * metrics.average_precision_score(labels, logits, average="macro"))
    for average in ("micro", "macro"):
        expected = metrics.f1_score(labels, logits >= 0, average=average)
        assert row[f"eval_{average}_f1"] == pytest.approx(100 * expected)
