"""How a page sees images of every kind in Chromium, beside Pillow.

python -m tests.export.web_formats CSV   (make test-web)
"""

import base64
import contextlib
import csv
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_vit.export.web import bundle
from tests.export import chromium
from tests.export.web_visitor import serving
from tests.images_of_all_kinds import images, seen_by_pillow

SEEN = ("as Pillow", "off by 1", "nearly", "differently", "refused")
NEARLY = 2  # of 255, on average
READ = """async (text) => {
    const { prepare } = await import("./prepare.js");
    const file = new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]);
    try {
        const { height, width } = await createImageBitmap(file);
        const whole = { size: [height, width], crop_pct: 1, crop_mode: "squash", interpolation: "bilinear" };
        return [height, width, ...(await prepare(file, whole))];
    } catch {
        return null;
    }
}"""


def main(output):
    """Write image,seen; print how many are seen how."""
    with tempfile.TemporaryDirectory() as folder, chromium.launch() as browser:
        shutil.copy(bundle.HERE / "www/prepare.js", folder)
        Path(folder, "index.html").write_text("<!DOCTYPE html>")
        with serving(folder) as url:
            page = browser.new_page()
            page.goto(url)
            rows = [(name, seen(page, content)) for name, content in sorted(images().items())]
        title = f"Chromium {browser.version.partition('.')[0]}"
    with open(output, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("image", title), *rows])
    print(f"{title}: {len(rows)} images: { {how: sum(found == how for _, found in rows) for how in SEEN} }")


def seen(page, content):
    """One of SEEN."""
    expected = None
    with contextlib.suppress(OSError):  # what Pillow cannot read either
        expected = seen_by_pillow(content)
    read = page.evaluate(READ, base64.b64encode(content).decode())
    if read is None:
        return "refused"
    height, width, *pixels = read
    if expected is None or expected.shape != (height, width, 3):
        return "differently"
    difference = np.abs(np.reshape(pixels, expected.shape) - expected)
    if difference.max() <= 1:
        return "off by 1" if difference.any() else "as Pillow"
    return "nearly" if difference.mean() < NEARLY else "differently"


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
