"""A serving bundle with a toy of every family, or of some: python -m tests.export.family_bundle DIR [NAME ...]"""

import sys
import tempfile
from pathlib import Path

from keras_vit.export.model.source import ExportedModel
from keras_vit.export.parity import parity
from keras_vit.export.serving import bundle
from keras_vit.preprocessing import Spec
from tests.models.toys import TOYS


def write(folder, names=tuple(TOYS)):
    """Export the toys of these names into one bundle; {name: report}."""
    reports = {}
    for name in names:
        variant, shape = TOYS[name]
        model = variant(weights=None, input_shape=shape, classes=5)
        for weight in model.weights:  # so that the outputs differ
            weight.assign(8 * weight if weight.path.endswith("head/kernel") else weight)
        spec = Spec(shape[:2], (0.5, 0.4, 0.3), (0.25, 0.2, 0.3), crop_pct=0.9)
        source = ExportedModel(model, spec, tuple("abcde"), name)
        with tempfile.TemporaryDirectory() as images:
            expected = parity.expect(source, folder=images)
            reports[name] = bundle.export(source, folder, expected, top_k=3)[1]
        print(f"{name}: {parity.describe(reports[name])}", flush=True)
    return reports


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:] or tuple(TOYS))
