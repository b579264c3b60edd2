"""A folder of models as ONNX for Triton, OpenVINO Model Server or KServe, which is created or added to.

    DIR/models/<name>/config.pbtxt, labels.txt           of Triton
    DIR/models/<name>/<version>/model.onnx               images float32 (B, H, W, 3) in [0, 255] -> probabilities, ...
                                preprocessing.json, labels.txt, answers.json, index.npz, report.json
                                examples/, examples.json for client.py --check
    DIR/config.json                                      of OpenVINO Model Server
    DIR/inference_service.yaml                           of KServe
    DIR/client.py images.py README.md report.json

The servers get pixels: images are decoded and prepared by the client. A version is complete before it gets its number,
and so is a model's folder; the files around follow, each complete or not at all. Versions of a Triton model share its
config.pbtxt, which may be edited: one that does not fit is refused.
"""

import contextlib
import importlib
import json
import re
import shutil
import textwrap
from pathlib import Path
from string import Template

import numpy as np

from keras_vit.export.interchange import onnx_openvino
from keras_vit.export.model.files import REPORT, labels_text, write_labels_and_spec
from keras_vit.export.parity import parity
from keras_vit.export.servers import images, kserve, ovms, triton
from keras_vit.export.serving import bundle
from keras_vit.export.serving.saved_model import NAME, next_version
from keras_vit.export.serving.serving_config import Batching
from keras_vit.prediction.embeddings_file import save_embeddings
from keras_vit.system.files import atomic_file, atomic_folder, scratch_folder

TARGETS = ("triton", "ovms", "kserve")
MODEL = "model.onnx"
COSINE = 0.999  # of the client's answers with the stored ones: its decoder and filters round otherwise
README = Path(__file__).with_name("templates") / "README.md"
COMMANDS = {
    "triton": 'docker run --rm -p 8000:8000 -p 8001:8001 -v "$PWD/models:/models:ro" \\\n'
    f"    {triton.IMAGE} tritonserver --model-repository=/models",
    "ovms": f'docker run --rm -p 8000:8000 -p 9000:9000 -v "$PWD:{ovms.MOUNTED}:ro" \\\n'
    f"    {ovms.IMAGE} --config_path {ovms.MOUNTED}/{ovms.CONFIG} --port 9000 --rest_port 8000",
    "kserve": f"kubectl apply -f {kserve.MANIFEST}",
}


def export(source, output, target, expected, **options):
    """Write the next version of a model into a folder.

    Args:
        source: an `ExportedModel`.
        output: the folder.
        target: of TARGETS.
        expected: `parity.Expected` to check against, or of features `ExpectedFeatures`.
        options: name: of the model on the server; default the source's. batch_sizes: that the server prefers, the last
            being the largest; default 1, 2, 4 ... 32. examples: how many images are stored with their answers; default
            4. index: `Embeddings` beside a model that gives a vector. runtime, storage_uri: as of `kserve.manifest`.

    Returns:
        (path of the version, its report).

    Raises:
        ModuleNotFoundError: if the packages that write and check the files are not installed.
        ValueError: for unusable arguments, for a folder of another target or a model with another config.pbtxt, and if
            the file's outputs differ from the Keras model's; nothing is written then.
    """
    output, name = Path(output), options.get("name") or source.name
    runtime = options.get("runtime") or "triton" if target == "kserve" else target
    check_packages(target, runtime)
    sizes = _checked(output, target, name, runtime, options)
    manifest = kserve.manifest(name, runtime, options.get("storage_uri")) if target == "kserve" else None
    configuration = ovms.with_model(_content(output / ovms.CONFIG), name) if target == "ovms" else None
    with scratch_folder() as folder:
        file = Path(folder, MODEL)
        onnx_openvino.write_onnx(source, file)
        figures, outputs = onnx_openvino.checked(file, "onnx", expected)
        if runtime == "ovms":
            figures, outputs = onnx_openvino.checked(file, "openvino", expected)
        ends = onnx_openvino.ends(file)
        config = triton.config(name, ends, sizes, not source.features) if runtime == "triton" else None
        version = next_version(output / "models" / name)
        report = {"model": name, "version": int(version.name), **figures, "ends": ends, "versions": _versions(runtime)}
        with _version_folder(version, config, source) as place:
            shutil.copyfile(file, place / MODEL)
            _write_beside(place, source, report, options.get("index"))
            _write_examples(place, expected, outputs, options.get("examples", 4))
    _write_files(output, target, name, {kserve.MANIFEST: manifest, ovms.CONFIG: configuration})
    return version, report


def check_packages(target, runtime):
    """Raise a ModuleNotFoundError if what writes or runs the files is not installed."""
    onnx_openvino.check_packages("onnx")
    if runtime == "ovms":
        importlib.import_module("openvino")


def refuse_other_target(output, target):
    """Raise a ValueError if a folder was written for another target; "tfserving" is that of `serving.bundle`."""
    path = Path(output, REPORT)
    if not path.is_file():
        return
    held = json.loads(path.read_text(encoding="utf-8")).get("target", "tfserving")
    if held != target:
        raise ValueError(f"{output} is a folder for --target {held}. Choose another --output for {target}.")


def _checked(output, target, name, runtime, options):
    """The batch sizes; ValueError for unusable arguments."""
    refuse_other_target(output, target)
    if not NAME.fullmatch(name):
        raise ValueError(f"A served model's name has letters, digits and _ . - only. Received: {name!r}.")
    sizes = tuple(options.get("batch_sizes") or Batching().sizes)
    if list(sizes) != sorted(set(sizes)) or sizes[0] < 1:
        raise ValueError(f"Batch sizes are whole numbers from 1, ascending. Received: {list(sizes)}.")
    if runtime == "tfserving":
        raise ValueError("TF Serving takes a SavedModel, which `serving.bundle` writes; the runtimes here take ONNX.")
    return sizes


