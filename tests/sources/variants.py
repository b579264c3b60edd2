"""What is derived from the variants of the families:  python -m tests.sources.variants [--write]

keras_vit/sources/variants.csv     the table that `keras-vit list` and `info` read without importing Keras
keras_vit/models/__init__.pyi      the names of keras_vit.models, for editors and type checkers

Without --write it says which of the two is out of date.
"""

import csv
import io
import pathlib
import sys

from keras_vit import models

ROOT = pathlib.Path(__file__).parents[2] / "keras_vit"
FIELDS = ("name", "family", "paper", "alias", "parameters", "config")


def table():
    """The text of variants.csv."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FIELDS)
    for variant in models.VARIANTS.values():
        family = variant.family
        writer.writerow((variant.name, family.name, family.paper, variant.alias, variant.parameters, variant.config))
    return file.getvalue()


def stub():
    """The text of models/__init__.pyi: each name imported from the file that defines it."""
    modules = sorted((m for m in vars(models).values() if hasattr(m, "preprocess_input")), key=lambda m: m.__name__)
    names = [module.__name__.rpartition(".")[2] for module in modules]
    lines = [
        "# Written by python -m tests.sources.variants --write, in the order of the papers' tables.",
        "# isort: skip_file",
        "",
    ]
    lines += [f"from keras_vit.models import {name} as {name}" for name in names]
    lines.append("from keras_vit.models.family import Variant as Variant")
    for module in modules:
        own = (name for name, value in vars(module).items() if value is models.VARIANTS.get(name))
        lines += [f"from {module.__name__} import {name} as {name}" for name in own]
    lines += ["", "FAMILIES: tuple[tuple[Variant, ...], ...]", "VARIANTS: dict[str, Variant]"]
    return "\n".join(lines) + "\n"


FILES = {ROOT / "sources" / "variants.csv": table, ROOT / "models" / "__init__.pyi": stub}


def main(arguments):
    outdated = [path for path, text in FILES.items() if not path.is_file() or path.read_text() != text()]
    for path in outdated:
        if arguments == ["--write"]:
            path.write_text(FILES[path]())
        print(f"{'wrote' if arguments == ['--write'] else 'out of date:'} {path.relative_to(ROOT.parent)}")
    return int(bool(outdated) and arguments != ["--write"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
