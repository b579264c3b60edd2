"""The code of a model card, run by the libraries that it is for, from a hub in this process:

    python -m tests.libraries.hub .venv-libraries/bin/python

Small models are pushed by `keras_vit.export.hub.push`; the blocks of their cards are run as they are, in the
environment of timm and transformers, and the probabilities are compared. The image has the model's size, so that no
resizing takes part. Exit status 1 if a case falls short.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
import pytest
from PIL import Image

import keras_vit
from keras_vit.export.hub.push import push
from keras_vit.models import swin, vit
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from tests import hub_server

TOLERANCE = 1e-5  # of probabilities
SIZE = (64, 64)
LABELS = ("cat", "a dog", "Ä bird")
MODELS = {
    "vit": Variant("Tiny", vit.VIT, vit.Config(24, 2, 3, 16)),
    "swin": Variant("Tiny", swin.SWIN, swin.Config(24, (1, 2), (2, 4), window_size=8)),
}
# torchvision of another build registers what a CPU's torch does not have
BEFORE = (
    "import torch\nif not torch.cuda.is_available():\n    torch.library.register_fake = lambda *a, **o: lambda f: f\n"
)
AFTER = "\nimport json\nprint('SCORES', json.dumps(scores.tolist()))\n"


def write_run(folder, variant):
    """A run of a model with random weights."""
    model, draw = variant(weights=None, input_shape=(*SIZE, 3), classes=len(LABELS)), np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(variable + draw.normal(0, 0.2, variable.shape))
    model.save(folder / "model.keras")
    spec = Spec(SIZE, (0.5, 0.4, 0.3), (0.25, 0.2, 0.3))
    Run.write_description(folder, name=folder.name, model_name=variant.name, labels=LABELS, spec=spec)


def scores_of(block, python, folder, environment):
    """The probabilities that a block of a card computes."""
    command = [python, "-c", BEFORE + block + AFTER]
    done = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    found = re.search("^SCORES (.*)$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        raise RuntimeError(done.stderr[-3000:])
    return np.array(json.loads(found[1]))


def compare(name, variant, python, server, folder):
    """Push a model and run the code of its card; yields (library, largest difference)."""
    run = folder / name
    run.mkdir()
    write_run(run, variant)
    pushed = push(run, f"someone/{name}", measure=False)
    if pushed.without:
        raise RuntimeError(f"{name}: {pushed.without}")
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "image.jpg", format="PNG")
    expected = keras_vit.Predictor.open(run).predict([pixels])[0]
    if expected.max() < 1.1 / len(LABELS):
        raise RuntimeError(f"{name}: {expected} says nothing")
    environment = {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(folder / "home")}
    for block in re.findall(r"```python\n(.*?)```", pushed.card, re.DOTALL):
        library = re.search("keras_vit|transformers|timm", block)[0]
        if library != "keras_vit":
            yield library, np.abs(scores_of(block, python, folder, environment) - expected).max()


def main(python):
    """Compare all models; returns the exit status."""
    bad = 0
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        folder = pathlib.Path(folder)
        with hub_server.serving(monkeypatch, folder / "cache", hub_server.TOKEN) as server:
            for name, variant in MODELS.items():
                for library, difference in compare(name, variant, python, server, folder):
                    bad += difference > TOLERANCE
                    print(f"{name} from the hub by {library}: {difference:.1e}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(os.path.abspath(sys.argv[1])))
