"""Writes the folder of the page.

    DIR/index.html, classify.js, model.js, prepare.js, page.css     the page
    DIR/<name>_<size>_<quantization>.tflite, labels.txt, preprocessing.json, answers.json     what it reads
    DIR/litert/     LiteRT.js, unless the page loads it from a CDN
    DIR/report.json, README.md

The .tflite file is made and checked as those for the edge are, and `keras-vit predict` takes it too. All files
appear together, after every check.
"""

import base64
import hashlib
import html
import json
import shutil
import textwrap
from pathlib import Path
from string import Template

from keras_vit.export.edge import tflite, tolerance
from keras_vit.export.edge.quantizations import MAX_LOSS, WEB
from keras_vit.export.model.files import REPORT, publish
from keras_vit.export.web import runtime as runtimes
from keras_vit.sources.answers import ANSWERS
from keras_vit.sources.run_folder import LABELS, SPEC
from keras_vit.system.files import scratch_folder

HERE = Path(__file__).parent
INDEX, README = "index.html", "README.md"
PAGE = ("classify.js", "model.js", "prepare.js", "page.css")  # copied as they are
FORMAT = "web"  # in report.json


def convert(
    source, output, quantization=WEB[0], litert_js=None, expected=None, calibrated=None, max_loss=MAX_LOSS, force=False
):
    """Convert a model, check the file, and write it with the page that runs it.

    Args:
        source: an `ExportedModel`.
        output: a folder; it may hold an earlier page of the same model.
        quantization: of `edge.quantizations.WEB`.
        litert_js: the npm package @litertjs/core, as `runtime.from_folder` takes it, to be copied; None for a page that
            loads it from a CDN.
        expected, calibrated, max_loss, force: as `edge.tflite.convert`.

    Returns:
        The report, also written as report.json.

    Raises:
        ValueError: as `edge.tflite.convert`; if the package is not what it should be; if the folder holds something
            else.
    """
    output = Path(output)
    if quantization not in WEB:
        raise ValueError(f"Quantizations of a page's file are {', '.join(WEB)}. Received: {quantization}.")
    runtime = runtimes.from_folder(litert_js) if litert_js else runtimes.from_cdn()
    before = tflite.check_folder(output, source.name, FORMAT)
    with scratch_folder() as folder:
        report = tflite.convert(source, folder, (quantization,), expected, calibrated, max_loss, force)
        report |= {"format": FORMAT, "litert_js": {"version": runtime.version, "wasm": runtime.wasm}}
        (folder / REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        [entry] = report["files"]
        names = [entry["file"], LABELS, SPEC, REPORT, INDEX, README, *PAGE]
        names += [ANSWERS] if source.answers.entries() else []
        names += _write_page(folder, source, entry, runtime)
        publish([folder / name for name in names], output, folder)
    for file in {Path(one["file"]).name for one in before.get("files", ())} - {entry["file"]}:
        (output / file).unlink(missing_ok=True)  # of another quantization or size: the page has one
    return report


def _write_page(folder, source, entry, runtime):
    """Write the page and its README into the folder; returns the names of the runtime's files there."""
    for name in PAGE:
        shutil.copyfile(HERE / "www" / name, folder / name)
    imports = json.dumps({"imports": runtime.imports})
    values = {
        "name": source.name,
        "file": entry["file"],
        "bytes": entry["size_bytes"],
        "answers": ANSWERS if source.answers.entries() else "",
        "wasm": runtime.wasm,
        "policy": policy(imports, runtime),
    }
    escaped = {name: html.escape(str(value)) for name, value in values.items()}
    index = Template((HERE / "www" / INDEX).read_text(encoding="utf-8"))
    (folder / INDEX).write_text(index.substitute(escaped, imports=imports), encoding="utf-8")
    (folder / README).write_text(_readme(source, entry, runtime), encoding="utf-8")
    for name, path in runtime.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / name)
    return list(runtime.files)


def policy(imports, runtime):
    """The page's Content-Security-Policy: it may load from its own folder's server, and LiteRT.js; nothing else.

    Args:
        imports: the text of the import map, which stands in the page.
    """
    mapped = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    cdn = "" if runtime.local else f" {runtimes.CDN}"
    rules = {
        "default-src": "'none'",
        "script-src": f"'self' 'wasm-unsafe-eval' 'sha256-{mapped}'{cdn}",
        "connect-src": f"'self'{cdn}",
        "style-src": "'self'",
        "img-src": "'self' blob: data:",
        "worker-src": "'self' blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _readme(source, entry, runtime):
    """The text of README.md."""
    height, width = source.spec.size
    wasm = sum(path.stat().st_size for path in runtime.files.values()) / 1e6
    needs = (
        f"`{runtimes.FOLDER}/` is LiteRT.js {runtime.version} ({wasm:.0f} MB on the server, about 10 MB of it for a "
        "visitor): the page needs no other server. It is Google's, under the Apache License 2.0 "
        "(<https://www.apache.org/licenses/LICENSE-2.0>), and unchanged."
        if runtime.local
        else f"**The page loads LiteRT.js {runtime.version} (about 10 MB) from {runtimes.CDN}** and does not work "
        "without the internet. That server sees the visitors' addresses, and its scripts are trusted. To serve the "
        f"runtime from this folder instead, `npm install {runtimes.PACKAGE}@{runtimes.VERSION}`, and convert again "
        "with `--litert-js node_modules/@litertjs/core`."
    )
    return Template((HERE / "WEB.md").read_text(encoding="utf-8")).substitute(
        name=source.name,
        file=entry["file"],
        size=f"{entry['size_bytes'] / 1e6:.2f}",
        figures=f"quantization {entry['quant']}: {tolerance.describe(entry, entry['limits'])}",
        pixels=f"{height} x {width}",
        classes=len(source.labels),
        runtime=_wrapped(needs),
        answers=_answers(source.answers),
    )


def _answers(answers):
    """What answers.json means for the page; "" where there is none."""
    said = []
    if answers.multi_label:
        said.append("An image may have several labels, or none: those that reach their `thresholds` in `answers.json`.")
    if answers.unknown:
        said.append(
            f"An image whose score is below {answers.unknown['threshold']:g} (`unknown` in `answers.json`) is shown as "
            f"unknown: {100 * answers.unknown['kept']:g} % of the validation images are not."
        )
    return f"\n{_wrapped(' '.join(said))}\n" if said else ""


def _wrapped(text):
    return textwrap.fill(text, 120, break_on_hyphens=False, break_long_words=False)
