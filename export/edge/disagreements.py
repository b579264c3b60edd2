"""A contact sheet of the images for which a file and the Keras model give different classes, the clearest first.

Of several labels per image, those that only one of both gives are shown.
"""

import numpy as np

SIDE, TEXT = 128, 46  # pixels: of a thumbnail, and of the text below it
COLUMNS, SHOWN = 6, 24
LETTERS = 20  # per line


def worst(expected, probabilities):
    """The images for which the best classes differ, by falling margin of the Keras model.

    Args:
        expected: `parity.Expected`.
        probabilities: (N, K), of a file.

    Returns:
        (number of the image, class by the Keras model, class by the file) triples; of several labels tuples of classes.
    """
    if expected.thresholds is not None:
        return _worst_of_several(expected, probabilities)
    ours, theirs = expected.probabilities.argmax(-1), probabilities.argmax(-1)
    rows = np.arange(len(ours))
    margin = expected.probabilities[rows, ours] - expected.probabilities[rows, theirs]
    differing = np.flatnonzero(ours != theirs)
    ordered = differing[np.argsort(-margin[differing], kind="stable")]
    return [(int(i), int(ours[i]), int(theirs[i])) for i in ordered]


def _worst_of_several(expected, probabilities):
    """The same: the margin is that of the class whose probability is farthest from its threshold."""
    ours, theirs = expected.probabilities >= expected.thresholds, probabilities >= expected.thresholds
    differing = ours != theirs
    margin = np.where(differing, np.abs(expected.probabilities - expected.thresholds), -1).max(-1)
    ordered = [i for i in np.argsort(-margin, kind="stable") if margin[i] >= 0]
    only = [[tuple(np.flatnonzero(one[i] & differing[i]).tolist()) for one in (ours, theirs)] for i in ordered]
    return [(int(i), *pair) for i, pair in zip(ordered, only)]


def save(path, expected, labels, outputs):
    """Write the sheet.

    Args:
        path: of the PNG file.
        expected: `parity.Expected`.
        labels: names of the classes.
        outputs: {quantization: probabilities (N, K)}.

    Returns:
        Whether there was a difference; without one no file is written.
    """
    from PIL import Image, ImageDraw, ImageFont

    found = [(name, *case) for name, given in outputs.items() for case in worst(expected, given)[:SHOWN]]
    if not found:
        return False
    found, columns = found[: 2 * SHOWN], min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    sheet = Image.new("RGB", (columns * (SIDE + 8), rows * (SIDE + TEXT)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for place, (name, number, ours, theirs) in enumerate(found):
        x, y = place % columns * (SIDE + 8) + 4, place // columns * (SIDE + TEXT)
        image = Image.fromarray(expected.images[number])
        smooth = max(image.size) >= SIDE // 2
        image.thumbnail((SIDE, SIDE))
        scale = SIDE // max(image.size)
        if not smooth:  # scans of a few pixels are shown as they are
            image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        sheet.paste(image, (x, y))
        lines = (f"{name}:", _short(_named(theirs, labels)), f"Keras: {_short(_named(ours, labels))}")
        for line, text in enumerate(lines):
            draw.text((x, y + SIDE + 14 * line), _drawable(text), "#D55E00" if line == 1 else "#4D4D4D", font)
    sheet.save(path)
    return True


def _named(classes, labels):
    """The name of a class; the names of several, or that there is none."""
    return (", ".join(labels[k] for k in classes) or "none") if isinstance(classes, tuple) else labels[classes]


def _short(label):
    return label if len(label) <= LETTERS else f"{label[:LETTERS - 1]}…"


def _drawable(text):
    """The text with a ? for letters that Pillow's font lacks."""
    return "".join(letter if ord(letter) < 0x250 or letter == "…" else "?" for letter in text)
