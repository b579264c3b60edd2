"""The parts of `keras-vit predict --shard` and `embed --shard` as one file, the bytes that one run would write."""

import json
import shutil
from pathlib import Path

from keras_vit.prediction import embeddings_file, output_file
from keras_vit.prediction.resumable import difference
from keras_vit.prediction.shards import facts_path, number_of, part_path
from keras_vit.prediction.table import WRITERS as TABLES
from keras_vit.prediction.table import table
from keras_vit.prediction.to_file import Written
from keras_vit.system.files import atomic_file, sha256


def merge(output):
    """Write the file `output` from its parts, which lie beside it, each with its .json.

    Args:
        output: as it was given to --output.

    Returns:
        A `Written`.
    Raises:
        FileNotFoundError: naming the parts that are missing.
        FileExistsError: if `output` exists.
        ValueError: for parts that do not belong together, or that were changed.
    """
    output = Path(output)
    output_file.check(output, (*TABLES, ".npz"), "Results")
    if output.exists():
        raise FileExistsError(f"{output} exists already. Remove it, or move it away, to merge its parts again.")
    parts = _parts(output)
    facts = [_facts(part, output) for part in parts]
    for part, one in zip(parts, facts):
        if different := difference(facts[0]["request"], one["request"]):
            raise ValueError(
                f"{part} is no part of the same work as {parts[0]}: it has {different}. Make it again as the others."
            )
        if sha256(part) != one["sha256"]:
            raise ValueError(f"{part} is not what {facts_path(part)} describes: it was changed, or copied by half.")
    with atomic_file(output) as temporary:
        MERGERS[output.suffix.lower()](parts, temporary)
    bad = [tuple(one) for facts_of_part in facts for one in facts_of_part["bad"]]
    return Written(sum(one["rows"] for one in facts), facts[0]["request"]["images"]["count"], bad)


def _parts(output):
    """The paths of all parts, in order."""
    counts = sorted({number[1] for path in output.parent.iterdir() if (number := number_of(path, output))})
    if not counts:
        raise FileNotFoundError(
            f"There is no part of {output}: expected {part_path(output, (1, 2)).name} and the like beside it, as "
            "--shard 1/2 writes them."
        )
    if len(counts) > 1:
        raise ValueError(
            f"{output} has parts of {' and of '.join(map(str, counts))} shards. Move those of one number away."
        )
    expected = [part_path(output, (number, counts[0])) for number in range(1, counts[0] + 1)]
    missing = [path.name for path in expected if not path.is_file()]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise FileNotFoundError(
            f"{len(missing)} of {counts[0]} parts of {output} are missing: {', '.join(missing[:5])}{more}. Make them "
            "by --shard, or copy them beside it."
        )
    return expected


def _facts(part, output):
    path = facts_path(part)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        shard, request = tuple(facts["shard"]), facts["request"]
        if not isinstance(request["images"]["count"], int) or not {"rows", "bad", "sha256"} <= facts.keys():
            raise KeyError("rows")
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} is missing, which says what {part.name} is. Copy it too.") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is damaged ({error}). Make the part again by --shard.") from error
    if shard != number_of(part, output):
        raise ValueError(f"{path} is of the part {shard[0]} of {shard[1]}: the files were renamed.")
    return facts


def _text(parts, target, head):
    """Lines one behind the other, the first `head` of the first part alone."""
    with open(target, "wb") as whole:
        for number, part in enumerate(parts):
            with open(part, "rb") as file:
                for _ in range(head if number else 0):
                    file.readline()
                shutil.copyfileobj(file, whole, 2**20)


def _parquet(parts, target):
    pa = output_file.import_pyarrow((".parquet",))
    columns = pa.parquet.read_schema(parts[0]).names
    if "vector" in columns:
        return _embeddings(parts, target)
    with table(target, None, known="unknown" in columns) as write:
        for part in parts:
            with pa.parquet.ParquetFile(part) as file:
                for batch in file.iter_batches(output_file.ROW_GROUP):
                    for path, labels, scores, *known in map(dict.values, batch.to_pylist()):
                        write(path, labels, scores, known or None)


def _embeddings(parts, target):
    """Vectors one behind the other; those of an .npz lie on the disk until they are copied."""
    first = embeddings_file.load_embeddings(parts[0])
    dim, more = first.vectors.shape[1], (first.model, first.normalized)
    with embeddings_file.embeddings_file(target, dim, *more) as write:
        for part in parts:
            found = embeddings_file.load_embeddings(part)
            for name, vector in zip(found.names, found.vectors):
                write(name, vector)


MERGERS = {
    ".csv": lambda parts, target: _text(parts, target, 1),
    ".jsonl": lambda parts, target: _text(parts, target, 0),
    ".parquet": _parquet,
    ".npz": _embeddings,
}
