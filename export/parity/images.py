"""The images that artifacts are compared on: those given, else a run's test images, else seeded noise."""

from pathlib import Path

import numpy as np

from keras_vit.preprocessing import read_image as read_pixels
from keras_vit.preprocessing.resizing import resize_array
from keras_vit.sources.run_folder import require_files

NOISE = 16  # images


def images_to_compare_on(source, images, max_images, folder):
    """The images, and what they are.

    Args:
        source: an `ExportedModel`.
        images: (path, class number or None) pairs that were given; may be empty.
        max_images: of more images, this many are picked evenly.
        folder: where noise images are written; required if there are no others.

    Returns:
        ("test", "given" or "noise", list of (path, class number or None) pairs).

    Raises:
        ValueError: for lost test images, and for max_images below 1.
    """
    if max_images < 1:
        raise ValueError(f"At least one image is needed to compare on. Received: max_images={max_images}.")
    kind = "given" if images else "test"
    images = list(images or require_files(source.images, source.weights and Path(source.weights).parent))
    if not images:
        kind, images = "noise", noise_images(folder)
    if len(images) > max_images:
        images = [images[i] for i in np.linspace(0, len(images) - 1, max_images).astype(int)]
    return kind, images


def noise_images(folder, number=NOISE, seed=0):
    """Write seeded images, rough and smooth, of several sizes, as JPEG and PNG; returns (path, None) pairs."""
    from PIL import Image

    draw, images = np.random.default_rng(seed), []
    for i in range(number):
        grid = 2 ** (1 + i % 6)  # 2 to 64 cells a side
        cells = Image.fromarray(draw.integers(0, 256, (grid, grid, 3), dtype=np.uint8))
        image = cells.resize((int(draw.integers(40, 320)), int(draw.integers(40, 320))), Image.Resampling.BICUBIC)
        path = Path(folder, f"noise_{i:02}.{('png', 'jpg')[i % 2]}")
        image.save(path)
        images.append((path, None))
    return images


def read_image(name, encoded, spec):
    """An encoded image, decoded by Pillow and resized: uint8 (H, W, 3). ValueError with its name if it is none."""
    try:
        return resize_array(read_pixels(encoded), spec).astype(np.uint8)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error
