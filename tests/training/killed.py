"""A run that is never stopped and one that is killed repeatedly, for test_resume:

    python -m tests.training.killed FOLDER REPLICAS KILLS ['{"multi_scale": "4,8"}']
    python -m tests.training.killed FOLDER REPLICAS KILLS ['{"toy_of": "vit", "lora_rank": 2}']

leaves FOLDER/whole and FOLDER/killed. Each attempt is a process of its own, forked before TensorFlow has started, so
that TensorFlow is imported once only.
"""

import json
import os
import pathlib
import random
import signal
import sys
import time
import traceback

import keras

from keras_vit.preprocessing import Spec
from keras_vit.training import trainer
from tests.training import toy

EPOCHS, STEPS = 6, 3
SETTINGS = {  # with everything that a checkpoint must contain
    **{"grad_accum_steps": 2, "model_ema_decay": 0.9, "precision": "float16", "clip_grad": 0.5},
    **{"mixup": 0.8, "cutmix": 1.0, "drop": 0.3, "deterministic": True, "recovery_interval": 1},
}


def start(data, folder, replicas, **settings):
    """The id of a process that trains into `folder`."""
    process = os.fork()
    if process:
        return process
    try:
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
        settings = {"data_dir": str(data)} | SETTINGS | of_family(folder.parent, **settings)
        trainer.train(toy.recipe(**settings), folder)
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def of_family(folder, toy_of=None, **settings):
    """The settings for the toy model of a family, from weights that are drawn once, in place of the usual toy."""
    if toy_of is None:
        return settings
    from tests.models.toys import TOYS

    (variant, shape), base = TOYS[toy_of], folder / "base.keras"
    if not base.exists():
        keras.utils.set_random_seed(0)
        variant(weights=None, input_shape=shape, classes=5).save(base)
        Spec(shape[:2], mean=(0.5,) * 3, std=(0.5,) * 3).save(folder / "preprocessing.json")
    return settings | {"model": variant.name, "variant": variant, "img_size": shape[:2], "weights": str(base)}


def steps_done(folder):
    """The step of the newest checkpoint."""
    return max((int(path.stem.split("-")[1]) for path in folder.glob("checkpoints/step-*.npz")), default=0)


def ended(process):
    """Whether the process has ended; RuntimeError unless its status is 0."""
    found, status = os.waitpid(process, os.WNOHANG)
    if found and status:
        raise RuntimeError(f"Training ended with the status {status}.")
    return bool(found)


def main(folder, replicas, kills, **settings):
    dice = random.Random(f"{replicas} {kills}")
    write = toy.write_manifest if settings.get("dataset") == "csv" else toy.write_folder
    data, settings = write(folder / "data"), settings | {"epochs": EPOCHS + kills}
    process = start(data, folder / "whole", replicas, **settings)
    while not ended(process):
        time.sleep(0.05)
    part = settings["epochs"] * STEPS / kills  # one kill in each, so that no phase of the run is without
    targets = [int((i + dice.random()) * part) for i in range(kills)]
    for target in [*targets, None]:
        process = start(data, folder / "killed", replicas, **settings)
        while not ended(process):
            if target is not None and steps_done(folder / "killed") >= target:
                time.sleep(dice.uniform(0, 0.03))  # about as long as a step and its checkpoint take
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                print(f"killed after step {steps_done(folder / 'killed')}")
                break
            time.sleep(0.001)


if __name__ == "__main__":
    folder, replicas, kills, *settings = sys.argv[1:]
    main(pathlib.Path(folder), int(replicas), int(kills), **json.loads(settings[0] if settings else "{}"))
