"""`keras-vit neighbours`: which images' vectors are nearest, in a file that `keras-vit embed` wrote."""

import contextlib
import sys
from pathlib import Path

from keras_vit.cli.arguments import add_image_model_options, add_sizes, complete_model, require_positive, verb_parser
from keras_vit.cli.progress import Progress

METRICS = ("cosine", "euclidean")  # `keras_vit.prediction.neighbours.METRICS`, which --help does not import
SUFFIXES = (".npz", ".parquet")
DESCRIPTION = """\
Print the nearest images of each image of a file of embeddings, or of those that --query names:

    keras-vit embed runs/photos album/ --output album.npz
    keras-vit neighbours album.npz --output nearest.csv
    keras-vit neighbours album.npz --query album/0001.jpg --top 3
    keras-vit neighbours album.npz --query new.jpg --model runs/photos

  .csv      path,neighbour_1,score_1,neighbour_2,score_2,...
  .jsonl    {"path": ..., "neighbours": [...], "scores": [...]}, a line per image
  .parquet  path, neighbours and scores, the latter two lists; needs pyarrow

An image is not its own neighbour. The comparison is exact, and works by blocks, whatever the number of vectors.
"""


def parser():
    """The options of `keras-vit neighbours`."""
    parser = verb_parser("neighbours", DESCRIPTION)
    parser.add_argument("embeddings", metavar="EMBEDDINGS", help="an .npz or .parquet file of `keras-vit embed`")
    parser.add_argument(
        "--query",
        nargs="+",
        metavar="WHAT",
        help="names in EMBEDDINGS, other files of embeddings, images, folders, globs, or - (default: all names)",
    )
    parser.add_argument("--top", type=int, default=5, help="neighbours per image (default: 5)")
    parser.add_argument(
        "--metric",
        choices=METRICS,
        default=METRICS[0],
        help="cosine of the angle, largest first, or euclidean distance, smallest first (default: cosine)",
    )
    parser.add_argument("--output", metavar="FILE", help="write to this .csv, .jsonl or .parquet file instead")
    parser.add_argument(
        "--model", metavar="MODEL", help="the model that made EMBEDDINGS, for queries that are images"
    ).completer = complete_model
    add_image_model_options(parser)
    add_sizes(parser)
    return parser


def main(argv=None):
    """Print or write the neighbours of every query; 1 if one of them is an image that cannot be read."""
    arguments = parser().parse_args(argv)
    require_positive(arguments, "top")
    from keras_vit.prediction.embeddings_file import load_embeddings
    from keras_vit.prediction.neighbours import nearest

    rows = _rows(arguments.output, arguments.top)
    known = load_embeddings(arguments.embeddings)
    names, vectors, own, bad = _queries(arguments, known)
    found = nearest(known.vectors, vectors, arguments.top, arguments.metric, own)
    shown = arguments.output or not sys.stdout.isatty()  # else the neighbours themselves are seen
    progress = Progress(len(names), "images") if shown else None
    with rows as write:
        for number, (name, (numbers, scores)) in enumerate(zip(names, found), 1):
            write(name, [known.names[one] for one in numbers], scores)
            if progress:
                progress(number)
    if progress:
        progress.close()
    if arguments.output:
        print(f"{len(names)} images: {arguments.output}")
    for name, reason in bad:
        print(f"keras-vit neighbours: skipped {name}: {reason}", file=sys.stderr)
    return 1 if bad else 0


def _queries(arguments, known):
    """(names, vectors (Q, D), number of each in the file or -1, (name, reason) of images that cannot be read)."""
    import numpy as np

    if arguments.query is None:
        return known.names, known.vectors, np.arange(len(known.names)), []
    numbers = {name: number for number, name in reversed(list(enumerate(known.names)))}
    names, vectors, own, images, bad = [], [], [], [], []
    for given in arguments.query:
        if given in numbers:
            names.append(given)
            vectors.append(np.asarray(known.vectors[numbers[given]])[None])
            own.append(numbers[given])
        elif given.lower().endswith(SUFFIXES):
            others = _others(given, arguments, known)
            names += others.names
            vectors.append(others.vectors)
            own += [-1] * len(others.names)
        else:
            images.append(given)
    if images:
        embedded, bad = _embedded(images, arguments, known)
        names += [name for name, _ in embedded]
        vectors += [vector[None] for _, vector in embedded]
        own += [-1] * len(embedded)
    empty = np.zeros((0, known.vectors.shape[1]), "float32")
    return names, np.concatenate([empty, *vectors]), np.array(own, int), bad


def _others(path, arguments, known):
    from keras_vit.prediction.embeddings_file import load_embeddings

    others = load_embeddings(path)
    (_, one), (_, other) = known.vectors.shape, others.vectors.shape
    if one != other:
        raise ValueError(
            f"{path} has vectors of {other} numbers{_of(others)}, {arguments.embeddings} of {one}{_of(known)}: those "
            "are of different models. Embed both with the same."
        )
    return others


def _embedded(given, arguments, known):
    """(name, vector) of each image, and (name, reason) of those that cannot be read."""
    from keras_vit.images.named import named_images

    missing = [one for one in given if one != "-" and not _may_be_image(one)]
    if missing:
        near = _closest(missing[0], known.names)
        raise ValueError(f"--query: {arguments.embeddings} has no {missing[0]!r}, nor is it an image file.{near}")
    if arguments.model is None:
        raise ValueError(
            f"--query {given[0]} is an image that is not in {arguments.embeddings}. Add --model with the model that "
            f"made the embeddings{_of(known)}, or give one of their names."
        )
    images = named_images(given, sys.stdin.buffer).images
    from keras_vit.system import startup

    startup.start_tensorflow()
    from keras_vit.prediction.embedding import Embedder, embed_files
    from keras_vit.prediction.many import printable

    options = arguments.preprocessing, arguments.input_values, arguments.img_size, arguments.crop_pct
    embedder = Embedder.open(arguments.model, *options)
    if embedder.dim != known.vectors.shape[1]:
        raise ValueError(
            f"{arguments.model} gives vectors of {embedder.dim} numbers, {arguments.embeddings} has those of "
            f"{known.vectors.shape[1]}{_of(known)}. Name the model that made it."
        )
    answers = list(embed_files(embedder, images, normalize=known.normalized))
    bad = [(printable(answer.path), printable(answer.reason)) for answer in answers if answer.scores is None]
    return [(answer.path, answer.scores) for answer in answers if answer.scores is not None], bad


def _may_be_image(given):
    import glob

    return Path(given).exists() or glob.has_magic(given)


def _of(embeddings):
    return f" (of {embeddings.model})" if embeddings.model else ""


def _closest(name, names):
    import difflib

    near = difflib.get_close_matches(name, names[:10_000], n=3)  # of more it would take long
    return f" Closest: {', '.join(near)}." if near else ""


def _rows(output, k):
    """A context that yields what writes an image's row, or prints it."""
    from keras_vit.prediction.table import check_table, table

    if output:
        check_table(output)
    return table(output, k, "neighbour") if output else contextlib.nullcontext(_print)


def _print(name, neighbours, scores):
    from keras_vit.prediction.many import printable

    print(printable(name))
    for neighbour, score in zip(neighbours, scores):
        print(f"  {score:9.4f}  {printable(neighbour)}")
