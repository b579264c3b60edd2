"""`keras-vit inspect`: what models have learned and where they look, as a page of images."""

from pathlib import Path

from keras_vit.cli.arguments import add_model_options, add_sizes, complete_model, verb_parser
from keras_vit.system import startup

DESCRIPTION = """\
Write a folder with a page, index.html, that shows models side by side: for every image the best classes, the evidence
for the first of them (Grad-CAM), attention by block and attention rollout; for every model its filters, positions or
position biases, mean attention distances and effective receptive fields. What a model does not have is named there.

Files are images, except .keras files, and so are those in folders of images, with all below them; all else are models:
run folders and names such as SwinT, whose published weights are fetched.
"""


def parser():
    """The options of `keras-vit inspect`."""
    parser = verb_parser("inspect", DESCRIPTION)
    sources = parser.add_argument(
        "sources", metavar="MODEL|IMAGE", nargs="+", help="models, image files and folders of images, in any order"
    )
    sources.completer = complete_model
    parser.add_argument("--output", metavar="DIR", required=True, help="the page's folder; must not exist")
    parser.add_argument("--top", type=int, default=5, help="classes per image (default: 5)")
    add_model_options(parser)
    add_sizes(parser)
    return parser


def main(argv=None):
    """Write the page; 0, or an error."""
    arguments = parser().parse_args(argv)
    models, paths = _told_apart(arguments.sources)
    if arguments.top < 1:
        raise ValueError(f"--top must be at least 1. Received: {arguments.top}.")

    import matplotlib  # noqa: F401 - where it is missing, that is said before anything is fetched

    startup.start_tensorflow()
    from keras_vit.analysis.report import write_report
    from keras_vit.prediction.predictor import Predictor
    from keras_vit.preprocessing import read_image
    from keras_vit.system.files import atomic_folder

    with atomic_folder(arguments.output) as folder:
        images = [read_image(path) for path in paths]
        options = arguments.preprocessing, arguments.labels, arguments.input_values
        sizes = arguments.img_size, arguments.crop_pct
        predictors = [Predictor.open(model, *options, *sizes) for model in models]
        write_report(folder, _titled(predictors, models), [path.name for path in paths], images, arguments.top)
    print(f"Written to {arguments.output}; open {Path(arguments.output, 'index.html')} in a browser.")
    return 0


def _told_apart(sources):
    """What was given, as models and paths of images."""
    from keras_vit.images.listing import list_images
    from keras_vit.preprocessing import IMAGE_SUFFIXES
    from keras_vit.sources.resolve import at_path

    models, images = [], []
    for given in sources:
        path = Path(given)
        if path.is_dir() and at_path(given) is None and (inside := list_images(path).images):
            images += map(Path, inside)
            continue
        file = path.is_file() and path.suffix not in (".keras", ".tflite")
        if file or path.suffix.lower() in IMAGE_SUFFIXES and not path.is_dir():
            images.append(path)
        else:
            models.append(given)
    if not models or not images:
        raise ValueError(
            "expected at least one model (a run folder, a .keras file, a folder of transformers or timm, or a model's "
            "name) and one image file, or a folder with some. "
            f"Received: models {models}, images {list(map(str, images))}."
        )
    return models, images


def _titled(predictors, sources):
    """{title: predictor}: its name, and where two have the same, what was given."""
    names = [predictor.name for predictor in predictors]
    titles = [name if names.count(name) == 1 else f"{name} ({given})" for name, given in zip(names, sources)]
    if len(set(titles)) < len(titles):
        raise ValueError(f"expected each model once. Received: {', '.join(map(str, sources))}.")
    return dict(zip(titles, predictors))
