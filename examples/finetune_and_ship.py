"""From a folder of pictures to files for a server and for phones: fine-tune, export, convert, compare, look inside.

    python -m examples.finetune_and_ship --output runs/ship
    python -m examples.finetune_and_ship --output runs/ship --data-dir photos --model SwinT --weights imagenet

The folder has a folder of pictures per class; --model and --weights are any of the library's. Without a folder, one is
made from handwritten digits: a small Swin learns the digits 0 to 4 from 400 pictures, and is fine-tuned to 5 to 9 on as
many.

It prints what training prints, then a table of the Keras model, the SavedModel and the .tflite files (accuracy,
agreement, size, time for a picture), and writes below --output:

    run/         the fine-tuned model             serving/        the folder that TF Serving starts from
    edge/        .tflite files                    attention.png   where each block looks, on a held-out picture
"""

import argparse
from pathlib import Path

import numpy as np

from examples.digit_runs import QUICKSTART
from keras_vit import analysis
from keras_vit.export import bundle, compare, parity, tflite
from keras_vit.export.source import open_source
from keras_vit.files import atomic_file, atomic_folder
from keras_vit.predictor import open_predictor
from keras_vit.preprocessing import normalize
from keras_vit.runs import Run
from keras_vit.training import digits, recipe
from keras_vit.training.trainer import train

SIDE = 32  # pixels of the digits' pictures
PER_CLASS = 100


def write_digits(folder, classes, per_class=PER_CLASS):
    """Some digits as PNG files in a folder per class, as a user's pictures come."""
    if folder.exists():
        return
    part = digits.load().train
    with atomic_folder(folder) as temporary:
        for digit in classes:
            own = temporary / f"digit_{digit}"
            own.mkdir()
            for i in np.flatnonzero(part.labels == digit)[:per_class]:
                (own / Path(part.names[i]).name).write_bytes(part.encoded[i])


def finetune_digits(output, epochs):
    """The digits 0 to 4 from scratch, then 5 to 9 from those weights; the folder of the second run."""
    write_digits(output / "data" / "first", range(5))
    write_digits(output / "data" / "second", range(5, 10))
    small = QUICKSTART.replace(dataset="folder", img_size=(SIDE, SIDE), epochs=epochs)
    train(small.replace(data_dir=str(output / "data" / "first")), output / "first")
    settings = {"data_dir": str(output / "data" / "second"), "weights": str(output / "first"), "lr": 5e-4}
    train(small.replace(**settings), output / "run")
    return output / "run"


def finetune(data_dir, model, weights, output, epochs):
    """A model of the library, fine-tuned on a folder of class folders; the run's folder."""
    settings = {"data_dir": str(data_dir), "model": model, "weights": weights, "epochs": epochs}
    train(recipe.load("finetune").replace(**settings), output / "run")
    return output / "run"


def ship(run, output):
    """Export and convert the run, each checked against the Keras model; the table of all of them as text."""
    source = open_source(run)
    expected = parity.expect(source)
    if not (output / "serving").exists():
        bundle.export(source, output / "serving", expected)
    tflite.convert(source, output / "edge", ("none", "dynamic_int8"), expected)
    artifacts = compare.find_artifacts([output / "serving", output / "edge"], source.name)
    return compare.as_table(compare.compare(source, artifacts, expected))


def look_inside(run, path):
    """Draw the attention that each place of a held-out picture receives, block by block."""
    opened, predictor = Run.open(run), open_predictor(run)
    picture, _ = opened.held_out()[0]
    images = normalize(predictor.prepare(str(picture))[None], opened.spec)
    maps = analysis.attention_maps(opened.load_model(), images)
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
        look_inside(run, options.output / "attention.png")
    except ValueError as error:  # ConvNeXt has no attention
        print(f"Without attention.png. {error}")


if __name__ == "__main__":
    main()
