"""Every inference_service.yaml below a folder, read by KServe's SDK:

    .venv-kserve/bin/python tests/export/kserve_manifests.py FOLDER

Each object becomes a model of the SDK, or of Kubernetes' client for the fields that are Kubernetes' own; names, types
and required fields are theirs. (Their own reader does not do: KServe 0.21 writes types otherwise than kubernetes 37.)
Imports nothing of this library (`make test-servers`).
"""

import re
import sys
from pathlib import Path

import kserve.models
import kubernetes.client.models
import yaml

KINDS = {"InferenceService": "V1beta1InferenceService", "ServingRuntime": "V1alpha1ServingRuntime"}
PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "object": object}


def read(value, kind, place):
    """A value as an object of the SDK; ValueError, naming the place, for what it does not know.

    Args:
        value: of the document.
        kind: as the models state it: "str", "list[V1Container]", "Dict[str, str]", "V1beta1ModelSpec".
        place: of the value, in words.
    """
    if found := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        return [read(one, found[1], f"{place}[{number}]") for number, one in enumerate(expected(value, list, place))]
    if found := re.fullmatch(r"[Dd]ict[\[(]str, (.*)[\])]", kind):
        return {name: read(one, found[1], f"{place}.{name}") for name, one in expected(value, dict, place).items()}
    if kind in PLAIN:
        return expected(value, PLAIN[kind], place)
    model = getattr(kserve.models, kind, None) or getattr(kubernetes.client.models, kind)
    names = {key: name for name, key in model.attribute_map.items()}
    unknown = sorted(set(expected(value, dict, place)) - set(names))
    if unknown:
        raise ValueError(f"{place} has no {', '.join(unknown)}")
    fields = {names[key]: read(one, model.openapi_types[names[key]], f"{place}.{key}") for key, one in value.items()}
    return model(**fields)  # which raises a ValueError for what is required and absent


def expected(value, kind, place):
    """The value, if it is of a Python type."""
    if not isinstance(value, kind):
        raise ValueError(f"{place} is {value!r}")
    return value


def main(folder):
    """Print a line per document; 1 if one of them is refused or there is none."""
    wrong = seen = 0
    for path in sorted(Path(folder).rglob("inference_service.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            seen += 1
            try:
                kind = document["kind"]
                read(document, KINDS[kind], kind)
                line = f"ok   {path.relative_to(folder)}: {kind} {document['metadata']['name']}"
            except (KeyError, ValueError) as error:
                wrong, line = wrong + 1, f"FAIL {path.relative_to(folder)}: {error}"
            print(line, flush=True)
    return 1 if wrong or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
