"""Predict the images of Parquet files with Spark, a model per Python worker.

    python -m examples.pack_parquet photos --output photos_parquet
    python -m examples.spark_predict runs/photos photos_parquet --output found --master 'local[2,4]'

The files have columns `path` and `image`, of encoded images. Writes Parquet files with `path`, `labels`, `scores` and
`reason`. local[2,4] runs two workers on this machine and tries four times what failed, as a cluster does by itself; the
address of a cluster takes its place. Where Spark has hadoop-aws, photos in a bucket are s3a://bucket/photos. Without
it, workers read them by pyarrow, here from a store at an address:

    python -m examples.spark_predict runs/photos bucket/photos --endpoint http://127.0.0.1:9000 --output found

Needs `pip install 'pyspark[sql]'`, Java 17 or newer, and keras_vit on all machines.
"""

import argparse
import os
import sys

import pyarrow.fs
import pyarrow.parquet as pq
from pyspark.ml.functions import predict_batch_udf
from pyspark.sql import SparkSession
from pyspark.sql.types import DataType

from keras_vit.prediction.engines import PredictBatches

BATCH = 256  # images that a worker gets at once; its model takes 32 while the next are decoded


def set_environment():
    """What the Python workers of this machine inherit, before they start.

    In each of them TensorFlow would otherwise take all cores, and Spark would start whatever `python3` is.
    """
    os.environ |= {"TF_NUM_INTRAOP_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)


def session(master):
    """Spark, with batches of images that fit into memory: of rows of numbers it would hand over 10,000 at once."""
    builder = SparkSession.builder.master(master).appName("keras_vit")
    return builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", BATCH).getOrCreate()


def read_bucket(spark, folder, endpoint):
    """A data frame of the Parquet files of a folder in a bucket, a task per file."""

    def connected():
        scheme, _, host = endpoint.rpartition("://")
        return pyarrow.fs.S3FileSystem(endpoint_override=host, scheme=scheme or "https")

    def read(batches):
        for batch in batches:
            for path in batch["path"].to_pylist():
                with pq.ParquetFile(connected().open_input_file(path)) as file:
                    yield from file.iter_batches(BATCH, columns=["path", "image"])

    files = [file.path for file in connected().get_file_info(pyarrow.fs.FileSelector(folder))]
    names = spark.createDataFrame([(path,) for path in files], "path string").repartition(len(files))
    return names.mapInArrow(read, "path string, image binary")


def predicted(source, photos):
    """The answers for a data frame with the columns path and image: path, labels, scores, reason.

    Args:
        source: of the model, which all workers see: a path on a shared disk, hf://owner/name, or a model's name.
    """
    answers = PredictBatches(source)
    predict = predict_batch_udf(answers.make_predict_fn, return_type=DataType.fromDDL(answers.ddl), batch_size=BATCH)
    return photos.select("path", predict("image").alias("found")).select("path", "found.*")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the model")
    parser.add_argument("images", help="folder of Parquet files")
    parser.add_argument("--output", required=True, help="folder to write; must not exist yet")
    parser.add_argument("--master", default="local[2,4]", help="of Spark")
    parser.add_argument("--endpoint", help="address of an object store")
    options = parser.parse_args()
    set_environment()
    spark = session(options.master)
    bucket = options.endpoint and read_bucket(spark, options.images, options.endpoint)
    predicted(options.source, bucket or spark.read.parquet(options.images)).write.parquet(options.output)


if __name__ == "__main__":
    main()
