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
import re
import shutil
import textwrap
from pathlib import Path
from string import Template

import numpy as np

from keras_vit.export.model.files import REPORT
from keras_vit.export.parity import parity
from keras_vit.export.serving import saved_model, serving_config
from keras_vit.export.serving.operators import RELEASES, SERVING
from keras_vit.system.files import atomic_file, atomic_folder

IMAGE = f"tensorflow/serving:{SERVING}"
TOLERANCE = 1e-3  # of scores, between machines: decoders and sums round differently
TEMPLATES = Path(__file__).with_name("templates")
KEPT = ("docker-compose.yml", "kubernetes.yaml", "monitoring.config", serving_config.BATCHING)  # if they exist
UNREADABLE = "unreadable.jpg"


def export(source, output, expected, *, name=None, top_k=None, batch_sizes=None, label=None, examples=4):
    """Write the next version of a model into a bundle, which is created or added to.

    Args:
        source: an `ExportedModel`.
        output: the bundle's folder.
        expected: `parity.Expected` to check against.
        name: the model's name on the server; default the source's.
        top_k: classes returned per image; default as of `saved_model.export`.
        batch_sizes: that the server may form, ascending; default those of the bundle, or 1, 2, 4 ... 32.
        label: for this version, under which clients can request it.
        examples: how many of the expected images are stored with their outputs.

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
    version, report, outputs = saved_model.export(source, output, name, top_k, expected, sizes)
    _clear_examples(output, version)
    _write_examples(output, version, expected, outputs, examples, source.answers)
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


def _write_examples(output, version, expected, outputs, number, answers):
    """Copy images, evenly picked, and write the saved model's outputs for them."""
    name, k = version.parent.name, outputs["scores"].shape[1]
    picked = np.linspace(0, len(expected.files) - 1, min(number, len(expected.files))).astype(int)
    further = [key for key in ("decoded", "unknown") if key in outputs]
    stored = {UNREADABLE: {"classes": [""] * k, "scores": [0.0] * k, "class_ids": [-1] * k}}
    stored[UNREADABLE] |= {key: key == "unknown" for key in further}
    known = outputs.get("known_score_of_files")
    stored[UNREADABLE] |= {} if known is None else {"known_score": 0.0}
    with atomic_folder(output / "examples" / name / version.name) as temporary:
        (temporary / UNREADABLE).write_bytes(b"no image\n")
        for place, index in enumerate(picked):
            file = f"{place:02}{Path(expected.files[index]).suffix.lower()}"
            shutil.copyfile(expected.files[index], temporary / file)
            stored[file] = {key: outputs[key][index].tolist() for key in ("classes", "class_ids", *further)}
            stored[file]["scores"] = [round(score, 6) for score in outputs["scores"][index].tolist()]
            stored[file] |= {} if known is None else {"known_score": round(float(known[index]), 6)}
    entry = {"model": name, "version": int(version.name), "tolerance": TOLERANCE, "answers": stored}
    entry |= {"thresholds": expected.thresholds.tolist()} if expected.thresholds is not None else {}
    entry |= {"unknown": answers.unknown} if answers.unknown else {}
    _write(output / "expected" / name / f"{version.name}.json", json.dumps(entry, indent=1, ensure_ascii=False) + "\n")


def _write_files(output, name, sizes, replace_sizes):
    """Write everything beside the models except models.config."""
    reports = _reports(output)
    values = {
        "image": IMAGE,
        "releases": " and ".join(RELEASES),
        "model": name,
        "service": re.sub("[^a-z0-9]+", "-", name.lower()).strip("-")[:63],
        "most": sizes[-1],
        "allowed": "\n".join(f"allowed_batch_sizes: {size}" for size in sizes),
        "models": "\n".join(_described(reports)),
        "answers": _answers(reports),
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


def _described(reports):
    """A line of the README per model."""
    for model, versions in reports.items():
        newest, report = list(versions.items())[-1]
        classes = report["signatures"]["predict_images"]["outputs"]["probabilities"][1][-1]
        _, height, width, _ = report["signatures"]["predict_images"]["inputs"]["images"][1]
        yield (
            f"- `{model}`, version{'s' * (len(versions) > 1)} {', '.join(versions)}: {classes} classes, {height} x "
            f"{width} pixels. Version {newest}: {parity.describe(report)}."
        )


def _answers(reports):
    """What the outputs of the newest versions mean beyond the k best classes, in words; "" where there is no more."""
    newest = [list(versions.values())[-1]["signatures"]["serving_default"]["outputs"] for versions in reports.values()]
    said = []
    if any("decoded" in outputs for outputs in newest):
        said.append(
            "A model with several labels per image gives those whose probabilities reach their thresholds, best first; "
            'the places left over have `classes` "", `scores` 0 and `class_ids` -1, and an image may have no label at '
            "all. `decoded`, bool (B), tells such an image from one that cannot be decoded. The thresholds are in "
            "`assets/answers.json` of the version's folder."
        )
    if any("unknown" in outputs for outputs in newest):
        said.append(
            "`unknown`, bool (B), is true for images that are not like those that the model was trained on: their "
            "`known_score`, float32 (B), is below the threshold in `assets/answers.json`. It is also true for images "
            "that cannot be decoded. `predict_images` gives `known_score` as well."
        )
    return "".join(f"\n{textwrap.fill(text, 120, break_on_hyphens=False)}\n" for text in said)


def _write(path, text):
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
