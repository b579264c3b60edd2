"""What the page shows of a model that gives features: their shapes, and the nearest of the vectors stored beside it.

The vectors are those of `keras-vit export --index`, in the version's folder. With a folder of images, the stored images
that lie in it are shown too, small; no other file is opened.
"""

import io
from pathlib import Path

import numpy as np

from keras_vit.export.devserver.rest import RestError

FIRST = 5  # numbers of an output that are shown
TOP = 5  # nearest vectors
SIDE = 160  # pixels of a small image, at most


class StoredVectors:
    """The names and vectors of an index.

    Args:
        path: of the file.
        images: folder of the images that may be shown, or None.
    """

    def __init__(self, path, images=None):
        from keras_vit.prediction.embeddings_file import load_embeddings  # of bundles with an index only

        stored = load_embeddings(path)
        self.names, self._vectors = stored.names, stored.vectors
        self._images = None if images is None else Path(images).resolve()

    def nearest(self, vector, top=TOP):
        """(number, cosine) of the nearest vectors to one (D,), the nearest first."""
        from keras_vit.prediction.neighbours import nearest

        [(numbers, cosines)] = nearest(self._vectors, vector[np.newaxis], top)
        return list(zip(numbers.tolist(), cosines.tolist()))

    def cosines(self, vectors, numbers):
        """The cosines of vectors (B, D) with those of some numbers (m,): (B, m)."""
        from keras_vit.prediction.neighbours import unit

        return unit(np.asarray(vectors)) @ unit(np.asarray(self._vectors[list(numbers)], "float32")).T

    def file(self, number):
        """The file of an image that may be shown, or None."""
        if self._images is None:
            return None
        path = Path(self.names[number]).resolve()
        return path if path.is_relative_to(self._images) and path.is_file() else None


def described(servable, encoded):
    """What the page shows for an image.

    Args:
        servable: a `servables.Servable` that gives features.
        encoded: the image's bytes.

    Returns:
        {"version", "features": [{"name", "shape", "first"}], "stored": how many vectors are, or None, "neighbours":
        [{"id", "name", "score", "image": whether it can be shown}]}.

    Raises:
        RestError: for an image that cannot be decoded, and a model that gives classes.
    """
    if not servable.features:
        raise RestError(400, f"Version {servable.number} gives classes, not features.")
    image = servable.decode(encoded)
    outputs = servable.submit("predict_images", {"images": image[np.newaxis]}).result()
    values = {name: outputs[name][0] for name in servable.features}
    for name, array in values.items():
        if not np.isfinite(array).all():
            raise RestError(500, f"The model's {name} of this image is not finite.")
    stored = servable.stored
    near = stored.nearest(*values.values()) if stored else []
    return {
        "version": servable.number,
        "features": [
            {"name": name, "shape": array.shape, "first": [round(x, 4) for x in array.ravel()[:FIRST].tolist()]}
            for name, array in values.items()
        ],
        "stored": len(stored.names) if stored else None,
        "neighbours": [
            {"id": number, "name": stored.names[number], "score": round(cosine, 4), "image": bool(stored.file(number))}
            for number, cosine in near
        ],
    }


def small_image(servable, number):
    """A stored image as a small JPEG.

    Raises:
        RestError: if there is none that may be shown.
    """
    from PIL import Image

    from keras_vit.preprocessing.reading import read_image

    stored = servable.stored
    path = stored.file(number) if stored and 0 <= number < len(stored.names) else None
    if path is None:
        raise RestError(404, f"No image of number {number} is shown.")
    try:
        image = Image.fromarray(read_image(path))
    except (OSError, ValueError) as error:
        raise RestError(404, f"The image of number {number} cannot be read.") from error
    image.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    image.save(content, "jpeg", quality=85)
    return content.getvalue()
