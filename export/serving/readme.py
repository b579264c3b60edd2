"""What a serving bundle's README says of its models: a line for each, their signatures, and what the outputs mean."""

import textwrap

from keras_vit.export.parity import parity

HEAD = "| signature | input | outputs |\n|---|---|---|"
OF_CLASSES = (
    HEAD,
    "| `serving_default` | `image_bytes`: JPEG, PNG, WebP, plain BMP, GIF (first frame) | `classes`, `scores`, "
    "`class_ids`: the best, best first |",
    "| `predict_images` | `images`: float32 (B, H, W, 3), 0 to 255, of the model's size | `probabilities`: (B, K) |",
    "| `features` | `image_bytes` | `embedding`: (B, D), penultimate-layer features |",
)
OF_FEATURES = (
    HEAD,
    "| `serving_default` | `image_bytes`: JPEG, PNG, WebP, plain BMP, GIF (first frame) | the features by name, "
    "`decoded` |",
    "| `predict_images` | `images`: float32 (B, H, W, 3), 0 to 255, of the model's size | the features by name |",
)
CALL_OF_FEATURES = """\
(printf '{{"signature_name": "features", "instances": [{{"b64": "'; base64 < image.jpg; printf '"}}]}}') |
    curl -d @- http://localhost:8501/v1/models/{model}:predict
"""
UNDECODED = (
    "An image that cannot be decoded, or has more than 89 million pixels, does not affect the others of its request: "
    "it gets {}. Images are turned upright as their orientation note says."
)
UNDECODED_CLASSES = '`classes` "", `scores` 0, `class_ids` -1, and an `embedding` of zeros'
UNDECODED_FEATURES = "features of zeros, and `decoded` false"


def values(reports, model):
    """What is filled into templates/README.md.

    Args:
        reports: {model: {version: its report}}, versions ascending.
        model: the one that was exported last, which the calls of the README name.
    """
    newest = {name: list(versions.values())[-1] for name, versions in reports.items()}
    with_features = ["features" in report for report in newest.values()]
    undecoded = [UNDECODED_CLASSES] * (not all(with_features)) + [UNDECODED_FEATURES] * any(with_features)
    return {
        "models": "\n".join(_described(reports)),
        "signatures": _tables(with_features),
        "undecoded": _filled(UNDECODED.format("; of a model that gives features, ".join(undecoded))),
        "call": "" if "features" in newest[model] else CALL_OF_FEATURES.format(model=model),
        "answers": _answers([report["signatures"]["serving_default"]["outputs"] for report in newest.values()]),
    }


def _tables(with_features):
    """The tables of signatures: that of classifiers, that of models without one, or both."""
    tables = [OF_CLASSES] * (not all(with_features)) + [OF_FEATURES] * any(with_features)
    return "\n\nOf a model that gives features instead of classes:\n\n".join(map("\n".join, tables))


def _described(reports):
    """A line per model."""
    for model, versions in reports.items():
        newest, report = list(versions.items())[-1]
        ends = report["signatures"]["predict_images"]
        _, height, width, _ = ends["inputs"]["images"][1]
        if "features" in report:
            shapes = {name: " x ".join(map(str, shape[1:])) for name, (_, shape) in ends["outputs"].items()}
            gives = ", ".join(f"`{name}` ({shape})" for name, shape in shapes.items())
        else:
            gives = f"{ends['outputs']['probabilities'][1][-1]} classes"
        yield (
            f"- `{model}`, version{'s' * (len(versions) > 1)} {', '.join(versions)}: {gives}, {height} x "
            f"{width} pixels. Version {newest}: {parity.describe(report)}."
        )


def _answers(outputs):
    """What the outputs of serving_default mean beyond the k best classes, in words; "" where there is no more.

    Args:
        outputs: those of each model.
    """
    said = []
    if any("decoded" in one and "class_ids" in one for one in outputs):
        said.append(
            "A model with several labels per image gives those whose probabilities reach their thresholds, best first; "
            'the places left over have `classes` "", `scores` 0 and `class_ids` -1, and an image may have no label at '
            "all. `decoded`, bool (B), tells such an image from one that cannot be decoded. The thresholds are in "
            "`assets/answers.json` of the version's folder."
        )
    if any("unknown" in one for one in outputs):
        said.append(
            "`unknown`, bool (B), is true for images that are not like those that the model was trained on: their "
            "`known_score`, float32 (B), is below the threshold in `assets/answers.json`. It is also true for images "
            "that cannot be decoded. `predict_images` gives `known_score` as well."
        )
    return "".join(f"\n{_filled(text)}\n" for text in said)


def _filled(text):
    return textwrap.fill(text, 120, break_on_hyphens=False)
