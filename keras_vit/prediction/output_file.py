"""Whether a file of results can be written, seen before the work is done: its suffix, its place, and pyarrow."""

from pathlib import Path

ROW_GROUP = 4096  # rows of a .parquet file that are held and written together
PARQUET = ".parquet"


def check(path, suffixes, what):
    """What would otherwise fail after the work is done.

    Args:
        path: of the file.
        suffixes: those of such files, in small letters.
        what: such files hold, for errors: "Predictions".

    Raises:
        ValueError: for another suffix.
        IsADirectoryError: for a folder.
        ImportError: for .parquet without pyarrow.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        *first, last = suffixes
        raise ValueError(f"{what} are files that end in {', '.join(first)} or {last}. Received: {path}.")
    if Path(path).is_dir():
        raise IsADirectoryError(f"Expected the path of a file. Received a folder: {path}.")
    if suffix == PARQUET:
        import_pyarrow(suffixes)


def import_pyarrow(suffixes):
    """The package pyarrow, which reads and writes .parquet files alone of these."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        others = " and ".join(suffix for suffix in suffixes if suffix != PARQUET)
        raise ImportError(f"A .parquet file needs pyarrow, unlike {others}: {error}", name="pyarrow") from error
    return pyarrow
