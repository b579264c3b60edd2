"""A picture of the pictures on which a file and the Keras model name different classes, the clearest first."""

import numpy as np

SIDE, TEXT = 128, 46  # pixels: of a thumbnail, and of the words below it
COLUMNS, SHOWN = 6, 24
LETTERS = 20  # of a line


def worst(expected, answered):
    """(number of the picture, class by the Keras model, class by the file), where they differ: the surest first.

    Args:
        expected: `parity.Expected`.
        answered: probabilities (N, K) of a file.
    """
    ours, theirs = expected.probabilities.argmax(-1), answered.argmax(-1)
    rows = np.arange(len(ours))
    margin = expected.probabilities[rows, ours] - expected.probabilities[rows, theirs]
    differing = np.flatnonzero(ours != theirs)
    ordered = differing[np.argsort(-margin[differing], kind="stable")]
    return [(int(i), int(ours[i]), int(theirs[i])) for i in ordered]


def save(path, expected, labels, answers):
    """Write the sheet; False, and no file, if nothing differs.

    Args:
        labels: names of the classes.
        answers: {quantisation: probabilities (N, K)}.
    """
    from PIL import Image, ImageDraw, ImageFont

    found = [(name, *case) for name, answered in answers.items() for case in worst(expected, answered)[:SHOWN]]
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
        lines = (f"{name} says", _short(labels[theirs]), f"Keras: {_short(labels[ours])}")
        for line, text in enumerate(lines):
            draw.text((x, y + SIDE + 14 * line), _drawable(text), "#D55E00" if line == 1 else "#4D4D4D", font)
    sheet.save(path)
    return True


def _short(label):
    return label if len(label) <= LETTERS else f"{label[:LETTERS - 1]}…"


def _drawable(text):
    """With a ? for letters that the font of pictures lacks."""
    return "".join(letter if ord(letter) < 0x250 or letter == "…" else "?" for letter in text)
