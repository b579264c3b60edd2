"""A list of images divided among processes: the part of each, the file that it becomes, and what was asked of it.

Parts are of whole batches, so that an image's batch, and with it the last digit of its scores, is that of one run.
Beside the file of a part, found-00003-of-00016.csv, lies found-00003-of-00016.csv.json: its request, how many rows it
has, and the images that could not be read. `keras_vit.prediction.merging` makes one file of all parts.
"""

import dataclasses
import hashlib
import json
import re
from pathlib import Path

from keras_vit.system.files import atomic_file, sha256

NUMBERS = re.compile(r"-(\d{5})-of-(\d{5})")


def part_of(count, batch_size, shard):
    """The slice of `count` images that the shard (i, N), 1 <= i <= N, has; all of them if it is None."""
    if shard is None:
        return slice(0, count)
    number, shards = shard
    batches = -(-count // batch_size)
    first, last = (batches * i // shards * batch_size for i in (number - 1, number))
    return slice(first, min(last, count))


def part_path(output, shard):
    """found.csv, (3, 16) -> found-00003-of-00016.csv; found.csv itself without a shard."""
    if shard is None:
        return Path(output)
    number, shards = shard
    output = Path(output)
    return output.with_name(f"{output.stem}-{number:05d}-of-{shards:05d}{output.suffix}")


def number_of(path, output):
    """(i, N) of a path that is called as a part of `output`; None for another."""
    output, name = Path(output), Path(path).name
    if not (name.startswith(output.stem) and name.endswith(output.suffix)):
        return None
    match = NUMBERS.fullmatch(name.removeprefix(output.stem).removesuffix(output.suffix))
    return match and (int(match[1]), int(match[2]))


def facts_path(part):
    """The file beside a part that says what it is."""
    return Path(f"{part}.json")


def request_of(predictor, count, names, batch_size, settings):
    """All that answers depend on, as a dictionary for `resumable.journal`.

    Args:
        predictor: a `Predictor` or an `Embedder`.
        count, names: of all images, those of other parts too.
        settings: a dictionary of what else there is.
    """
    labels = getattr(predictor, "labels", ())
    return {
        "weights": weights_digest(predictor),
        "labels": _digest(labels),
        "preprocessing": None if predictor.spec is None else dataclasses.asdict(predictor.spec),
        "input_values": predictor.input_values,
        "images": {"count": count, "sha256": _digest(names)},
        "batch_size": batch_size,
        **settings,
    }


def weights_digest(predictor):
    """sha256 of a Keras model's weights, or of the files that another runtime computes from."""
    if predictor.model is not None:
        digest = hashlib.sha256()
        for variable in predictor.model.weights:
            array = _array(variable)
            digest.update(f"{array.dtype}{array.shape}".encode() + array.tobytes())
        return digest.hexdigest()
    weights = Path(predictor.weights)
    graph = weights.parent.parent / "saved_model.pb"
    return _digest([sha256(file) for file in (weights, graph) if file.is_file()])


def _array(variable):
    from keras import ops

    return ops.convert_to_numpy(variable.value)


def _digest(texts):
    digest = hashlib.sha256()
    for text in texts:
        digest.update(str(text).encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def write_facts(part, request, shard, rows, bad):
    """Write what a part is.

    Args:
        part: path of its file.
        request: as `request_of` gives it.
        shard: (i, N).
        rows: how many it has.
        bad: (name, reason) of the images that could not be read.
    """
    facts = {"request": request, "shard": list(shard), "rows": rows, "bad": bad, "sha256": sha256(part)}
    with atomic_file(facts_path(part)) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
