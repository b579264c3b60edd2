"""Training images per second of one core:  python -m benchmarks.input_pipeline [--rounds 5] [--csv FILE]

Decoding, random resized crop, flip, RandAugment (rand-m9-mstd0.5-inc1) and normalising to 224 x 224, as for DeiT and
Swin, by keras_vit.training and by timm's loader (PIL), of the same photographs: scikit-learn's two, as JPEG in two
sizes. Each side is a process pinned to one core; they alternate, and the medians over the rounds are compared. The time
is the processor's, so that other work on the machine has little effect. timm's loader runs in its main process, without
the copies between processes that workers add. The target is 1.5 times timm's rate. A side that is not installed is
skipped with a message. (timm 1.0.31 needs Pillow below 13 for this RandAugment.)
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks import report

SIZES = {"ImageNet": (500, 375), "camera": (2048, 1536)}  # W0, H0
COPIES = 64  # files of each photograph
BATCH, WARM_UP = 32, 10  # images; batches, more than are prefetched while the other side is measured
RANDAUGMENT = "rand-m9-mstd0.5-inc1"
NO_GPU = {"CUDA_VISIBLE_DEVICES": ""}


def write_photographs(folder, size):
    """Class folders with copies of the two photographs at this size, JPEG of quality 90."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    for number, pixels in enumerate(load_sample_images().images):
        image = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
        (folder / str(number)).mkdir(parents=True)
        for copy in range(COPIES):
            image.save(folder / str(number) / f"{copy:03d}.jpg", quality=90)


def keras_vit_batches(folder):
    """An endless iterator of batches by keras_vit.training."""
    from keras_vit.preprocessing import Spec
    from keras_vit.training.datasets import folders
    from keras_vit.training.pipeline.batches import prepare, training_batches
    from keras_vit.training.recipe import Recipe

    recipe = Recipe(model="none", epochs=10**6, scale=(0.08, 1.0), hflip=0.5, aa=RANDAUGMENT)
    train = folders.load(folder).train
    prepared = prepare(train, Spec((224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return iter(training_batches(prepared, recipe, BATCH))


def timm_batches(folder):
    """An endless iterator of batches by timm."""
    from benchmarks import peers

    peers.import_timm()
    import torch
    from timm.data import ImageDataset, create_loader

    torch.set_num_threads(1)
    loader = create_loader(
        ImageDataset(str(folder)),
        input_size=(3, 224, 224),
        batch_size=BATCH,
        is_training=True,
        auto_augment=RANDAUGMENT,
        interpolation="random",
        num_workers=0,
        device=torch.device("cpu"),
    )
    return itertools.chain.from_iterable(itertools.repeat(loader))


SIDES = {"keras_vit": keras_vit_batches, "timm": timm_batches}


def serve(side, folder, batches):
    """A side's process: for every line on standard input, measure once and write images per second."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    try:
        stream = SIDES[side](folder)
    except ImportError as error:
        print(json.dumps(f"{error.name} is not installed"), flush=True)
        return
    print(json.dumps(None), flush=True)
    for _ in sys.stdin:
        for _ in range(WARM_UP):
            next(stream)
        start = time.process_time()
        for _ in range(batches):
            next(stream)
        print(json.dumps(BATCH * batches / (time.process_time() - start)), flush=True)


class Side:
    """The process of a side, from outside."""

    def __init__(self, name, folder, batches):
        command = [sys.executable, "-m", "benchmarks.input_pipeline", "--serve", name, "--folder", str(folder)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([*command, "--batches", str(batches)], env=os.environ | NO_GPU, **pipes)
        self.missing = self.read()

    def read(self):
        """The next answer of the process."""
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process {self.process.args} ended with status {self.process.wait()}.")
        return json.loads(line)

    def measure(self):
        """Images per second of a round."""
        print("go", file=self.process.stdin, flush=True)
        return self.read()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(size, arguments):
    """{side: images per second of a core, median over the rounds} for photographs of a size."""
    with tempfile.TemporaryDirectory() as folder:
        write_photographs(pathlib.Path(folder), size)
        sides = {name: Side(name, folder, arguments.batches) for name in SIDES}
        for name, side in sides.items():
            if side.missing:
                print(f"left out: {name} ({side.missing})")
        present = {name: side for name, side in sides.items() if not side.missing}
        rounds = [{name: side.measure() for name, side in present.items()} for _ in range(arguments.rounds)]
        for side in sides.values():
            side.close()
    return {name: statistics.median(r[name] for r in rounds) for name in present}


def rows(arguments):
    """The table: one row per size of photograph."""
    for name, size in SIZES.items():
        rates = measure(size, arguments)
        entries = {f"{side}_per_s": rates.get(side, report.NOT_MEASURED) for side in SIDES}
        ratio = rates["keras_vit"] / rates["timm"] if len(rates) == len(SIDES) else report.NOT_MEASURED
        yield {"photographs": f"{name}, {size[0]} x {size[1]}", **entries, "ratio": ratio, "aim": 1.5}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=20, help=f"of {BATCH} images, per round")
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.folder, arguments.batches)
        return
    print(report.machine())
    table = list(rows(arguments))
    report.show(table)
    report.write(arguments.csv, table)


if __name__ == "__main__":
    main()
