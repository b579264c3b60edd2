"""Digits that a server is asked for, with Keras' answers; needs NumPy alone, for clients in other environments."""

import itertools
from pathlib import Path

import numpy as np

MODEL, FILE = "digits", "digits.npz"
TOLERANCE = 1e-5  # of probabilities
BATCH = 32


def write(folder, encoded, images, probabilities, labels):
    """Write what `Digits` reads: bytes of files, prepared images (N, H, W, 3), probabilities (N, K), K names."""
    content, sizes = np.frombuffer(b"".join(encoded), "uint8"), list(map(len, encoded))
    arrays = {"encoded": content, "sizes": sizes, "images": images, "probabilities": probabilities, "labels": labels}
    np.savez(Path(folder, FILE), **arrays)


class Digits:
    """What is asked, and what Keras answers."""

    def __init__(self, folder):
        stored = np.load(Path(folder, FILE))
        sizes = np.cumsum([0, *stored["sizes"]])
        content = stored["encoded"].tobytes()
        self.encoded = [content[start:end] for start, end in itertools.pairwise(sizes)]
        self.images, self.probabilities = stored["images"], stored["probabilities"]
        self.labels = stored["labels"].tolist()

    def batches(self):
        """Slices of at most BATCH images."""
        return [slice(start, start + BATCH) for start in range(0, len(self.encoded), BATCH)]

    def compare(self, ways):
        """Print a line per way to ask, {description: a function of a slice}; returns how many of them answer wrong."""
        wrong = 0
        for way, ask in ways.items():
            answers = np.concatenate([ask(some) for some in self.batches()])
            assert answers.shape == self.probabilities.shape, answers.shape
            difference = np.abs(answers - self.probabilities).max()
            wrong += not difference <= TOLERANCE
            print(f"{way}: {len(answers)} images, largest difference {difference:.1e}", flush=True)
        return wrong

    def of_classes(self, classes, scores, ids):
        """Probabilities (B, K) of classes that are listed by their scores; their names and numbers must fit."""
        answers = np.zeros((len(scores), len(self.labels)), "float32")
        names = [[text.decode() if isinstance(text, bytes) else text for text in row] for row in classes]
        assert names == [[self.labels[number] for number in row] for row in ids], names[0]
        assert (np.diff(scores) <= 0).all()
        np.put_along_axis(answers, np.asarray(ids), scores, 1)
        return answers
