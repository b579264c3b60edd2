"""How MediaPipe's own decoder sees images of every kind, beside Pillow.

    python mediapipe_formats.py DIR CSV   what mediapipe_files.py wrote into DIR/formats

Needs mediapipe alone (`make test-mediapipe`). Each image is read in a process of its own: some end it.
"""

import csv
import os
import sys
from pathlib import Path

import mediapipe
import numpy as np

SEEN = ("as Pillow", "nearly", "differently", "refused", "ends the process")
NEARLY = 2  # of 255, on average: another transform of JPEG, another rounding


def main(folder, output):
    """Write image,seen; print how many are seen how."""
    files = sorted(Path(folder, "formats").glob("*.bytes"))
    rows = [(path.stem, seen(path)) for path in files]
    with open(output, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", f"MediaPipe {mediapipe.__version__}"))
        writer.writerows(rows)
    counts = {how: sum(found == how for _, found in rows) for how in SEEN}
    print(f"MediaPipe {mediapipe.__version__}: {len(rows)} images: {counts}")
    return 0 if rows else 1


def seen(path):
    """One of SEEN."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os._exit(SEEN.index(_seen_here(path)))
    _, status = os.waitpid(child, 0)
    return SEEN[os.WEXITSTATUS(status)] if os.WIFEXITED(status) else "ends the process"


def _seen_here(path):
    try:
        owner = mediapipe.Image.create_from_file(str(path))  # of the memory that the view shows
        image = owner.numpy_view().copy()
    except (RuntimeError, ValueError):
        return "refused"
    expected = path.with_suffix(".npy")
    if not expected.exists():  # Pillow refuses it
        return "differently"
    grey = image.ndim == 2 or image.shape[-1] < 3
    image = np.repeat(image.reshape(*image.shape[:2], -1)[..., :1], 3, -1) if grey else image[..., :3]
    expected = np.load(expected)
    if image.shape != expected.shape:
        return "differently"
    difference = np.abs(image.astype(float) - expected)
    return "as Pillow" if not difference.any() else "nearly" if difference.mean() < NEARLY else "differently"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
