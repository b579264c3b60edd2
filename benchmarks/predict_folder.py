"""`keras-vit predict` on a folder against the model alone:  python -m benchmarks.predict_folder [--images N ...]

The folder holds photographs of 500 x 375 pixels, JPEGs of quality 90: 256 different crops of scikit-learn's two
photographs, linked to under as many names as are asked for. Timed is all from the listing of the folder to the finished
.csv file, without loading and compiling the model. The bare model answers full batches of arrays in memory with
`model.predict_on_batch`, in the same process, before and after; the median over the rounds counts. Each number of
images has a process of its own; its resident memory is noted before the folder, and the peak after it. Weights are
random. The target is 90 % of the bare model's rate, and memory that does not grow with the number of images.
"""

import argparse
import json
import os
import pathlib
import statistics
import tempfile
import time

from benchmarks.memory import in_own_process, resident

MODEL, BATCH, IMAGES, AIM = "ViTS16", 32, (2000, 20000), 0.9
DIFFERENT, PIXELS = 256, (500, 375)
ROUNDS, BATCHES = 8, 3  # of the bare model, before and after; batches of a round


def write_folder(folder, number):
    """Different photographs in folder/different, and `number` links to them in folder/photos, 1,000 to a folder."""
    import numpy as np
    from PIL import Image
    from sklearn.datasets import load_sample_images

    draw, files = np.random.default_rng(0), []
    for count in range(DIFFERENT):
        image = Image.fromarray(load_sample_images().images[count % 2])
        share = draw.uniform(0.6, 1)
        left, top = (int(draw.integers(0, side - int(side * share) + 1)) for side in image.size)
        box = (left, top, left + int(image.width * share), top + int(image.height * share))
        files.append(folder / "different" / f"{count:03}.jpg")
        files[-1].parent.mkdir(exist_ok=True)
        image.resize(PIXELS, Image.Resampling.LANCZOS, box).save(files[-1], quality=90)
    for count in range(number):
        link = folder / "photos" / f"{count // 1000:03}" / f"{count:06}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(files[count % DIFFERENT], link)
    return folder / "photos"


def measure(name, number):
    """Images a second of the bare model and of the folder, and the peak of memory, in this process."""
    from keras_vit.system import startup

    startup.start_tensorflow()
    import numpy as np

    import keras_vit
    from keras_vit.images.named import named_images
    from keras_vit.prediction.predictor import Predictor
    from keras_vit.prediction.to_file import Work, write_predictions

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        photos = write_folder(folder, number)
        keras_vit.create_model(name, weights=None).save(folder / "model.keras")
        predictor = Predictor.open(folder / "model.keras", spec=name)
        batch = np.random.default_rng(0).normal(size=(BATCH, *predictor.spec.size, 3)).astype("float32")

        def bare():
            start = time.perf_counter()
            for _ in range(BATCHES):
                predictor.model.predict_on_batch(batch)
            return BATCHES * BATCH / (time.perf_counter() - start)

        predictor.model.predict_on_batch(batch)
        rates, before = [bare() for _ in range(ROUNDS)], resident("VmRSS")
        start = time.perf_counter()
        images = named_images([str(photos)]).images
        written = write_predictions(Work(images, folder / "found.csv", BATCH), predictor, 5)
        seconds = time.perf_counter() - start
        rates += [bare() for _ in range(ROUNDS)]
    if written.rows != number:
        raise RuntimeError(f"{written.rows} of {number} images were written.")
    return {
        **{"model": name, "images": number, "bare_per_s": statistics.median(rates), "folder_per_s": number / seconds},
        **{"ratio": number / seconds / statistics.median(rates), "aim": AIM},
        **{"GiB_before": before, "GiB_peak": resident("VmHWM")},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES, metavar="N", help="sizes of folders")
    parser.add_argument("--csv", help="where to write the rows as well")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        name, number = arguments.alone
        print(json.dumps(measure(name, int(number))))
        return
    from benchmarks import report

    print(report.machine())
    rows = [in_own_process("predict_folder", arguments.model, number) for number in arguments.images]
    report.show(rows)
    report.write(arguments.csv, rows)


if __name__ == "__main__":
    main()
