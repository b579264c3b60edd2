"""Ray Data and Spark with one and two workers against one process:  python -m benchmarks.engines [--images N N ...]

Run in the environment of `make test-engines`, with scikit-learn, whose photographs are cut. The images are those of
`benchmarks.predict_folder`, in Parquet files; the programs are the examples, `examples.ray_predict` and
`examples.spark_predict`, and for one process a loop over the same files with the same `PredictBatches`. Each job is run
with few and with many images, in a process of its own; the rate is that of the images between, which leaves out the
start of the cluster and the loading of models. In every worker, and in the one process, TensorFlow has one core; images
are decoded in threads beside it. Weights are random.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

from benchmarks import report
from benchmarks.predict_folder import write_folder

MODEL, IMAGES = "ViTS16", (2000, 10000)
ONE_CORE = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_ENABLE_ONEDNN_OPTS": "1"}
JOBS = {  # name: (module, options)
    "one process": ("benchmarks.engines", ("--alone",)),
    "Ray, 1 worker": ("examples.ray_predict", ("--workers", "1")),
    "Ray, 2 workers": ("examples.ray_predict", ("--workers", "2")),
    "Spark, 1 worker": ("examples.spark_predict", ("--master", "local[1]")),
    "Spark, 2 workers": ("examples.spark_predict", ("--master", "local[2]")),
}


def write(folder, name, counts):
    """A model and, for each number of images, a folder of Parquet files: {number: path}."""
    import keras_vit
    from examples.pack_parquet import pack
    from keras_vit.sources.resolve import resolve_spec

    keras_vit.create_model(name, weights=None).save(folder / "model.keras")
    resolve_spec(name).save(folder / "preprocessing.json")
    for count in counts:
        (folder / str(count)).mkdir()
        pack(write_folder(folder / str(count), count), folder / f"parquet_{count}", 1000)
    return {count: folder / f"parquet_{count}" for count in counts}


def alone(model, images, output):
    """The same in this process: batches of the files one after the other, into one file."""
    import pyarrow as pa
    import pyarrow.dataset
    import pyarrow.parquet as pq

    from examples.ray_predict import BATCH
    from keras_vit.prediction.engines import PredictBatches

    answers, writer = PredictBatches(model), None
    for batch in pa.dataset.dataset(images).to_batches(batch_size=BATCH):
        found = answers(pa.Table.from_batches([batch]))
        writer = writer or pq.ParquetWriter(output, found.schema)
        writer.write_table(found)
    writer.close()


def seconds_of(folder, module, options, images, number):
    """Of a job, from its start to its end."""
    output = folder / f"found_{number}"
    command = [
        sys.executable,
        "-m",
        module,
        str(folder / "model.keras"),
        str(images),
        "--output",
        str(output),
        *options,
    ]
    run = {"check": True, "env": os.environ | ONE_CORE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return report.seconds(lambda: subprocess.run(command, **run))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("job", nargs="*", help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--output", help=argparse.SUPPRESS)
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--images", type=int, nargs=2, default=IMAGES, metavar="N", help="few and many")
    parser.add_argument(
        "--jobs", nargs="+", choices=JOBS, default=list(JOBS), help="the first is the one compared with"
    )
    parser.add_argument("--csv", help="where to write the rows as well")
    options = parser.parse_args()
    if options.alone:
        alone(*options.job, options.output)
        return
    print(report.machine())
    few, many = options.images
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        images = write(folder, options.model, options.images)
        for name in options.jobs:
            short, long = (seconds_of(folder, *JOBS[name], images[n], f"{len(rows)}_{n}") for n in (few, many))
            rate = (many - few) / (long - short)
            against = rate / rows[0]["images_per_s"] if rows else 1.0
            rows.append({"model": options.model, "job": name, "few_s": short, "many_s": long, "images_per_s": rate})
            rows[-1] |= {"times_the_first": against}
    report.show(rows)
    report.write(options.csv, rows)


if __name__ == "__main__":
    main()
