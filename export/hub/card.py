"""The model card: README.md of a repository, with the metadata that the hub's search and filters read.

Every number in it was measured or is a setting; what was not measured is said to be missing.
"""

import json
import re

import keras_vit

SHOWN = 20  # classes that are named; all are in labels.txt
URL = "https://huggingface.co/docs/hub/model-cards"
NO_LICENCE = "No licence is stated: without one, nobody else may use the model. Ask its owner."

KERAS = """\
**Keras**

```python
import keras_vit  # pip install keras-vit-models

predictor = keras_vit.Predictor.open("hf://{reference}")
scores = predictor.predict(["image.jpg"])[0]
print(predictor.labels[scores.argmax()], scores.max())
```
"""
SEVERAL = """\
**Keras**

```python
import keras_vit  # pip install keras-vit-models

predictor = keras_vit.Predictor.open("hf://{reference}")
scores = predictor.predict(["image.jpg"])[0]
for k in (scores >= predictor.thresholds).nonzero()[0]:  # every label that the image has
    print(predictor.labels[k], scores[k])
```
"""
MEASURES = {"map": "mean average precision", "micro_f1": "micro F1", "macro_f1": "macro F1"}
TIMM = """\
**timm**

```python
import timm
import torch
from PIL import Image

model = timm.create_model("hf-hub:{reference}", pretrained=True).eval()
transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
with torch.no_grad():
    scores = model(transform(Image.open("image.jpg").convert("RGB"))[None]).softmax(-1)[0]
print(model.pretrained_cfg["label_names"][scores.argmax()], scores.max())
```
"""
TRANSFORMERS = """\
**transformers**

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

where = {{"pretrained_model_name_or_path": "{repository}", "subfolder": "transformers"{revision}}}
processor = AutoImageProcessor.from_pretrained(**where)
model = AutoModelForImageClassification.from_pretrained(**where)
with torch.no_grad():
    inputs = processor(Image.open("image.jpg").convert("RGB"), return_tensors="pt")
    scores = model(**inputs).logits.softmax(-1)[0]
print(model.config.id2label[scores.argmax().item()], scores.max())
```
"""
LIBRARIES = {"timm": TIMM, "transformers": TRANSFORMERS}


def card(facts, repository, revision=None, licence=None, without=None):
    """The text of README.md.

    Args:
        facts: `Facts` of the model.
        repository: owner/name.
        revision: branch that the model goes to; None for the main one.
        licence: the hub's name of a licence, e.g. "apache-2.0".
        without: {library: why the repository does not have the model in its form}, of LIBRARIES.
    """
    without = without or {}
    sections = [
        f"---\n{_metadata(facts, licence, without)}---\n",
        f"# {_plain(facts.name)}\n",
        _summary(facts),
        f"## How to use it\n\n{_code(facts, repository, revision, without)}",
        f"## What was measured\n\n{_measured(facts)}",
        f"## Data\n\n{_data(facts)}",
        f"## Training\n\n{_training(facts)}",
        f"## Preprocessing\n\n{_preprocessing(facts)}",
        f"## Licence\n\n{_licence(facts, licence)}",
        f"Written by `keras-vit push` of keras_vit {keras_vit.__version__} from the files of the run.\n",
    ]
    return "\n".join(sections)


def _metadata(facts, licence, without):
    from huggingface_hub import EvalResult, ModelCardData

    tags = ["image-classification", "keras", "keras_vit", *(name for name in LIBRARIES if name not in without)]
    results = None
    if facts.measured is not None:
        name = str(facts.run.get("data") or "images")
        identifier = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or "images"
        shared = {"task_type": "image-classification", "dataset_type": identifier, "dataset_name": name}
        found = facts.measured
        values = {"accuracy": None if found.top1 is None else found.top1 / 100}
        values |= {MEASURES[name].lower().replace(" ", "_"): value / 100 for name, value in found.several.items()}
        values["expected_calibration_error"] = found.calibration_error
        results = [
            EvalResult(**shared, metric_type=kind, metric_value=round(value, 6))
            for kind, value in values.items()
            if value is not None
        ]
    data = ModelCardData(
        license=licence,
        library_name="keras_vit",
        pipeline_tag="image-classification",
        tags=tags,
        base_model=facts.base.hub_id if facts.base is not None and facts.base.hub_id else None,
        model_name=facts.name if results else None,
        eval_results=results,
    )
    return data.to_yaml().rstrip("\n") + "\n"


def _summary(facts):
    height, width = facts.spec.size
    named = ", ".join(f"`{_plain(label)}`" for label in facts.labels[:SHOWN])
    more = f", and {len(facts.labels) - SHOWN:,} more in labels.txt" if len(facts.labels) > SHOWN else ""
    return (
        f"{_plain(facts.model)}, {facts.parameters:,} parameters: {_task(facts)}, in images "
        f"of {height} x {width} pixels.\n\nClasses: {named}{more}.\n"
    )


def _task(facts):
    if facts.run.get("multi_label"):
        return f"says which of {len(facts.labels):,} labels an image has, any number of them"
    return f"tells {len(facts.labels):,} classes apart"


