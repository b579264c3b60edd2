"""Every manifest in pages and files against Kubernetes' published schemas, and Kubeflow's published models:

    .venv-kubernetes/bin/python tests/export/kubernetes_manifests.py docs/training.md build/kubernetes/kubernetes.yaml

A page's manifests are its YAML blocks with apiVersion and kind. Fields that the schema does not know are errors.
Imports nothing of this library (`make test-kubernetes`).
"""

import re
import sys
from pathlib import Path

import kubernetes_validate
import yaml
from kubeflow_trainer_api import models

BLOCK = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def manifests(path):
    """The documents of a file that are manifests."""
    text = path.read_text(encoding="utf-8")
    parts = BLOCK.findall(text) if path.suffix == ".md" else [text]
    documents = [document for part in parts for document in yaml.safe_load_all(part)]
    return [one for one in documents if isinstance(one, dict) and {"apiVersion", "kind"} <= set(one)]


def check(manifest):
    """Raise an error unless the schema of the manifest's kind, of the newest version there is, describes it."""
    if manifest["apiVersion"].startswith("trainer.kubeflow.org/"):
        version = manifest["apiVersion"].partition("/")[2].capitalize()
        read = getattr(models, f"Trainer{version}{manifest['kind']}").from_dict(manifest).to_dict()
        lost = different(manifest, read)
        if lost:
            raise ValueError(f"Kubeflow's models do not know {', '.join(lost)}")
        return
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def different(one, other, place=""):
    """Places of entries of a document that another one does not have."""
    if isinstance(one, dict) and isinstance(other, dict):
        return [lost for key in one for lost in different(one[key], other.get(key), f"{place}/{key}")]
    return [] if one == other else [place]


def refused(manifest, path, value):
    """The manifest with another value at a path of keys is refused: what checks it can fail."""
    *keys, last = path
    changed = yaml.safe_load(yaml.safe_dump(manifest))
    inner = changed
    for key in keys:
        inner = inner[key]
    inner[last] = value
    try:
        check(changed)
    except Exception:
        return
    raise ValueError(f"{manifest['kind']}: {last}: {value!r} was not refused")


def main(paths):
    found = {}
    for path in paths:
        for manifest in manifests(Path(path)):
            check(manifest)
            refused(manifest, ["spec", "noSuchField"], 1)
            found.setdefault(path, []).append(manifest["kind"])
        print(f"{path}: {', '.join(found.get(path, ['nothing']))}")
    missing = [path for path in paths if path not in found]
    if missing:
        raise ValueError(f"There is no manifest in {', '.join(missing)}.")
    print(f"By the schemas of Kubernetes {kubernetes_validate.latest_version()} and the models of Kubeflow's trainer.")


if __name__ == "__main__":
    main(sys.argv[1:])
