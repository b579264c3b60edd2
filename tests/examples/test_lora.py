import gzip
import struct

import numpy as np

from examples import fashion_mnist, lora
from keras_vit.training.recipe import Recipe


def test_the_arms_differ_in_what_they_train_alone():
    recipes = {arm: Recipe(**lora.SHARED | changes, weights="w") for arm, changes in lora.ARMS.items()}
    assert [arm for arm, recipe in recipes.items() if recipe.lora_rank] == ["lora"]
    assert [arm for arm, recipe in recipes.items() if recipe.linear_probe] == ["linear probe"]
    assert {(r.epochs, r.batch_size, r.scale, r.hflip) for r in recipes.values()} == {(10, 40, (0.6, 1.0), 0.5)}


def test_training_and_validation_images_are_the_first_of_every_class_and_differ(tmp_path, monkeypatch):
    monkeypatch.setattr(lora, "COUNTS", {"train": 2, "val": 1, "test": 3})
    for prefix, count in (("train", 40), ("t10k", 30)):
        images = np.broadcast_to(np.arange(count, dtype="uint8")[:, None, None], (count, 28, 28))
        for kind, axes, values in (
            ("images-idx3", 3, images),
            ("labels-idx1", 1, np.arange(count, dtype="uint8") % 10),
        ):
            header = struct.pack(f">4B{axes}I", 0, 0, 8, axes, *values.shape)
            (tmp_path / f"{prefix}-{kind}-ubyte.gz").write_bytes(gzip.compress(header + values.tobytes()))
    lora.write_images(tmp_path, tmp_path / "data")
    of_class = {
        split: sorted(p.name for p in (tmp_path / "data" / split / fashion_mnist.CLASSES[4]).iterdir())
        for split in lora.COUNTS
    }
    assert of_class == {
        "train": ["00004.png", "00014.png"],
        "val": ["00024.png"],
        "test": ["00004.png", "00014.png", "00024.png"],
    }
