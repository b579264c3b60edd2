"""Whether MediaPipe's ImageClassifier opens .tflite files as they are, and gives our labels and scores.

    python mediapipe_classify.py DIR   what mediapipe_files.py wrote

A second output, the score of known images, comes back as a second head with one category.

Needs mediapipe alone (`make test-mediapipe`).
"""

import sys
from pathlib import Path

import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision

TOLERANCE = 1e-5  # of scores


def main(folder):
    """Print a line per file; returns 1 if the results of one differ from LiteRT's."""
    wrong = 0
    files = sorted(Path(folder).glob("*/*.tflite"))
    for path in files:
        images, reference = np.load(path.with_name("images.npy")), np.load(path.with_suffix(".npy"))
        expected = path.with_name("labels.txt").read_text(encoding="utf-8").splitlines()
        labels, scores, known = classify(path, images)
        difference = np.abs(scores - reference).max()
        stored = path.with_name(f"{path.stem}.known.npy")
        if stored.is_file():
            difference = max(difference, np.abs(known - np.load(stored)).max() / np.abs(known).max())
        good = labels == expected and difference <= TOLERANCE
        verdict = "as LiteRT" if good else f"WRONG, labels {labels}"
        print(
            f"MediaPipe {mediapipe.__version__}: {path.name}: largest difference of scores {difference:.1e}: {verdict}"
        )
        wrong += not good
    return 1 if wrong or not files else 0


def classify(path, images):
    """Labels in the order of the outputs, scores (N, K), and those of known images (N,), empty where there are none."""
    options = vision.ImageClassifierOptions(BaseOptions(model_asset_path=str(path)))
    names, scores, known = set(), [], []
    with vision.ImageClassifier.create_from_options(options) as classifier:
        for image in images:
            result = classifier.classify(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=image))
            head, *others = result.classifications
            known.extend(other.categories[0].score for other in others)
            categories = sorted(head.categories, key=lambda category: category.index)
            names.add(tuple(category.category_name for category in categories))
            scores.append([category.score for category in categories])
    [labels] = names
    return list(labels), np.array(scores), np.array(known)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
