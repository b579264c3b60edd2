"""Models of keras_vit written for other libraries, and what these make of them, in three steps:

    python -m tests.libraries.writing write ROOT        folders of random models of every family, ROOT/CASE/LIBRARY
    python tests/libraries/loading.py ROOT              in the libraries' environment: they load each, strictly
    python -m tests.libraries.writing check ROOT        their logits and prepared images beside those of keras_vit

Logits agree within 1e-5 of their standard deviation, or five times what the library itself loses to float32; what a
folder gives when it is read here is equal to the bit. Gradients of all weights, in float32, are held to timm's in
float64: the difference, relative to the norm of each weight's, is at most 1e-4.
Exit status 1 if a case falls short.
"""

import dataclasses
import json
import math
import pathlib
import sys
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from keras_vit.export.interchange import library_folder
from keras_vit.export.model.source import ExportedModel
from keras_vit.models import coat, convnext, deit, dinov2, hybrid, pvt, pvt_v2, swin, tnt, vit
from keras_vit.models.config_fields import UnsupportedModelError
from keras_vit.models.create import create_from_folder
from keras_vit.models.family import Variant
from keras_vit.preprocessing import Spec, as_taken
from keras_vit.preprocessing.resizing import resize_array
from keras_vit.sources.resolve import resolve
from tests.libraries.random_models import Draw, photo
from tests.libraries.reading import PIXEL, TOLERANCE

LIBRARIES = ("timm", "transformers")
BOTH, TIMM, TRANSFORMERS = LIBRARIES, LIBRARIES[:1], LIBRARIES[1:]
ROUNDS = 2  # random configurations of each family
GRADIENTS = 1e-4  # of the norm of a weight's gradient
MEAN = 0.1  # of 255, of all pixels of an image of few, where two resizers round differently


def _encoder(draw, **more):
    heads = draw.whole(2, 4)
    return {
        "embed_dim": heads * 8 * draw.whole(1, 2),
        "depth": draw.whole(1, 3),
        "num_heads": heads,
        "patch_size": draw.one(4, 7, 8),
        **more,
    }


def _pyramid(draw, stages=4):
    heads = tuple(draw.one(1, 2, 3) for _ in range(stages))
    return {
        "depths": tuple(draw.whole(1, 2) for _ in range(stages)),
        "embed_dims": tuple(8 * number for number in heads),
        "num_heads": heads,
        "mlp_ratios": tuple(draw.whole(1, 3) for _ in range(stages)),
    }


def _swin(draw):
    stages = draw.whole(2, 4)
    config = swin.Config(
        24, tuple(draw.whole(1, 3) for _ in range(stages)), (2, 3, 4, 6)[:stages], draw.one(2, 3), draw.one(2, 4), 2.0
    )
    side = config.patch_size * config.window_size * 2 ** (stages - 1) * draw.whole(1, 2)
    return swin.SWIN, config, (side, side)


def _small_swin(draw):
    """Windows larger than the maps of the last stages, as of the quickstart's digits."""
    return swin.SWIN, swin.Config(24, (1, 2, 1), (2, 3, 4), 4, 1, 2.0), (8, 10)


def _sized(draw, config, square=False):
    rows, columns = draw.whole(2, 6), draw.whole(2, 6)
    return config.patch_size * rows, config.patch_size * (rows if square else columns)


def _vit(family, square=False, **more):
    def make(draw):
        config = vit.Config(**_encoder(draw, mlp_ratio=draw.one(2.0, 3.5, 4.0), **more))
        return family, config, _sized(draw, config, square)

    return make


def _dinov2(pool, registers=0, mlp="gelu"):
    def make(draw):
        config = dinov2.Config(**_encoder(draw), mlp=mlp, registers=registers, pool=pool)
        square = pool == "token_and_mean"  # transformers has no table of other grids
        return (dinov2.DINOV2_REGISTERS if registers else dinov2.DINOV2), config, _sized(draw, config, square)

    return make


