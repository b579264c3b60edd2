"""Predict the images of Parquet files with Ray Data, a model per worker.

    python -m examples.pack_parquet photos --output photos_parquet
    python -m examples.ray_predict runs/photos photos_parquet --output found --workers 2

The files have a column `image` with encoded images, and others that name them. Writes Parquet files with those others
and `labels`, `scores` and `reason`. Both may lie in a bucket (s3://bucket/photos; credentials as pyarrow finds them);
`--endpoint http://127.0.0.1:9000` is for a store other than Amazon's. Without RAY_ADDRESS a cluster is started on this
machine; on another, let one core more be free than the workers have, for reading. A worker that dies is replaced, and
its batches are predicted again.

Needs `pip install 'ray[data]'` where it is started and on all machines, beside keras_vit.
"""

import argparse
import os

import pyarrow.fs
import ray
from ray.data import ActorPoolStrategy, SaveMode

from keras_vit.prediction.engines import PredictBatches

BATCH = 256  # images that a worker gets at once; its model takes 32 while the next are decoded


def predict(source, images, output, workers, filesystem=None, cores=1):
    """Write the answers for all images.

    Args:
        source: of the model, which all workers see: a path on a shared disk, hf://owner/name, or a model's name.
        images, output: folders of Parquet files.
        workers: how many models there are.
        filesystem: a `pyarrow.fs.FileSystem`; None to tell by the paths.
        cores: of each worker.
    """
    photos = ray.data.read_parquet(images, filesystem=filesystem).repartition(target_num_rows_per_block=BATCH)
    found = photos.map_batches(
        PredictBatches,
        fn_constructor_args=[source],
        batch_size=BATCH,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(size=workers),
        num_cpus=cores,
        runtime_env={"env_vars": environment(cores)},
    )
    found.write_parquet(output, filesystem=filesystem, mode=SaveMode.ERROR)


def environment(cores):
    """Of a worker: TensorFlow would otherwise take all cores of the machine in each."""
    return {"TF_NUM_INTRAOP_THREADS": str(cores), "TF_ENABLE_ONEDNN_OPTS": "1"}


def bucket(endpoint):
    """The file system of an object store at an address."""
    scheme, _, host = endpoint.rpartition("://")
    return pyarrow.fs.S3FileSystem(endpoint_override=host, scheme=scheme or "https")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the model")
    parser.add_argument("images", help="folder of Parquet files")
    parser.add_argument("--output", required=True, help="folder to write; must not exist yet")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cores", type=int, default=1, help="of each worker")
    parser.add_argument("--endpoint", help="address of an object store")
    options = parser.parse_args()
    source = os.path.abspath(options.source) if os.path.exists(options.source) else options.source
    filesystem = bucket(options.endpoint) if options.endpoint else None
    if "RAY_ADDRESS" not in os.environ:  # one more, which reads: workers that held all would wait for it for ever
        ray.init(num_cpus=options.workers * options.cores + 1)
    predict(source, options.images, options.output, options.workers, filesystem, options.cores)


if __name__ == "__main__":
    main()
