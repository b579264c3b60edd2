"""The folder that a model server starts from: models, configuration, a client, and stored examples.

    DIR/models/<name>/<version>/            a version (saved_model.py)
        models.config batching.config monitoring.config docker-compose.yml kubernetes.yaml
        client.py README.md report.json
        examples/<name>/<version>/          images, and one file that is not an image
        expected/<name>/<version>.json      the outputs for them, for client.py --check

A version is complete before it gets its number, and is served from then on; the files around it follow, each complete
or not at all. If the process is killed in between, the bundle serves what it served before, or the new version too.
docker-compose.yml, kubernetes.yaml, batching.config and monitoring.config are written once and kept.
"""

import json
import shutil
from pathlib import Path
from string import Template

import numpy as np

from keras_vit.export.model.files import REPORT
from keras_vit.export.serving import readme, saved_model, serving_config
from keras_vit.export.serving.operators import RELEASES, SERVING
from keras_vit.system.files import atomic_file, atomic_folder

IMAGE = f"tensorflow/serving:{SERVING}"
TOLERANCE = 1e-3  # of scores, between machines: decoders and sums round differently
COSINE = 0.9999  # the same of features: of the stored numbers with the others
MOST_STORED = 2000  # numbers of an output that are stored of an example, evenly picked
TEMPLATES = Path(__file__).with_name("templates")
KEPT = ("docker-compose.yml", "kubernetes.yaml", "monitoring.config", serving_config.BATCHING)  # if they exist
UNREADABLE = "unreadable.jpg"


def export(source, output, expected, *, name=None, top_k=None, batch_sizes=None, label=None, examples=4, index=None):
    """Write the next version of a model into a bundle, which is created or added to.

    Args:
        source: an `ExportedModel`.
        output: the bundle's folder.
        expected: `parity.Expected` to check against, or of features `ExpectedFeatures`.
        name: the model's name on the server; default the source's.
        top_k: classes returned per image; default as of `saved_model.export`.
        batch_sizes: that the server may form, ascending; default those of the bundle, or 1, 2, 4 ... 32.
        label: for this version, under which clients can request it.
        examples: how many of the expected images are stored with their outputs.
        index: `Embeddings` of images, as of `saved_model.export`.

    Returns:
        (path of the version, its report).

    Raises:
        ValueError: for unusable arguments and files, before anything is written; and as `saved_model.export`.
    """
    output = Path(output)
    serving_config.read_for_writing(output)  # to fail early
    sizes = _batch_sizes(output, batch_sizes)
    if label is not None and not serving_config.LABEL.fullmatch(label):
        raise ValueError(f"A version's label has letters, digits and _ . - only. Received: {label!r}.")
    version, report, outputs = saved_model.export(source, output, name, top_k, expected, sizes, index)
    _clear_examples(output, version)
    _write_examples(output, version, expected, examples, stored_answers(source, expected, outputs))
    serving_config.add_model(output, report["model"], label, report["version"])
    _write_files(output, report["model"], sizes, replace_sizes=batch_sizes is not None)
    return version, report


def _batch_sizes(output, given):
    """Those of the bundle, unless others are given."""
    if given is None:
        return serving_config.read_batching(output).sizes
    if not given or list(given) != sorted(set(given)) or given[0] < 1:
        raise ValueError(f"Batch sizes are whole numbers from 1, ascending. Received: {list(given)}.")
    return tuple(given)


def _clear_examples(output, version):
    """Remove the examples of versions that no longer exist, and of an earlier version with the new one's number."""
    name = version.parent.name
    for path in [*output.glob(f"examples/{name}/*/"), *output.glob(f"expected/{name}/*.json")]:
        if path.stem == version.name or not version.with_name(path.stem).is_dir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def stored_answers(source, expected, outputs):
    """What is stored of a version's answers, for client.py --check.

    Args:
        source, expected, outputs: the `ExportedModel`, what it was checked on, and the saved model's outputs.

    Returns:
        (the entries of the file beside the answers, the answer to what is no image, number of an image -> its answer).
    """
    if source.features:
        none = {name: evenly(np.zeros_like(outputs[name][0])) for name in source.features}
        entries = {"features": list(source.features), "cosine": COSINE}
        return entries, none | {"decoded": False}, lambda number: _features(source, outputs, number)
    k, entries = outputs["scores"].shape[1], {"tolerance": TOLERANCE}
    entries |= {"thresholds": expected.thresholds.tolist()} if expected.thresholds is not None else {}
    entries |= {"unknown": source.answers.unknown} if source.answers.unknown else {}
    none = {"classes": [""] * k, "scores": [0.0] * k, "class_ids": [-1] * k}
    none |= {key: key == "unknown" for key in ("decoded", "unknown") if key in outputs}
    none |= {"known_score": 0.0} if "known_score_of_files" in outputs else {}
    return entries, none, lambda number: _classes(outputs, number)


