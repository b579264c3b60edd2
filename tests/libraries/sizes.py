"""Models of timm that ran on images of many sizes, as `timm_sizes.py` made them, read by keras_vit:  sizes.py ROOT

One model of any size per case, in a TensorFlow graph that does not know the sizes. Prints a line per case; exit status
1 if one falls short. Outputs and features agree within 1e-5 of their standard deviation, or five times what timm itself
loses to float32, where that is more.
"""

import dataclasses
import json
import pathlib
import sys

import numpy as np

from tests.libraries.random_models import images

TOLERANCE = 1e-5  # of the outputs' standard deviation


def open_case(folder, entries, **options):
    """(the model of a case, how many blocks each of its stages has whose map timm gives, or None without stages)."""
    from keras_vit.models.create import variant_of
    from keras_vit.models.family import Variant
    from keras_vit.sources.library_folder import open_folder

    opened = open_folder(folder / "model")
    variant, _ = variant_of(opened)
    config = variant.config
    if entries["pad_first"]:
        variant = Variant("Swin", variant.family, dataclasses.replace(config, pad_first=True))
    model = variant(weights=str(opened.weights), classifier_activation=None, **options)
    staged = hasattr(config, "depths") and not hasattr(config, "encoder")
    depths = config.depths if staged else None
    if getattr(config, "parallel_depth", 0):  # behind which timm takes all maps but the first
        depths = depths[:1]
    return model, depths


def compiled(model):
    """A TensorFlow graph of a model for images of unknown sizes."""
    import tensorflow as tf

    signature = [tf.TensorSpec([None, None, None, model.inputs[0].shape[-1]], "float32")]
    return tf.function(lambda x: model(x, training=False), input_signature=signature)


def difference(made, expected):
    """Largest difference, in standard deviations of what is expected."""
    if made.shape != expected.shape:
        return float("inf")
    return float(np.abs(made.astype("float64") - expected).max() / expected.std())


def compare_outputs(folder, entries, record):
    """The difference of each size, in units of what is allowed: at most 1 where it agrees."""
    any_size, classes = {"input_shape": (None, None, 3), "native_size": tuple(entries["native"])}, record[
        "output0"
    ].shape[1]
    padding = compiled(open_case(folder, entries, classes=classes, dynamic_img_pad=True, **any_size)[0])
    plain = compiled(open_case(folder, entries, classes=classes, **any_size)[0])
    found = []
    for i, (size, own) in enumerate(zip(entries["sizes"], entries["float32_errors"])):
        pixels, expected = images((2, *size, 3)), record[f"output{i}"]
        aligned = not any(side % entries["multiple"] for side in size)
        models = [model for model, suits in ((padding, entries["pads"]), (plain, aligned)) if suits]
        worst = max(difference(model(pixels).numpy(), expected) for model in models)
        found.append(worst / max(TOLERANCE, 5 * own))
    return found


def compare_features(folder, entries, record):
    """The same of what each block returns, for images of one size, without and with the last norm."""
    import keras_vit

    options = {"input_shape": (None, None, 3), "native_size": tuple(entries["native"])}
    options["dynamic_img_pad"] = entries["pads"]
    model, depths = open_case(folder, entries, include_top=False, **options)
    size = entries["sizes"][entries["looked_at"]]
    found = []
    count = sum(name.startswith("features") and "norm" not in name for name in record)
    blocks = list(range(count)) if depths is None else [int(n) - 1 for n in np.cumsum(depths)]
    tokens = "tokens0" in record
    for norm in (False, True):
        if norm and depths is not None:
            continue  # of the last stage alone, and not in all of timm's
        features = keras_vit.intermediate_features(model, blocks=blocks, norm=norm, maps=True, class_token=tokens)
        for i, made in enumerate(compiled(features)(images((2, *size, 3)))):
            pairs = zip(("features", "tokens"), made) if tokens else [("features", made)]
            for kind, array in pairs:
                name = f"{kind}{i}{'_norm' * norm}"
                expected = record[name] if kind == "features" else record[name][:, 0]
                found.append(difference(array.numpy(), expected) / max(TOLERANCE, 5 * entries["feature_errors"][name]))
    return found


def compare_patches(folder, entries, record):
    """The same of the output of the model with patches of another size."""
    made = entries["patched"]
    options = {"input_shape": (None, None, 3), "native_size": tuple(made["native"]), "patch_size": made["patch_size"]}
    model, _ = open_case(folder, entries, classes=record["patched"].shape[1], **options)
    output = compiled(model)(images((2, *made["size"], 3))).numpy()
    return [difference(output, record["patched"]) / max(TOLERANCE, 5 * made["float32_error"])]


KINDS = {"outputs": compare_outputs, "features": compare_features, "patched": compare_patches}


def main(root, *kinds):
    """Compare all cases below a folder; whether all passed."""
    passed = count = 0
    for folder in sorted(path.parent for path in pathlib.Path(root).glob("*/record.json")):
        entries = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        record = dict(np.load(folder / "record.npz"))
        for kind, function in KINDS.items():
            if kind not in (kinds or KINDS) or kind == "patched" and kind not in entries:
                continue
            count += 1
            try:
                found = function(folder, entries, record)
                verdict = "" if max(found) <= 1 else "   <-- FAILED"
                numbers = " ".join(f"{share:.2f}" for share in found)
                print(f"{folder.name}, {kind}: {numbers} of what is allowed{verdict}", flush=True)
                passed += max(found) <= 1
            except Exception as error:  # also of TensorFlow: the other cases shall be read
                print(f"{folder.name}, {kind}: {str(error)[:2000]}   <-- FAILED", flush=True)
    print(f"{passed} of {count} agree.")
    return passed == count > 0


if __name__ == "__main__":
    sys.exit(not main(*sys.argv[1:]))