def _convnext(layer_scale):
    def make(draw):
        dims = tuple(8 * draw.whole(1, 4) for _ in range(4))
        config = convnext.Config(tuple(draw.whole(1, 2) for _ in range(4)), dims, 4, layer_scale)
        return convnext.CONVNEXT, config, (32 * draw.whole(1, 3), 32 * draw.whole(1, 3))

    return make


def _pvt(draw):
    config = pvt.Config(**_pyramid(draw), sr_ratios=(4, 2, 2, 1), patch_epsilon=1e-6)
    return pvt.PVT, config, (64, 64)


def _pvt_v2(linear, **more):
    def make(draw):
        ratios = None if linear else (4, 2, 2, 1)
        return pvt_v2.PVT_V2, pvt_v2.Config(**_pyramid(draw), sr_ratios=ratios, **more), (64, 96)

    return make


def _published(variant, size):
    return lambda draw: (variant.family, variant.config, size)


ONE_EPSILON = ("pvt_v2", "pvt_v2_linear")  # timm's have two, of which transformers takes one: said, and not limited

CASES = {  # name: (the libraries that have it, function of a `Draw` -> family, Config, (H, W))
    "vit": (BOTH, _vit(vit.VIT)),
    "vit_no_bias": (BOTH, _vit(vit.VIT, qkv_bias=False, activation="gelu_tanh")),
    "deit": (BOTH, _vit(deit.DEIT)),
    "deit_distilled": (BOTH, _vit(deit.DEIT_DISTILLED)),
    "deit_one_head": (TRANSFORMERS, _vit(deit.DEIT_ONE_HEAD)),
    "deit3": (TIMM, _vit(deit.DEIT3)),
    "dinov2_token": (TIMM, _dinov2("token")),
    "dinov2_token_registers": (TIMM, _dinov2("token", registers=3)),
    "dinov2_token_swiglu": (TIMM, _dinov2("token", mlp="swiglu")),
    "dinov2_mean": (TRANSFORMERS, _dinov2("token_and_mean")),
    "dinov2_mean_registers": (TRANSFORMERS, _dinov2("token_and_mean", registers=3)),
    "dinov2_mean_swiglu": (TRANSFORMERS, _dinov2("token_and_mean", registers=2, mlp="swiglu")),
    "swin": (BOTH, _swin),
    "swin_small_maps": (TIMM, _small_swin),
    "convnext": (BOTH, _convnext(True)),
    "convnext_no_scale": (TRANSFORMERS, _convnext(False)),
    "pvt": (TRANSFORMERS, _pvt),
    "pvt_v2": (BOTH, _pvt_v2(linear=False)),
    "pvt_v2_one_epsilon": (TRANSFORMERS, _pvt_v2(linear=False, patch_epsilon=1e-6)),
    "pvt_v2_linear": (BOTH, _pvt_v2(linear=True)),
    "tnt": (TIMM, _published(tnt.TNTS, (64, 80))),
    "tnt_legacy": (TIMM, _published(tnt.TNTSLegacy, (64, 80))),
    "coat": (TIMM, _published(coat.CoaTTiny, (64, 96))),
    "coat_lite": (TIMM, _published(coat.CoaTLiteTiny, (64, 96))),
    "hybrid": (TIMM, _published(hybrid.ViTR26S32, (64, 96))),
    "hybrid_stem": (TIMM, _published(hybrid.ViTRTi16, (64, 96))),
}


