"""A run folder as training leaves it, of the colours of tests.toy_artifacts, with what must not go up."""

import json

import numpy as np
from PIL import Image

from keras_vit.evaluation import results
from keras_vit.sources.run_folder import Run
from keras_vit.weights.download import sha256
from tests import toy_artifacts as toy

SECRET = "/home/anna/secret place"
SETTINGS = {
    "model": "Toy",
    "dataset": "folder",
    "data_dir": f"{SECRET}/colours",
    "weights": f"{SECRET}/start.npz",
    "teacher": f"{SECRET}/teacher",
    "epochs": 3,
    "aa": "rand-m9-mstd0.5",
    "img_size": [6, 8],
    "architecture": "Config(depth=1)",
    "classes": list(toy.LABELS),
    "pictures": {"train": 1200, "val": 30, "held_out": 4},
}
DETAILS = {
    "data": "colours of mine",
    "weights": f"{SECRET}/start.npz",
    "finished": True,
    "held_out": {"top1": 75.0, "top5": 100.0, "correct": 3, "n_images": 4, "chosen_on_same_pictures": False},
    "best_epoch": 2,
    "train_seconds": 12.5,
    "path": SECRET,
}


def write_run(folder, images=True, details=DETAILS):
    """The run; its four test images are three of one colour each, rightly labelled, and one that is not."""
    run = folder / "colours"
    toy.write_run(run)
    Run.write_description(run, name="colours", model_name="Toy", labels=toy.LABELS, spec=toy.SPEC, details=details)
    lines = "".join(f"{name}: {json.dumps(value)}\n" for name, value in SETTINGS.items())
    (run / "args.yaml").write_text(lines, encoding="utf-8")
    for name in ("checkpoints/epoch1.npz", "tensorboard/events", "curves.png", ".lock", "summary.csv"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text(SECRET)
    row = {column: "" for column in results.HEADER} | {"model": "colours", "top1": "75.000", "n_images": "4"}
    results.write_result(run / "results.csv", row | {"weights_sha256": sha256(run / "model.keras")})
    listed = []
    for number, (pixels, label) in enumerate(zip(toy.random_images(), (0, 1, 2, 0))):
        pixels[..., 2 if number == 3 else number] |= np.uint8(128)
        path = run / "held_out" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        if images:
            Image.fromarray(pixels).save(path)
        listed.append((path, label))
    Run.write_test_images(run, listed)
    return run
