import keras
import numpy as np
import pytest

from keras_vit.training import decision
from tests.training import toy

generator = np.random.default_rng(0)
LOGITS = 3 * generator.normal(size=(200, 3)).astype("float32")
LABELS = (LOGITS + generator.normal(0, 2, LOGITS.shape)).argmax(1)
SEVERAL = (LOGITS + generator.normal(0, 2, LOGITS.shape) > 1).astype("uint8")


def decide(labels=LABELS, **changes):
    return decision.decide(toy.recipe(**changes), LOGITS, labels)


def test_by_default_one_label_needs_nothing_and_several_need_thresholds():
    assert not decision.needed(toy.recipe(), False) and decide() == {}
    assert decision.needed(toy.recipe(), True) and set(decide(SEVERAL)) == {"thresholds"}
    assert decision.needed(toy.recipe(temperature_scaling=True), False)


@pytest.mark.parametrize("kind", ["energy", "max_logit"])
def test_the_share_of_known_images_is_above_the_threshold(kind):
    unknown = decide(unknown_score=kind, known_fraction=0.9)["unknown"]
    scores = np.log(np.exp(LOGITS.astype("float64")).sum(1)) if kind == "energy" else LOGITS.max(1)
    kept = (scores >= unknown["threshold"] - 1e-6).mean()
    assert unknown["score"] == kind and unknown["kept"] == 0.9 and 0.9 <= kept <= 0.9 + 1 / len(LOGITS)


def test_thresholds_and_scores_are_of_the_divided_logits():
    both = decide(SEVERAL, temperature_scaling=True, unknown_score="max_logit")
    assert both["temperature"] != pytest.approx(1, abs=0.05)
    alone = decide(SEVERAL, unknown_score="max_logit")
    assert both["unknown"]["threshold"] == pytest.approx(alone["unknown"]["threshold"] / both["temperature"], rel=1e-5)
    before, after = (np.log(t) - np.log1p(-np.array(t)) for t in (alone["thresholds"], both["thresholds"]))
    divided = LOGITS / both["temperature"]
    np.testing.assert_array_equal(LOGITS >= before, divided >= after)


def test_a_temperature_divides_the_logits_of_all_heads():
    image = keras.Input((4,))
    model = keras.Model(image, [keras.layers.Dense(3, name=name)(image) for name in decision.HEADS])
    images = generator.normal(size=(5, 4)).astype("float32")
    before = model.predict_on_batch(images)
    decision.divide_logits(model, 2.0)
    for one, other in zip(before, model.predict_on_batch(images)):
        np.testing.assert_allclose(other, one / 2, rtol=1e-6)
