"""Test-time augmentation: the probabilities of several views of an image, averaged.

    hflip      the image and its mirror image, 2 views
    fivecrop   the four corners and the centre of a larger square of the image, 5 views
    tencrop    these and their mirror images, 10 views

Five crops of 224 pixels from 256, and their reflections: Krizhevsky, Sutskever, Hinton: ImageNet Classification with
Deep Convolutional Neural Networks, NeurIPS 2012, Sec. 4.1. The larger square is 8/7 of the model's image size, as
there, or what the model's `crop_pct` leaves of the resized image, where that is more. Mirror images help only where
classes have no sides: a mirrored b is a d.
"""

import dataclasses
import math

import numpy as np

from keras_vit.prediction.predictor import Predictor

VIEWS = ("hflip", "fivecrop", "tencrop")
CROP = 7 / 8  # of the larger square's side


@dataclasses.dataclass(frozen=True)
class AugmentedPredictor(Predictor):
    """A predictor whose `run` averages over views of every image.

    `spec` is that of a view, which is what the model takes; `prepare` gives what the views are cut from. It has no
    score of known images: its threshold is one of single images.
    """

    plain: Predictor | None = None  # of one view
    views: str = VIEWS[0]

    def __reduce__(self):
        return augmented, (self.plain, self.views)

    def prepare(self, image):
        """A path, or uint8 (H0, W0, 3) -> what the views are cut from, float32 (H, W, 3)."""
        spec = self.spec if self.views == "hflip" else larger(self.spec)
        return dataclasses.replace(self.plain, spec=spec).prepare(image)

    def taking(self, input_values):
        """As `Predictor.taking`, averaged over the same views."""
        return augmented(self.plain.taking(input_values), self.views)


def augmented(predictor, views):
    """A predictor that averages over views.

    Args:
        predictor: a `Predictor` that takes prepared images; not a SavedModel that takes bytes.
        views: of VIEWS.
    Raises:
        ValueError: for other views, and for a predictor that prepares images inside.
    """
    if views not in VIEWS:
        raise ValueError(f"tta must be one of {', '.join(VIEWS)}. Received: {views!r}.")
    if predictor.spec is None:
        raise ValueError(
            f"{predictor.name} prepares its images itself, and no views of them can be made. Give the run, or a "
            ".keras or .tflite file."
        )
    size = predictor.spec.size

    def run(images):
        stack = np.stack(images)
        crops = [stack] if views == "hflip" else five_crops(stack, size)
        mirrored = [] if views == "fivecrop" else [crop[:, :, ::-1] for crop in crops]
        return np.mean([predictor.run(list(view)) for view in [*crops, *mirrored]], axis=0, dtype="float32")

    fields = {field.name: getattr(predictor, field.name) for field in dataclasses.fields(Predictor) if field.init}
    fields |= {"name": f"{predictor.name}, tta {views}", "run": run, "run_known": None}
    return AugmentedPredictor(**fields, plain=predictor, views=views)


def five_crops(images, size):
    """The corners and the centre of images (B, H0, W0, C), five arrays (B, H, W, C); `size` is (H, W)."""
    (H0, W0), (H, W) = images.shape[1:3], size
    places = [(0, 0), (0, W0 - W), (H0 - H, 0), (H0 - H, W0 - W), ((H0 - H) // 2, (W0 - W) // 2)]
    return [images[:, top : top + H, left : left + W] for top, left in places]


def larger(spec):
    """The preprocessing of what five crops are cut from: the same resizing, all of the square that fits."""
    share = min(spec.crop_pct, CROP)
    size = tuple(math.floor(side / share) for side in spec.size)
    return dataclasses.replace(spec, size=size, crop_pct=1.0)