def _code(facts, repository, revision, without):
    reference = f"{repository}@{revision}" if revision else repository
    values = {"reference": reference, "repository": repository}
    values["revision"] = f', "revision": {json.dumps(revision)}' if revision else ""
    parts = [(SEVERAL if facts.run.get("multi_label") else KERAS).format(**values)]
    if facts.run.get("unknown"):
        parts.append(_known(facts.run["unknown"]))
    for library, text in LIBRARIES.items():
        reason = without.get(library)
        parts.append(text.format(**values) if reason is None else f"Not for {library}: {_plain(reason)}\n")
    return "\n".join(parts)


def _known(unknown):
    """How images of none of the classes are told, in words."""
    score = {"energy": "the logsumexp of the logits", "max_logit": "the largest logit"}[unknown["score"]]
    return (
        f"An image is unknown, of none of the classes, if its score, {score}, is below {unknown['threshold']:g}: "
        "`keras-vit predict` says so, and `predictor.predict_known` gives the scores. "
        f"{100 * unknown['kept']:g} % of the validation images are not below.\n"
    )


def _measured(facts):
    found = facts.measured
    if found is None:
        return f"Neither accuracy nor calibration was measured: {facts.missing}.\n"
    error = "not measured" if found.calibration_error is None else f"{found.calibration_error:.4f}"
    rows = [
        *([] if found.top1 is None else [("top-1 accuracy", f"{found.top1:.2f} %")]),
        *((MEASURES[name], f"{value:.2f} %") for name, value in found.several.items()),
        *([] if found.top5 is None else [("top-5 accuracy", f"{found.top5:.2f} %")]),
        ("expected calibration error", error),
        ("images", f"{found.images:,}"),
    ]
    notes = [f"Measured {found.by}{_of_data(facts)}."]
    if found.chosen_on:
        notes.append("The checkpoint was chosen by its accuracy on these same images, which makes it too high.")
    if found.calibration_error is None:
        notes.append(f"The calibration was not measured: {facts.missing}.")
    else:
        notes.append("The calibration error is in [0, 1], of 15 bins (arXiv:1706.04599).")
    return f"{_table(('', 'value'), rows)}\n{' '.join(notes)}\n"


def _of_data(facts):
    return f" of {_plain(facts.run['data'])}" if facts.run.get("data") else ""


def _data(facts):
    if not facts.run.get("data"):
        return "What the model was trained on is not recorded.\n"
    counts = ", ".join(f"{count:,} for {name}" for name, count in facts.images.items())
    return f"`{_plain(facts.run['data'])}`, {len(facts.labels):,} classes" + (
        f"; images: {counts}.\n" if counts else ".\n"
    )


def _training(facts):
    if not facts.settings:
        return "How the model was trained is not recorded.\n"
    weights, base = facts.run.get("weights"), facts.base
    began = "from scratch" if not weights else f"from the weights `{_plain(weights)}`"
    if base is not None:
        began = f"from [{base.name}]({_origin(base)}), trained on {base.pretraining} (licence: {base.licence})"
    facts_of_run = [f"Trained {began}"]
    if facts.run.get("best_epoch") is not None:
        facts_of_run.append(f"kept the weights of epoch {facts.run['best_epoch']} (from 0)")
    if facts.run.get("train_seconds"):
        facts_of_run.append(f"took {facts.run['train_seconds']:,.0f} seconds")
    settings = "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in facts.settings.items())
    architecture = f"architecture: {json.dumps(facts.architecture)}\n" if facts.architecture else ""
    details = f"<details><summary>All settings</summary>\n\n```yaml\n{architecture}{settings}\n```\n\n</details>\n"
    return f"{'; '.join(facts_of_run)}.\n\n{details}"


def _origin(row):
    return f"https://huggingface.co/{row.hub_id}" if row.hub_id else row.url


def _preprocessing(facts):
    spec = facts.spec
    height, width = spec.size
    cropped = f"the centre, {spec.crop_pct:g} of the resized short side"
    resized = {"center": cropped, "squash": "stretched to that size"}
    rows = [
        ("size", f"{height} x {width} pixels, {spec.interpolation}; {resized[spec.crop_mode]}"),
        ("mean", _three(spec.mean)),
        ("standard deviation", _three(spec.std)),
    ]
    values = {"pixels": "pixels in [0, 255]", "unit": "values in [0, 1]", "normalized": "normalized values"}
    note = f"Mean and deviation are of values in [0, 1]. `model.keras` itself takes {values[facts.input_values]}."
    return f"{_table(('', 'value'), rows)}\n{note}\n"


def _three(numbers):
    return ", ".join(f"{number:g}" for number in numbers)


def _licence(facts, licence):
    own = f"`{licence}`, stated by the owner of this repository." if licence else NO_LICENCE
    base = facts.base
    return own + (f" The weights that training began with have the licence {base.licence}.\n" if base else "\n")


def _table(head, rows):
    lines = [f"| {' | '.join(head)} |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)]
    return "\n".join(lines) + "\n"


def _plain(text):
    """A text from elsewhere on one line, without what Markdown and HTML read as more than text."""
    return re.sub(r"[\s`<>|\[\]\\]+", " ", str(text)).strip()[:300]
