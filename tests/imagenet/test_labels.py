"""The label sets are complete and in order; predictions have the form of keras.applications."""

import numpy as np
import pytest

from keras_vit.imagenet.labels import decode_predictions, imagenet_labels

SETS = {
    "imagenet-1k": 1000,
    "imagenet-12k": 11821,
    "imagenet-22k": 21841,
    "imagenet-21k-goog": 21843,
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_complete_and_in_the_order_of_ids(name):
    classes = imagenet_labels(name)
    ids = [wnid for wnid, _ in classes]
    assert len(classes) == SETS[name] == len(set(ids)) and ids == sorted(ids)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in ids)
    assert all(label == label.strip() and label for _, label in classes)
    assert imagenet_labels(SETS[name]) is classes


def test_well_known_classes():
    classes = imagenet_labels()
    assert classes[0] == ("n01440764", "tench")
    assert classes[2] == ("n01484850", "great white shark")
    assert classes[285] == ("n02124075", "Egyptian cat")
    assert classes[999] == ("n15075141", "toilet tissue")
    # the first three of Microsoft's published table from 22k to 1k
    large = imagenet_labels("imagenet-22k")
    assert [large[k] for k in (359, 368, 460)] == list(classes[:3])


def test_how_the_sets_are_nested():
    small, middle, large, google = (set(imagenet_labels(name)) for name in SETS)
    assert large < google and middle < large
    assert {label for _, label in google - large} == {"bleacher", "picture"}
    assert {label for _, label in small - large} == {"teddy"}


def test_an_unknown_set_is_refused():
    with pytest.raises(ValueError, match="imagenet-1k .1000.*Received: 'imagenet'"):
        imagenet_labels("imagenet")


def test_the_best_classes_of_each_image():
    scores = np.zeros((2, 1000), "float32")
    scores[0, [0, 285, 999]] = 0.5, 0.3, 0.2
    scores[1, 1] = 1.0
    first, second = decode_predictions(scores, top=3)
    assert [wnid for wnid, _, _ in first] == ["n01440764", "n02124075", "n15075141"]
    assert [label for _, label, _ in first] == ["tench", "Egyptian cat", "toilet tissue"]
    assert [score for _, _, score in first] == pytest.approx([0.5, 0.3, 0.2])
    assert second[0] == ("n01443537", "goldfish", 1.0)
    assert second[1:] == [("n01440764", "tench", 0.0), ("n01484850", "great white shark", 0.0)]
    assert len(decode_predictions(scores)[0]) == 5


@pytest.mark.parametrize("name", SETS)
def test_the_width_chooses_the_set(name):
    scores = np.zeros((1, SETS[name]))
    scores[0, -1] = 1
    assert decode_predictions(scores, top=1) == [[(*imagenet_labels(name)[-1], 1.0)]]
    assert decode_predictions(scores, top=1, labels=name) == decode_predictions(scores, top=1)


def test_labels_of_your_own():
    got = decode_predictions([[0.1, 0.7, 0.2]], labels=["cat", "dog", "newt"])
    assert got == [[("dog", "dog", 0.7), ("newt", "newt", 0.2), ("cat", "cat", 0.1)]]


def test_tensors_are_decoded_too():
    from keras import ops

    best = decode_predictions(ops.cast(ops.eye(1000)[7:8], "bfloat16"), top=1)
    assert best == [[("n01514668", "cock", 1.0)]]


@pytest.mark.parametrize(
    "scores, options, message",
    [
        (np.zeros(1000), {}, r"two axes.*batch of one.*\(1000,\)"),
        (np.zeros((2, 10)), {}, "1000, 11821, 21841 or 21843.*Received: 10.*labels="),
        (np.zeros((2, 10)), {"labels": ["a", "b"]}, "labels has 2 classes.*Received: 10"),
        (np.zeros((2, 10)), {"labels": "imagenet-1k"}, "labels has 1000 classes.*Received: 10"),
        (np.zeros((2, 1000)), {"top": 0}, "top must be at least 1.*top=0"),
    ],
)
def test_scores_and_labels_that_do_not_fit_are_refused(scores, options, message):
    with pytest.raises(ValueError, match=message):
        decode_predictions(scores, **options)
