"""The files that every folder of artifacts has beside them, and how such a folder is written."""

import contextlib
import dataclasses
import shutil

from keras_vit.sources.answers import ANSWERS
from keras_vit.sources.run_folder import LABELS, SPEC
from keras_vit.system.files import atomic_file

REPORT = "report.json"


def labels_text(labels):
    """The content of labels.txt: one name per line, in the order of the outputs."""
    return "".join(f"{label}\n" for label in labels)


def write_labels_and_spec(folder, source):
    """Write preprocessing.json and, of a classifier, labels.txt and, where it has any entry, answers.json.

    Args:
        folder: to write into.
        source: an `ExportedModel`.

    Returns:
        Their paths.
    """
    labels, spec, answers = folder / LABELS, folder / SPEC, folder / ANSWERS
    dataclasses.replace(source.spec, input_values=None).save(spec)  # every artifact takes pixels
    if source.features:
        return [spec]
    labels.write_text(labels_text(source.labels), encoding="utf-8")
    if not source.answers.entries():
        return [labels, spec]
    source.answers.save(answers)
    return [labels, spec, answers]


def size_in_name(spec):
    """The image size in a file's name: "224", or "192x256" where height and width differ."""
    return spec.size_name


def publish(paths, output, below=None):
    """Copy files into a folder: all are written completely before the first gets its name.

    An answers.json that is there goes if these have none: the model has one label per image and no score now.

    Args:
        paths: the files.
        output: the folder.
        below: the folder that they lie in, in which some have folders of their own; by default all go to `output`.
    """
    with contextlib.ExitStack() as stack:
        for path in paths:
            name = path.relative_to(below) if below else path.name
            shutil.copyfile(path, stack.enter_context(atomic_file(output / name)))
    if ANSWERS not in {path.name for path in paths}:
        (output / ANSWERS).unlink(missing_ok=True)
