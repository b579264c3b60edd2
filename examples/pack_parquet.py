"""Image files as Parquet files, which engines read side by side: the columns `path` and `image`, the file's bytes.

    python -m examples.pack_parquet photos --output photos_parquet --rows 5000

Writes part-00000.parquet, ... with 5,000 images each. Images are not decoded. Needs pyarrow.
"""

import argparse
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from keras_vit.images.named import named_images
from keras_vit.system.files import atomic_folder

SCHEMA = pa.schema({"path": pa.string(), "image": pa.binary()})
GROUP = 256  # rows of a row group, which is what a reader holds at once


def pack(folder, output, rows):
    """Write the images of a folder; returns their number."""
    paths = named_images([str(folder)]).images
    with atomic_folder(output) as temporary:
        for number, start in enumerate(range(0, len(paths), rows)):
            with pq.ParquetWriter(temporary / f"part-{number:05}.parquet", SCHEMA) as writer:
                for first in range(start, min(start + rows, len(paths)), GROUP):
                    chosen = paths[first : min(first + GROUP, start + rows)]
                    columns = [[os.path.relpath(path, folder) for path in chosen], [*map(_read, chosen)]]
                    writer.write_table(pa.table(columns, schema=SCHEMA))
    return len(paths)


def _read(path):
    return Path(path).read_bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="with image files, at any depth")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write; must not exist yet")
    parser.add_argument("--rows", type=int, default=5000, help="images of a file")
    options = parser.parse_args()
    print(f"{pack(options.folder, options.output, options.rows):,} images: {options.output}")


if __name__ == "__main__":
    main()
