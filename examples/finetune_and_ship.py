"""From a folder of images to files for a server and for phones: fine-tune, export, convert, compare, plot attention.

    python -m examples.finetune_and_ship --output runs/ship
    python -m examples.finetune_and_ship --output runs/ship --data-dir photos --model SwinT --weights imagenet

The folder has a folder of images per class; --model and --weights are any of the library's. Without --data-dir it uses
handwritten digits: a small Swin is trained on the digits 0 to 4, with 400 images, and fine-tuned on 5 to 9, with as
many.

It prints what training prints, then a table of the Keras model, the SavedModel and the .tflite files (accuracy,
agreement, size, time for an image), and writes below --output:

    run/         the fine-tuned model             serving/        the model repository for TF Serving
    edge/        .tflite files                    attention.png   the attention of each block for a test image
"""

import argparse
from pathlib import Path

import numpy as np

import keras_vit
from examples.small_runs import QUICKSTART
from keras_vit import analysis
from keras_vit.export.edge import tflite
from keras_vit.export.model.source import open_source
from keras_vit.export.parity import compare, parity
from keras_vit.export.serving import bundle
from keras_vit.system.files import atomic_file, atomic_folder
from keras_vit.training import recipe
from keras_vit.training.datasets import digits
from keras_vit.training.trainer import train

SIDE = 32  # pixels of the digits' images
PER_CLASS = 100


def write_digits(folder, classes, per_class=PER_CLASS):
    """Write some digits as PNG files in a folder per class."""
    if folder.exists():
        return
    split = digits.load().train
    with atomic_folder(folder) as temporary:
        for digit in classes:
            own = temporary / f"digit_{digit}"
            own.mkdir()
            for i in np.flatnonzero(split.labels == digit)[:per_class]:
                (own / Path(split.names[i]).name).write_bytes(split.encoded[i])


def finetune_digits(output, epochs):
    """Train on the digits 0 to 4, then fine-tune on 5 to 9; the folder of the second run."""
    write_digits(output / "data" / "first", range(5))
    write_digits(output / "data" / "second", range(5, 10))
    small = QUICKSTART.replace(dataset="folder", img_size=(SIDE, SIDE), epochs=epochs)
    train(small.replace(data_dir=str(output / "data" / "first")), output / "first")
    settings = {"data_dir": str(output / "data" / "second"), "weights": str(output / "first"), "lr": 5e-4}
    train(small.replace(**settings), output / "run")
    return output / "run"


def finetune(data_dir, model, weights, output, epochs):
    """Fine-tune a model of the library on a folder of class folders; the run's folder."""
    settings = {"data_dir": str(data_dir), "model": model, "weights": weights, "epochs": epochs}
    train(recipe.load("finetune").replace(**settings), output / "run")
    return output / "run"


def ship(run, output):
    """Export and convert the run, each compared with the Keras model; a table of all of them as text."""
    source = open_source(run)
    expected = parity.expect(source)
    if not (output / "serving").exists():
        bundle.export(source, output / "serving", expected)
    tflite.convert(source, output / "edge", ("none", "dynamic_int8"), expected)
    artifacts = compare.find_artifacts([output / "serving", output / "edge"], source.name)
    return compare.as_table(compare.compare(source, artifacts, expected))


def plot_attention(run, path):
    """Plot the attention that each patch of a test image receives, block by block."""
    predictor = keras_vit.Predictor.open(run)
    image, _ = keras_vit.load_run(run).test_images()[0]
    images = keras_vit.preprocess_input(predictor.prepare(image)[None], predictor.spec)
    maps = analysis.attention_maps(predictor.model, images)
    with atomic_file(path) as temporary:
        analysis.plot_attention_maps(maps, images).savefig(temporary, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, help="folder of class folders; digits are taken without it")
    parser.add_argument("--model", default="SwinT")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    if options.data_dir:
        run = finetune(options.data_dir, options.model, options.weights, options.output, options.epochs)
    else:
        run = finetune_digits(options.output, options.epochs)
    print(ship(run, options.output))
    try:
        plot_attention(run, options.output / "attention.png")
    except ValueError as error:  # ConvNeXt has no attention
        print(f"No attention.png: {error}")


if __name__ == "__main__":
    main()
