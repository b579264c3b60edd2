"""`keras-vit embed`: a vector for each image, from any Keras model."""

import sys

from keras_vit.cli.arguments import add_image_model, verb_parser
from keras_vit.cli.images import add_images, add_shard, images_of
from keras_vit.cli.progress import Batches
from keras_vit.system import places, startup
from keras_vit.system.uploads import file_output

DESCRIPTION = """\
Write a vector for each image: what the model's classifier reads, or the output of a model without one. Images that
look alike to the model have vectors that point the same way; `keras-vit neighbours` finds them.

    keras-vit embed runs/photos album/ --output album.npz
    find album -name '*.jpg' | keras-vit embed SwinT - --output album.parquet --normalize

  .npz      names (N,), vectors (N, D) float32, model, normalized; numpy.load reads it
  .parquet  the columns name and vector; needs pyarrow

What was embedded is kept in FILE.partial until all is: the same command, after an interrupt, goes on with it. With
--shard 3/16 a machine does a part, and `keras-vit merge album.npz` makes one file of all.

Images that cannot be read are skipped, listed at the end, and the exit code is then 1.
"""


def parser():
    """The options of `keras-vit embed`."""
    parser = verb_parser("embed", DESCRIPTION)
    add_image_model(parser)
    add_images(parser)
    add_shard(parser)
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
    from keras_vit.prediction.to_file import Work, write_embeddings

    options = arguments.preprocessing, arguments.input_values, arguments.img_size, arguments.crop_pct
    embedder = Embedder.open(arguments.source, *options)
    with file_output(arguments.output, arguments.shard) as output:
        work = Work(images, output, arguments.batch_size, arguments.shard)
        with Batches("embed", work) as on_batch:
            written = write_embeddings(work, embedder, arguments.source, arguments.normalize, on_batch)
    place = places.inside_of(arguments.output, work.path)
    print(f"{written.rows} of {written.images} images, {embedder.dim} numbers each: {place}")
    for name, reason in written.bad:
        print(f"keras-vit embed: skipped {name}: {reason}", file=sys.stderr)
    return 1 if written.bad else 0