def write_manifest(output, name, storage_uri=None):
    """Write KServe's manifest of a model into a folder of `serving.bundle`."""
    with atomic_file(Path(output, kserve.MANIFEST)) as temporary:
        temporary.write_text(kserve.manifest(name, "tfserving", storage_uri), encoding="utf-8")


@contextlib.contextmanager
def _version_folder(version, config, source):
    """Yield the folder to write a version into, which gets its name at the end; for a new model, with its folder.

    Args:
        version: its path.
        config: the content of config.pbtxt, or None where the server has none.
    """
    model = version.parent
    if model.is_dir():
        _require_fitting(model, config, source)
        with atomic_folder(version) as place:
            yield place
        return
    with atomic_folder(model) as temporary:
        place = temporary / version.name
        place.mkdir()
        yield place
        if config is not None:
            (temporary / triton.CONFIG).write_text(config, encoding="utf-8")
            if not source.features:
                (temporary / triton.LABELS).write_text(labels_text(source.labels), encoding="utf-8")


def _require_fitting(model, config, source):
    """Raise a ValueError if the files that a Triton model's versions share are not those of the new version."""
    if config is None:
        return
    ends = re.compile(r"^(?:input |  \{ name:).*$", re.MULTILINE)  # the rest may have been edited
    present, labels = _content(model / triton.CONFIG), _content(model / triton.LABELS)
    if present is None or ends.findall(present) != ends.findall(config):
        raise ValueError(
            f"{model / triton.CONFIG} describes other inputs or outputs than those of the new version: "
            f"{'; '.join(line.strip() for line in ends.findall(config))}. Choose another --name."
        )
    if labels is not None and labels != labels_text(source.labels):
        raise ValueError(f"{model / triton.LABELS} belongs to a model with other classes; choose another --name.")


def _write_beside(place, source, report, index):
    """Write what clients need of a version, and its report."""
    write_labels_and_spec(place, source)
    if index is not None:
        save_embeddings(place / "index.npz", index)
    (place / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _write_examples(place, expected, outputs, number):
    """Copy images, evenly picked, and write the file's outputs for them."""
    picked = np.linspace(0, len(expected.files) - 1, min(number, len(expected.files))).astype(int)
    (place / "examples").mkdir()
    stored = {}
    for count, index in enumerate(picked):
        file = f"{count:02}{Path(expected.files[index]).suffix.lower()}"
        shutil.copyfile(expected.files[index], place / "examples" / file)
        stored[file] = {name: bundle.evenly(np.asarray(values[index])) for name, values in outputs.items()}
    text = json.dumps({"cosine": COSINE, "outputs": stored}) + "\n"
    (place / "examples.json").write_text(text, encoding="utf-8")


def _write_files(output, target, name, contents):
    """Write everything beside the models."""
    reports = _reports(output)
    values = {
        "target": {"triton": "Triton", "ovms": "OpenVINO Model Server", "kserve": "KServe"}[target],
        "command": COMMANDS[target],
        "models": "\n".join(_described(reports)),
        "image": triton.IMAGE if target != "ovms" else ovms.IMAGE,
        "beside": f"\n{textwrap.fill(BESIDE[target], 120, break_on_hyphens=False)}\n",
    }
    contents |= {
        "README.md": Template(README.read_text(encoding="utf-8")).substitute(values),
        "client.py": Path(__file__).with_name("client.py").read_text(encoding="utf-8"),
        images.FILE: images.text(),
        REPORT: json.dumps({"target": target, "models": reports}, indent=2) + "\n",
    }
    for file, content in contents.items():
        if content is not None:
            with atomic_file(output / file) as temporary:
                temporary.write_text(content, encoding="utf-8")


BESIDE = {
    "triton": "`models/NAME/config.pbtxt` has the names and shapes, dynamic batching, the warm-up and which versions "
    "are loaded; it is written once and may be edited. Exporting again adds a version, which a server that was started "
    "with `--model-control-mode=poll` takes up. The folder can be moved.",
    "ovms": "`config.json` names the models; exporting adds to it and keeps other entries. The server takes up new "
    "models and versions by itself.",
    "kserve": f"`{kserve.MANIFEST}` is the service; copy `models/` to where its `storageUri` says (written by "
    "`--storage-uri`). Its name is the model's name in lower case. Set the resources to what your model needs.",
}


def _reports(output):
    """{model: {version: its report}} of all versions in the folder."""
    found = {}
    for path in sorted(output.glob(f"models/*/*/{REPORT}"), key=lambda path: (path.parents[1].name, path.parent.name)):
        if path.parent.name.isdigit():
            found.setdefault(path.parents[1].name, {})[path.parent.name] = json.loads(path.read_text(encoding="utf-8"))
    return {model: dict(sorted(versions.items(), key=lambda entry: int(entry[0]))) for model, versions in found.items()}


def _described(reports):
    """A line of the README per model, with its ends."""

    def shapes(ends):
        return ", ".join(f"`{name}` ({', '.join(['B', *map(str, shape[1:])])})" for name, shape in ends.items())

    for model, versions in reports.items():
        newest, report = list(versions.items())[-1]
        ends = report["ends"]
        yield (
            f"- `{model}`, version{'s' * (len(versions) > 1)} {', '.join(versions)}: {shapes(ends['inputs'])} -> "
            f"{shapes(ends['outputs'])}. Version {newest}: {parity.describe(report)}."
        )


def _content(path):
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _versions(runtime):
    from importlib import metadata

    packages = (*onnx_openvino.PACKAGES["onnx"], *(["openvino"] if runtime == "ovms" else []))
    return {**parity.versions(), **{package: metadata.version(package) for package in packages}}
