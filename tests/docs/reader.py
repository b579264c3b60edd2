"""What a reader of the pages has: images in class folders, a trained run, and published weights in the cache.

The images are cut from scikit-learn's two photographs. The weights are synthetic, with the names and shapes of the
published files, in the folders where huggingface_hub keeps its downloads.
"""

import hashlib
import json
import shutil
import zipfile

import numpy as np
from PIL import Image

from keras_vit.models import vit
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec
from keras_vit.sources.run_folder import Run
from keras_vit.weights import catalogue
from tests.golden.compare import RECORDS, write_weights
from tests.libraries.golden import GOLDEN

TOY = Variant("ToyViT", vit.VIT, vit.Config(24, 2, 3, 8))
SIZE = (32, 32)
CLASSES = {"building": "china.jpg", "flower": "flower.jpg"}
COMMIT = "c" * 40


def write_images(folder, count=12, side=160):
    """photos/building and photos/flower with `count` images each, and single ones beside."""
    from sklearn.datasets import load_sample_image

    draw = np.random.default_rng(0)
    for label, name in CLASSES.items():
        photograph = load_sample_image(name)
        (folder / "photos" / label).mkdir(parents=True)
        for i in range(count):
            top, left = (draw.integers(0, length - side) for length in photograph.shape[:2])
            cut = photograph[top : top + side, left : left + side]
            Image.fromarray(cut).save(folder / "photos" / label / f"{i:04d}.jpg")
    for name in ("flower.jpg", "cat.jpg", "image.jpg"):
        Image.fromarray(load_sample_image("flower.jpg")).save(folder / name)


def write_run(folder, epochs):
    """runs/photos: a small ViT, trained on the images; with 0 epochs untrained, without a run's other files."""
    run = folder / "runs" / "photos"
    if epochs:
        from keras_vit.training import recipe, trainer

        settings = {"dataset": "folder", "data_dir": str(folder / "photos"), "epochs": epochs, "img_size": SIZE}
        trainer.train(recipe.load("quickstart").replace(model=TOY.name, variant=TOY, batch_size=8, **settings), run)
        return
    model = TOY(weights=None, input_shape=(*SIZE, 3), classes=len(CLASSES))
    spec = Spec(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    Run.write_description(run, name="photos", model_name=TOY.name, labels=CLASSES, spec=spec)
    model.save(run / "model.keras")


def write_folder(folder, name=None, case=None):
    """A folder as another library saves it: a case of tests/golden/libraries.zip."""
    if name is None:
        return
    with zipfile.ZipFile(GOLDEN) as archive:
        for member in archive.namelist():
            if member.startswith(f"{case}/model/"):
                (folder / name).mkdir(exist_ok=True)
                (folder / name / member.rpartition("/")[2]).write_bytes(archive.read(member))


def write_cache(folder, names):
    """The default weights of each name, as huggingface_hub keeps them below the folder."""
    for name in names:
        row = catalogue.default(name)
        meta = json.loads(str(np.load(RECORDS / f"{row.timm_name.partition('.')[0]}.npz")["meta"]))
        repository = _cached(folder, row.hub_id)
        written = repository / "blobs" / "written"
        write_weights(meta, written)
        blob = written.rename(written.with_name(hashlib.sha256(written.read_bytes()).hexdigest()))
        (repository / "snapshots" / COMMIT / row.hub_file).symlink_to(blob)


def write_repository(folder, name, run):
    """A run as a repository of the hub, likewise."""
    snapshot = _cached(folder, name) / "snapshots" / COMMIT
    for file in ("model.keras", "run.json", "preprocessing.json", "labels.txt"):
        shutil.copy(run / file, snapshot / file)


def _cached(folder, name):
    """The folder of a repository in huggingface_hub's cache, with the folders in it."""
    repository = folder / f"models--{name.replace('/', '--')}"
    for part in ("blobs", "refs", f"snapshots/{COMMIT}"):
        (repository / part).mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    return repository
