"""A contact sheet of the images for which a file and the Keras model give different classes, the clearest first."""

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
        (number of the image, class by the Keras model, class by the file) triples.
    """
    ours, theirs = expected.probabilities.argmax(-1), probabilities.argmax(-1)
    rows = np.arange(len(ours))
    margin = expected.probabilities[rows, ours] - expected.probabilities[rows, theirs]
    differing = np.flatnonzero(ours != theirs)
    ordered = differing[np.argsort(-margin[differing], kind="stable")]
    return [(int(i), int(ours[i]), int(theirs[i])) for i in ordered]


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
        lines = (f"{name}:", _short(labels[theirs]), f"Keras: {_short(labels[ours])}")
        for line, text in enumerate(lines):
            draw.text((x, y + SIDE + 14 * line), _drawable(text), "#D55E00" if line == 1 else "#4D4D4D", font)
    sheet.save(path)
    return True


def _short(label):
    return label if len(label) <= LETTERS else f"{label[:LETTERS - 1]}…"


def _drawable(text):
    """The text with a ? for letters that Pillow's font lacks."""
    return "".join(letter if ord(letter) < 0x250 or letter == "…" else "?" for letter in text)