def build(case, seed):
    """The `ExportedModel` of a case: random sizes, weights, labels and preprocessing."""
    draw = Draw(seed, case)
    family, config, size = CASES[case][1](draw)
    labels = tuple(draw.labels().values())
    variant = Variant("Case", family, config)
    model = variant(weights=None, input_shape=(*size, 3), classes=len(labels), classifier_activation=None)
    for variable in model.weights:
        variable.assign(_array(draw, variable.path, tuple(variable.shape)))
    mean, std = draw.random.uniform(0.3, 0.6, 3).round(3), draw.random.uniform(0.2, 0.5, 3).round(3)
    spec = Spec(
        size, mean, std, draw.one(1.0, 0.875, 0.9), draw.one("center", "squash"), draw.one("bicubic", "bilinear")
    )
    if size[0] != size[1]:  # the one way that both libraries have
        spec = dataclasses.replace(spec, crop_mode="squash", crop_pct=1.0)
    elif spec.crop_pct < 1:  # an even surplus, whose half needs no rounding
        spec = dataclasses.replace(spec, crop_pct=size[0] / (size[0] + 2 * draw.whole(1, 4)))
    return ExportedModel(model, spec, labels, case, input_values="normalized")


def _array(draw, path, shape):
    noise = draw.random.standard_normal(shape)
    if path.endswith("gamma"):
        return 1 + 0.3 * noise
    fan_in = np.prod(shape[:-1]) if path.endswith("kernel") else 1
    depthwise = path.endswith("kernel") and len(shape) == 4 and shape[-1] == 1
    return 1.2 * noise / np.sqrt(fan_in / (shape[2] if depthwise else 1)) if path.endswith("kernel") else 0.3 * noise


def write(root, seed):
    """Write the folders of all cases, and beside each what is to come out."""
    for case, (libraries, _) in CASES.items():
        for number in range(
            1 if case in ("tnt", "tnt_legacy", "coat", "coat_lite", "hybrid", "hybrid_stem") else ROUNDS
        ):
            source = build(case, seed + number)
            folder = pathlib.Path(root, f"{case}_{number}")
            for library in LIBRARIES:
                if library in libraries:
                    library_folder.write(source, library, folder / library)
                else:
                    _require_refusal(source, library, folder / library)
            image = photo(source.spec.size[0] + 61, source.spec.size[1] + 40)
            exact = photo(*_resized(source.spec))
            np.savez(folder / "photos.npz", larger=image, exact=exact)
            pixels = as_taken(resize_array(exact, source.spec), source.spec, "normalized")
            np.savez(folder / "own.npz", exact=_logits(source.model, pixels))
            (folder / "labels.json").write_text(json.dumps(source.labels, ensure_ascii=False), encoding="utf-8")
            (folder / "spec.json").write_text(json.dumps(source.spec.to_json()))
            print(f"{folder}: {', '.join(libraries)}", flush=True)


def _resized(spec):
    """(H, W) of an image before it is cropped."""
    return tuple(math.floor(side / spec.crop_pct) for side in spec.size)


def _logits(model, pixels):
    return keras.ops.convert_to_numpy(model(pixels[None], training=False)).astype("float64")[0]


def _facts(spec):
    """What a preprocessing is, however its crop is written down."""
    return dataclasses.replace(spec, crop_pct=1.0, crop_rounding=None), _resized(spec)


def _require_refusal(source, library, folder):
    try:
        library_folder.write(source, library, folder)
    except (ValueError, UnsupportedModelError):
        return
    raise AssertionError(f"{source.name} was written for {library}, which has no such model")


