"""Packs cases of these scripts into tests/golden/libraries.zip:  python -m tests.libraries.golden ROOT ...

Of each case in CASES the smallest that any of the roots has, so that the file stays small; how the roots are made:

    .venv-libraries/bin/python tests/libraries/transformers_models.py build/libraries/t1 1       # and with other seeds
    .venv-libraries/bin/python tests/libraries/timm_models.py build/libraries/m1 1
    TF_USE_LEGACY_KERAS=1 .venv-tf457/bin/python tests/libraries/tensorflow_models.py build/libraries/k1 1
"""

import pathlib
import sys
import zipfile

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "libraries.zip"
CASES = (
    *("ViTForImageClassification", "ViTModel", "ViTMAEForPreTraining"),
    *("DeiTForImageClassification", "DeiTForImageClassificationWithTeacher", "SwinForImageClassification"),
    *("ConvNextForImageClassification", "PvtForImageClassification", "PvtV2ForImageClassification"),
    *("Dinov2ForImageClassification", "Dinov2WithRegistersForImageClassification"),
    *("vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
    *("TFViTForImageClassification", "TFDeiTForImageClassificationWithTeacher"),
    *("TFSwinForImageClassification", "TFConvNextForImageClassification"),
)
WITHOUT_PHOTO = ("ViTModel",)  # cases whose preprocessing is not recorded


def size(folder):
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def chosen(roots, case):
    """The smallest folder of a case, of those with a photo where the case is to have one."""
    found = [root / case for root in roots if (root / case / "record.json").is_file()]
    wanted = [folder for folder in found if (folder / "model" / "preprocessor_config.json").is_file()]
    return min(found if case.startswith(WITHOUT_PHOTO) else wanted or found, key=size)


def main(*roots):
    """Write the archive."""
    roots = [pathlib.Path(root) for root in roots]
    with zipfile.ZipFile(GOLDEN, "w", zipfile.ZIP_DEFLATED) as archive:
        for case in CASES:
            folder = chosen(roots, case)
            for path in sorted(folder.rglob("*")):
                if path.is_file():
                    archive.write(path, pathlib.Path(case) / path.relative_to(folder))
            print(f"{case}: {folder}, {size(folder):,} bytes")
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