def _classes(outputs, number):
    """The answer of a classifier to an image."""
    kept = ("classes", "class_ids", "decoded", "unknown")
    answer = {key: outputs[key][number].tolist() for key in kept if key in outputs}
    answer["scores"] = [round(score, 6) for score in outputs["scores"][number].tolist()]
    known = outputs.get("known_score_of_files")
    return answer | ({} if known is None else {"known_score": round(float(known[number]), 6)})


def _features(source, outputs, number):
    """The answer of a model without a classifier to an image."""
    answer = {name: evenly(outputs[f"{name}_of_files"][number]) for name in source.features}
    return answer | {"decoded": bool(outputs["decoded"][number])}


def evenly(values):
    """An array's shape, and its numbers, of large ones every n-th."""
    every = -(-values.size // MOST_STORED)
    numbers = [float(f"{value:.7g}") for value in values.ravel()[::every].tolist()]
    return {"shape": list(values.shape), "every": every, "numbers": numbers}


def _write_examples(output, version, expected, number, answers):
    """Copy images, evenly picked, and write the saved model's answers to them, as `stored_answers` has them."""
    name, (entries, none, answer) = version.parent.name, answers
    picked = np.linspace(0, len(expected.files) - 1, min(number, len(expected.files))).astype(int)
    stored = {UNREADABLE: none}
    with atomic_folder(output / "examples" / name / version.name) as temporary:
        (temporary / UNREADABLE).write_bytes(b"no image\n")
        for place, index in enumerate(picked):
            file = f"{place:02}{Path(expected.files[index]).suffix.lower()}"
            shutil.copyfile(expected.files[index], temporary / file)
            stored[file] = answer(index)
    entry = {"model": name, "version": int(version.name), **entries, "answers": stored}
    indent = None if "features" in entry else 1  # whose numbers would take a line each
    text = json.dumps(entry, indent=indent, ensure_ascii=False) + "\n"
    _write(output / "expected" / name / f"{version.name}.json", text)


def _write_files(output, name, sizes, replace_sizes):
    """Write everything beside the models except models.config."""
    reports = _reports(output)
    values = {
        "image": IMAGE,
        "releases": " and ".join(RELEASES),
        "model": name,
        "service": serving_config.service_name(name),
        "most": sizes[-1],
        "allowed": "\n".join(f"allowed_batch_sizes: {size}" for size in sizes),
        **readme.values(reports, name),
    }
    replaced = ["README.md", *([serving_config.BATCHING] if replace_sizes else [])]
    for file in {*KEPT, *replaced}:
        if file in replaced or not (output / file).exists():
            _write(output / file, Template((TEMPLATES / file).read_text(encoding="utf-8")).substitute(values))
    _write(output / "client.py", Path(__file__).with_name("client.py").read_text(encoding="utf-8"))
    summary = {"tensorflow_serving": SERVING, "batch_sizes": list(sizes), "models": reports}
    _write(output / REPORT, json.dumps(summary, indent=2) + "\n")


def _reports(output):
    """{model: {version: its report}} of all versions in the bundle."""
    found = {}
    for path in sorted(output.glob(f"models/*/*/{saved_model.REPORT}")):
        version = path.parents[1]
        if version.name.isdigit():
            found.setdefault(version.parent.name, {})[version.name] = json.loads(path.read_text(encoding="utf-8"))
    return {model: dict(sorted(versions.items(), key=lambda entry: int(entry[0]))) for model, versions in found.items()}


def _write(path, text):
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
