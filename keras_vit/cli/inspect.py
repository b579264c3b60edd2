"""`keras-vit inspect`: what models have learned and where they look, as a page of pictures."""

import argparse
from pathlib import Path

from keras_vit.cli import source

DESCRIPTION = """\
Write a folder with a page, index.html, that shows models side by side: for every picture the best classes, the evidence
for the first of them (Grad-CAM), attention by block and attention rollout; for every model its filters, positions or
position biases, mean attention distances and effective receptive fields. What a model does not have is named there.

Files are pictures, except .keras files; all else are models: run folders and names such as SwinT, whose published
weights are fetched.
"""


def main(argv=None):
    """Write the page; 0, or an error."""
    parser = argparse.ArgumentParser(
        "keras-vit inspect", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", metavar="MODEL|IMAGE", nargs="+", help="models and picture files, in any order")
    parser.add_argument("--output", metavar="DIR", required=True, help="the page's folder; must not exist")
    parser.add_argument("--top", type=int, default=5, help="classes per picture (default: 5)")
    source.add_options(parser)
    arguments = parser.parse_args(argv)
    models, paths = _told_apart(arguments.sources)
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {arguments.top}.")

    import matplotlib  # noqa: F401 - where it is missing, that is told before anything is fetched

    from keras_vit.analysis.report import write_report
    from keras_vit.files import atomic_folder
    from keras_vit.predictor import open_predictor
    from keras_vit.preprocessing import read_image

    with atomic_folder(arguments.output) as folder:
        images = [read_image(path) for path in paths]
        predictors = [open_predictor(model, arguments.preprocessing, arguments.labels) for model in models]
        write_report(folder, _titled(predictors, models), [path.name for path in paths], images, arguments.top)
    print(f"Written to {arguments.output}; open {Path(arguments.output, 'index.html')} in a browser.")
    return 0


def _told_apart(sources):
    """What was given, as models and paths of pictures."""
    from keras_vit.evaluation.pictures import PICTURES

    models, pictures = [], []
    for given in sources:
        path = Path(given)
        file = path.is_file() and path.suffix not in (".keras", ".tflite")
        if file or path.suffix.lower() in PICTURES and not path.is_dir():
            pictures.append(path)
        else:
            models.append(given)
    if not models or not pictures:
        raise ValueError(
            "expected at least one model (a run folder, a .keras file or a model's name) and one picture file. "
            f"Received: models {models}, pictures {list(map(str, pictures))}."
        )
    return models, pictures


def _titled(predictors, sources):
    """{title: predictor}: its name, and where two have the same, what was given."""
    names = [predictor.name for predictor in predictors]
    titles = [name if names.count(name) == 1 else f"{name} ({given})" for name, given in zip(names, sources)]
    if len(set(titles)) < len(titles):
        raise ValueError(f"expected each model once. Received: {', '.join(map(str, sources))}.")
    return dict(zip(titles, predictors))
