"""Accuracies against counting by hand, and folders of classes against labels."""

import numpy as np
import pytest
from PIL import Image

from keras_vit.evaluation import class_folders, evaluate
from keras_vit.labels import imagenet_labels
from keras_vit.predictor import Predictor

LABELS = tuple("abcdefg")


def predictor_of(scores):
    """A predictor that answers with the next rows of `scores`, whatever the picture."""
    rows = iter(scores)

    def run(pictures):
        return np.stack([next(rows) for _ in pictures])

    return Predictor("keras model", "toy", LABELS, None, run)


def pictures(folder, count, broken=()):
    """Picture files; those whose number is in `broken` are cut off."""
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.full((4, 4, 3), number, "uint8")).save(path)
        if number in broken:
            path.write_bytes(path.read_bytes()[:30])
    return paths


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_top1_and_top5_are_counted_right(tmp_path, batch_size):
    scores = np.random.default_rng(0).random((20, 7)).astype("float32")
    labels = np.arange(20) % 7
    rank = (scores > scores[np.arange(20), labels][:, None]).sum(1)  # classes scored higher
    done = []
    result = evaluate(
        predictor_of(scores),
        zip(pictures(tmp_path, 20), labels),
        batch_size,
        progress=lambda *numbers: done.append(numbers),
    )
    assert result.top1 == pytest.approx(100 * (rank == 0).mean())
    assert result.top5 == pytest.approx(100 * (rank < 5).mean())
    assert (result.k, result.images, result.bad) == (5, 20, ())
    assert done[-1] == (20, 20)


def test_unreadable_pictures_are_skipped_and_named_up_to_a_fraction(tmp_path):
    paths = pictures(tmp_path, 10, broken=(3, 7))
    scores = np.eye(7, dtype="float32")[[0] * 8]
    result = evaluate(predictor_of(scores), [(p, 0) for p in paths], 4, max_bad_fraction=0.2)
    assert (result.top1, result.images) == (100, 8)
    assert result.bad == (paths[3], paths[7])
    with pytest.raises(ValueError, match=r"2 of 10.*0\.1.*3\.png.*7\.png"):
        evaluate(predictor_of(scores), [(p, 0) for p in paths], 10, max_bad_fraction=0.1)
    with pytest.raises(ValueError, match="None of the 1"):
        evaluate(predictor_of(scores), [(paths[3], 0)], max_bad_fraction=1)


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="0 pictures"):
        evaluate(predictor_of([]), [])


def folders(root, names):
    for name in names:
        (root / name / "deeper").mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(root / name / "deeper" / "1.JPG", "jpeg")
        (root / name / "notes.txt").write_text("no picture")
    return root


def test_folders_are_matched_by_name_whatever_the_case(tmp_path):
    found = class_folders(folders(tmp_path, ["Wild_Cat", "ant"]), ("ant", "bee", "wild cat"))
    assert [(path.parts[-3], number) for path, number in found] == [("Wild_Cat", 2), ("ant", 0)]


def test_exact_names_win_over_case(tmp_path):
    found = class_folders(folders(tmp_path, ["A", "a"]), ("a", "A"))
    assert [number for _, number in found] == [1, 0]


def test_wordnet_ids_are_known_for_imagenet_labels(tmp_path):
    labels = [label for _, label in imagenet_labels(1000)]
    found = class_folders(folders(tmp_path, ["n01440764", "n15075141"]), labels)
    assert [number for _, number in found] == [0, 999]


def test_a_name_of_two_classes_or_none_is_refused(tmp_path):
    folders(tmp_path, ["crane"])
    for labels in (("crane", "crane", "owl"), ("owl", "duck")):
        with pytest.raises(ValueError, match="crane"):
            class_folders(tmp_path, labels)


def test_no_folder_or_no_pictures(tmp_path):
    with pytest.raises(ValueError, match="no folder with pictures"):
        class_folders(tmp_path, LABELS)
    with pytest.raises(ValueError, match="nowhere"):
        class_folders(tmp_path / "nowhere", LABELS)
