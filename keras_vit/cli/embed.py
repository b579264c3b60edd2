"""`keras-vit embed`: a vector for each image, from any Keras model."""

import contextlib
import sys

from keras_vit.cli.arguments import add_image_model, add_images, images_of, verb_parser
from keras_vit.cli.progress import Progress
from keras_vit.system import startup

DESCRIPTION = """\
Write a vector for each image: what the model's classifier reads, or the output of a model without one. Images that
look alike to the model have vectors that point the same way; `keras-vit neighbours` finds them.

    keras-vit embed runs/photos album/ --output album.npz
    find album -name '*.jpg' | keras-vit embed SwinT - --output album.parquet --normalize

  .npz      names (N,), vectors (N, D) float32, model, normalized; numpy.load reads it
  .parquet  the columns name and vector; needs pyarrow

Images that cannot be read are skipped, listed at the end, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit embed`."""
    parser = verb_parser("embed", DESCRIPTION)
    add_image_model(parser)
    add_images(parser)
    parser.add_argument("--output", metavar="FILE", required=True, help="the .npz or .parquet file to write")
    parser.add_argument("--normalize", action="store_true", help="divide each vector by its length (L2)")
    return parser


def main(argv=None):
    """Write the vectors of all images; 1 if one of them could not be read."""
    arguments = parser().parse_args(argv)
    from keras_vit.prediction.embeddings_file import check_embeddings_file

    check_embeddings_file(arguments.output)
    images = images_of(arguments, "embed")

    startup.start_tensorflow()
    from keras_vit.prediction.embedding import Embedder

    options = arguments.preprocessing, arguments.input_values, arguments.img_size, arguments.crop_pct
    embedder = Embedder.open(arguments.source, *options)
    bad = _write(arguments, embedder, images)
    print(f"{len(images) - len(bad)} of {len(images)} images, {embedder.dim} numbers each: {arguments.output}")
    for name, reason in bad:
        print(f"keras-vit embed: skipped {name}: {reason}", file=sys.stderr)
    return 1 if bad else 0


def _write(arguments, embedder, images):
    """Embed the images into the file; returns (name, reason) of those that cannot be read."""
    from keras_vit.prediction.embedding import embed_files
    from keras_vit.prediction.embeddings_file import embeddings_file
    from keras_vit.prediction.many import printable

    progress, bad = Progress(len(images), "images"), []
    found = embed_files(embedder, images, arguments.batch_size, arguments.normalize)
    file = embeddings_file(arguments.output, embedder.dim, arguments.source, arguments.normalize)
    with file as write, contextlib.closing(found) as answers:
        for number, answer in enumerate(answers, 1):
            if answer.scores is None:
                bad.append((printable(answer.path), printable(answer.reason)))
            else:
                write(answer.path, answer.scores)
            progress(number)
    progress.close()
    return bad