@dataclass(frozen=True)
class Loaded:
    """What was found of a folder."""

    case: str
    difference: float  # of the logits that the folder gives here, of images that the library prepared, in their std
    own: float  # the same of the library itself, in float32
    through: float  # of the model that was written, of an image that nobody resizes, prepared by either side
    largest: float  # difference of a resized photograph's pixels, in 255ths
    mean: float
    labels: bool
    spec: bool  # whether the folder states the same preprocessing
    exact: bool = True  # whether the library can say all of the model
    gradients: float = 0.0  # largest difference, of the norm of a weight's; of timm's alone
    own_gradients: float = 0.0  # the same of timm itself, in float32

    @property
    def passed(self):
        limit = max(TOLERANCE, 5 * self.own)
        near = self.largest <= PIXEL and self.mean <= MEAN
        return (
            self.difference <= limit
            and (self.through <= limit or not self.exact)
            and near
            and self.labels
            and self.spec
            and self.gradients <= GRADIENTS
        )

    def __str__(self):
        facts = "" if self.labels and self.spec else f", labels {self.labels}, preprocessing {self.spec}"
        facts += "" if self.exact else ", which has one epsilon for two"
        facts += f", gradients {self.gradients:.1e} (its own {self.own_gradients:.1e})" if self.gradients else ""
        return (
            f"{self.case}: {self.difference:.1e}, through both preprocessings {self.through:.1e} (its own "
            f"{self.own:.1e}), pixels {self.largest:.2f} at most, {self.mean:.4f} on average{facts}"
            f"{'' if self.passed else '   <-- FAILED'}"
        )


def compare(folder, library):
    """The `Loaded` of ROOT/CASE/LIBRARY."""
    photos, theirs = np.load(folder / "photos.npz"), np.load(folder / f"{library}.npz")
    spec = Spec.from_json(json.loads((folder / "spec.json").read_text()))
    found = resolve(folder / library)
    model = create_from_folder(folder / library, classifier_activation=None)

    exact = np.load(folder / "own.npz")["exact"]
    expected = {name: theirs[f"{name}_logits"] for name in photos}
    scale = np.std([*expected.values()])
    stated = found.spec()  # a library may round the place of a crop otherwise
    off = np.abs(as_taken(resize_array(photos["larger"], stated), stated, "normalized") - theirs["larger_pixels"])
    off *= np.array(spec.std) * 255
    return Loaded(
        f"{folder.name} ({library})",
        max(float(np.abs(_logits(model, theirs[f"{name}_pixels"]) - expected[name]).max() / scale) for name in photos),
        float(theirs["float32_error"]),
        float(np.abs(exact - expected["exact"]).max() / scale),
        float(off.max()),
        float(off.mean()),
        found.labels() == tuple(json.loads((folder / "labels.json").read_text(encoding="utf-8"))),
        _facts(stated) == _facts(spec),
        library != "transformers" or folder.name.rpartition("_")[0] not in ONE_EPSILON,
        **_gradients(model, folder / library, theirs),
    )


def _gradients(model, folder, theirs):
    """The fields of `Loaded` on gradients; none of libraries that wrote none."""
    if "gradient_error" not in theirs:
        return {}
    with tf.GradientTape() as tape:
        logit = model(theirs["exact_pixels"][None], training=False)[0, 1]
    ours = tape.gradient(logit, [variable.value for variable in model.trainable_variables])
    stored = {one.path: one.numpy() for one in create_from_folder(folder / "gradients").trainable_variables}
    expected = [stored[variable.path] for variable in model.trainable_variables]
    least = 1e-3 * max(map(np.linalg.norm, expected))
    differences = [
        np.linalg.norm(one - other) / max(np.linalg.norm(other), least) for one, other in zip(ours, expected)
    ]
    return {"gradients": float(max(differences)), "own_gradients": float(theirs["gradient_error"])}


def check(root):
    """Compare all folders; whether all passed."""
    results = []
    for path in sorted(pathlib.Path(root).glob("*/*/config.json")):
        folder, library = path.parent.parent, path.parent.name
        results.append((folder / f"{library}.npz").is_file() and compare(folder, library))
        print(results[-1] or f"{folder.name} ({library}) was not loaded   <-- FAILED", flush=True)
    passed = sum(bool(result) and result.passed for result in results)
    print(f"{passed} of {len(results)} agree.")
    return passed == len(results) > 0


if __name__ == "__main__":
    step, root, *rest = sys.argv[1:]
    if step == "write":
        write(root, int(rest[0]) if rest else int(np.random.default_rng().integers(2**31)))
    else:
        sys.exit(not check(root))
