"""A toy of every family as ONNX and OpenVINO files, checked: python -m tests.export.exchange_families [FORMAT ...]

Needs keras-vit-models[onnx,openvino] (`make test-exchange`).
"""

import sys
import tempfile

from keras_vit.export.interchange import onnx_openvino
from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.preprocessing import Spec
from tests.models.toys import TOYS

FAILS = {("openvino", "swin")}  # see export/interchange/onnx_openvino.py


def main(formats):
    """Print a line per family and format; 1 if one of them fails, or one of FAILS does not."""
    surprises = 0
    for name, (variant, shape) in TOYS.items():
        model = variant(weights=None, input_shape=shape, classes=5)
        for weight in model.weights:  # so that the outputs differ
            weight.assign(8 * weight if weight.path.endswith("head/kernel") else weight)
        source = ExportedModel(model, Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3)), tuple("abcde"), name)
        with tempfile.TemporaryDirectory() as folder:
            expected = parity.expect(source, folder=folder)
            for format in formats:
                try:
                    line, fails = parity.describe(onnx_openvino.convert(source, folder, format, expected)), False
                except ValueError as error:
                    line, fails = f"FAILED: {error}", True
                surprises += fails != ((format, name) in FAILS)
                print(f"{format:8}  {name:18}  {line}", flush=True)
    return 1 if surprises else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(onnx_openvino.PACKAGES)))
