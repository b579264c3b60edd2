"""Edge folders of toys, and LiteRT's outputs: python -m tests.export.mediapipe_files DIR

    DIR/NAME/   what `keras-vit convert` writes, float and integer; images.npy: uint8 (N, H, W, 3);
                FILE.npy beside each FILE.tflite: its outputs (N, K); FILE.known.npy: its scores of known images (N,)
    DIR/formats/   images of every kind, and what Pillow sees in them

mediapipe_classify.py and mediapipe_formats.py run MediaPipe on them, in an environment of its own.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from keras_vit.export.edge import tflite
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.prediction.predictor import Predictor
from keras_vit.preprocessing import Spec
from keras_vit.sources.answers import Answers
from tests import images_of_all_kinds
from tests.export import toys
from tests.models.toys import TOYS

FAMILIES = ("vit", "swin", "convnext")
QUANTIZATIONS = ("none", "float16", "dynamic_int8", "int8")


def write(folder):
    """A convolutional toy with labels beyond ASCII, others with a single class and several labels, toys of families."""
    write_folder(folder, "toy", toys.toy_model(), toys.SIZE, toys.LABELS)
    write_folder(folder, "one_class", toys.toy_model(classes=1, activation="sigmoid"), toys.SIZE, ["cat"])
    unknown = {"score": "energy", "threshold": 5.0, "kept": 0.95}
    several = {"answers": Answers(True, None, unknown)}
    write_folder(folder, "several", toys.toy_model(activation="sigmoid"), toys.SIZE, toys.LABELS, **several)
    for name in FAMILIES:
        variant, shape = TOYS[name]
        model = variant(weights=None, input_shape=shape, classes=5)
        model.get_layer("head").kernel.assign(8 * model.get_layer("head").kernel)  # so that the outputs differ
        write_folder(folder, name, model, shape[:2], tuple("abcde"))


def write_folder(folder, name, model, size, labels, **more):
    source = ExportedModel(model, Spec(size, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)), labels, name, **more)
    with tempfile.TemporaryDirectory() as images:
        expected = parity.expect(source, folder=images)
        tflite.convert(source, folder / name, QUANTIZATIONS, expected, force=True)  # toys lose more than models
    np.save(folder / name / "images.npy", expected.images)
    for path in (folder / name).glob("*.tflite"):
        predictor, prepared = Predictor.open(path), expected.images.astype("float32")
        np.save(path.with_suffix(".npy"), predictor.predict_prepared(prepared))
        if predictor.unknown:
            np.save(path.with_name(f"{path.stem}.known.npy"), predictor.predict_known(prepared)[1])


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    (Path(sys.argv[1]) / "formats").mkdir()
    images_of_all_kinds.write(Path(sys.argv[1]) / "formats")
