"""The preprocessing that transformers and timm state, as a `Spec`: preprocessor_config.json, and timm's pretrained_cfg.

Where a `Spec` cannot say the same, an error names the field, its value, and what can be said.
"""

import math
import re
from dataclasses import dataclass

from keras_vit.preprocessing.spec import INTERPOLATIONS, Spec
from keras_vit.system.limits import MAX_SIDE
from keras_vit.weights.entries import WeightFileError, damaged

RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}  # Pillow's numbers
WARPED = 384  # pixels from which ConvNeXt's processor stretches and crops nothing
STANDARD, CLIP = ((0.5,) * 3, (0.5,) * 3), ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Processor:
    """What an image processor of transformers does where preprocessor_config.json does not say it."""

    size: object  # as the file has it
    crop: object = None
    normalization: tuple = IMAGENET  # mean, std
    resample: int = 3
    square: bool = True  # whether a plain number means (number, number), else the short side


PROCESSORS = {  # by the class' name without ImageProcessor, ImageProcessorFast or FeatureExtractor
    "ViT": Processor({"height": 224, "width": 224}, normalization=STANDARD, resample=2),
    "DeiT": Processor({"height": 256, "width": 256}, {"height": 224, "width": 224}, STANDARD),
    "ConvNext": Processor({"shortest_edge": 384}, normalization=STANDARD, square=False),
    "Pvt": Processor({"height": 224, "width": 224}),
    "Bit": Processor({"shortest_edge": 224}, {"height": 224, "width": 224}, CLIP, square=False),
}
OLDER = {"DeiT": IMAGENET, "ConvNext": IMAGENET}  # normalization of feature extractors, before transformers 4.26


def transformers_spec(path, entries, config):
    """The `Spec` of preprocessor_config.json.

    Args:
        path: of that file, for errors.
        entries: what it holds.
        config: entries of config.json, which tell the processor where the file does not.

    Raises:
        ValueError: naming the field, for a preprocessing that a `Spec` cannot say.
    """
    return _Preprocessor(path, entries, config).spec()


class _Preprocessor:
    """preprocessor_config.json, read with the defaults of the image processor that it names."""

    def __init__(self, path, entries, config):
        self.path, self.entries = path, entries
        name = str(entries.get("image_processor_type") or entries.get("feature_extractor_type") or "")
        self.kind, older = re.sub("(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", name), "FeatureExtractor" in name
        if name and self.kind not in PROCESSORS:
            known = ", ".join(f"{kind}ImageProcessor" for kind in PROCESSORS)
            raise self._cannot("image_processor_type", name, known)
        if not name:  # as transformers chooses it, by the model
            self.kind = {"deit": "DeiT", "convnext": "ConvNext", "pvt": "Pvt"}.get(config.get("model_type"), "ViT")
        self.defaults = PROCESSORS[self.kind]
        self.normalization = (OLDER if older else {}).get(self.kind, self.defaults.normalization)

    def spec(self):
        """The `Spec` of the same preprocessing."""
        if self._flag("do_pad", False):
            raise self._cannot("do_pad", True, "false")
        size, resized, mode = self._sizes()
        pct = _crop_pct(size, resized)
        if pct is None:
            raise self._cannot(
                "size", f"{resized} with a crop of {size}", "a crop that takes the same share of both sides"
            )
        mean, std = self._mean_and_std()
        odd = mode == "center" or any((before - side) % 2 for side, before in zip(size, resized))
        rounding = "down" if odd else None  # of what is left on either side of the crop
        return Spec(size, mean, std, pct, mode, self._interpolation(), crop_rounding=rounding)

    def _sizes(self):
        """(H, W) of the result, (H, W) that it is cropped from, and the crop mode."""
        size, short = self._size("size", self.defaults.size, self.defaults.square)
        crops = self._flag("do_center_crop", self.defaults.crop is not None)
        crop = self._size("crop_size", self.defaults.crop or {"height": 224, "width": 224}, True)[0] if crops else None
        if not self._flag("do_resize", True):
            # Images are taken as they are: of the size that the model needs, for which stretching changes nothing.
            return crop or size or (short, short), crop or size or (short, short), "squash"
        if self.kind == "ConvNext":
            if short is None:
                raise self._cannot("size", self.entries.get("size"), '{"shortest_edge": number}')
            before = short if short >= WARPED else int(short / self._number("crop_pct", 224 / 256))
            size, mode = (short, short), "squash" if short >= WARPED else "center"
            if crops and crop != size:
                raise self._cannot("crop_size", crop, f"{size}, what resizing leaves")
            return size, (before, before), mode
        if size is not None:
            return crop or size, size, "squash"
        if crop is None or crop[0] != crop[1]:
            raise self._cannot(
                "crop_size" if crops else "do_center_crop",
                crop if crops else False,
                "a square centre crop where `size` is that of the short side: all images become of one size",
            )
        return crop, (short, short), "center"

    def _size(self, field, default, square):
        """((H, W), None), or (None, length of the short side)."""
        value = self.entries.get(field)
        value = default if value is None else value
        if isinstance(value, (int, float)):
            value = {"height": value, "width": value} if square else {"shortest_edge": value}
        if isinstance(value, list) and len(value) == 2:
            value = {"height": value[0], "width": value[1]}
        if not isinstance(value, dict):
            raise self._cannot(field, value, "a number, or height and width, or shortest_edge")
        stated = {name: side for name, side in value.items() if side is not None}
        if any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in stated.values()):
            raise self._cannot(field, value, f"sides of 1 to {MAX_SIDE} pixels")
        if set(stated) == {"height", "width"}:
            return (stated["height"], stated["width"]), None
        if set(stated) == {"shortest_edge"}:
            return None, stated["shortest_edge"]
        raise self._cannot(field, value, "height and width, or shortest_edge")

    def _mean_and_std(self):
        """Those of values in [0, 1], whatever the file's are of."""
        mean, std = (0.0,) * 3, (1.0,) * 3
        if self._flag("do_normalize", True):
            fields = zip(("image_mean", "image_std"), self.normalization)
            mean, std = (self._three(field, default) for field, default in fields)
        factor = self._number("rescale_factor", 1 / 255) if self._flag("do_rescale", True) else 1.0
        if math.isclose(255 * factor, 1, rel_tol=1e-9):
            return mean, std
        return tuple(m / (255 * factor) for m in mean), tuple(s / (255 * factor) for s in std)

    def _three(self, field, default):
        value = self.entries.get(field)
        value = default if value is None else value
        value = [value] if isinstance(value, (int, float)) else value
        good = isinstance(value, (list, tuple)) and all(_is_number(number) for number in value)
        if not good or len(value) not in (1, 3):
            raise self._cannot(field, value, "a number, or three: of red, green and blue")
        return tuple(map(float, value)) * (3 // len(value))

    def _interpolation(self):
        value = self.entries.get("resample")
        value = self.defaults.resample if value is None else value
        name = RESAMPLING.get(value, value) if isinstance(value, int) else value
        if self._flag("do_resize", True) and name not in INTERPOLATIONS:
            raise self._cannot("resample", f"{value} ({name})", "2 (bilinear) or 3 (bicubic)")
        return name if name in INTERPOLATIONS else "bicubic"

    def _flag(self, field, default):
        value = self.entries.get(field)
        if value not in (None, True, False):
            raise self._cannot(field, value, "true or false")
        return default if value is None else value

    def _number(self, field, default):
        value = self.entries.get(field)
        value = default if value is None else value
        if not _is_number(value) or value <= 0:
            raise self._cannot(field, value, "a positive number")
        return float(value)

    def _cannot(self, field, value, supported):
        return WeightFileError(
            f"{self.path}: {field}: this preprocessing is not to be had here. Received: {field}={repr(value)[:100]}. "
            f"Supported: {supported}. Another one is given by --preprocessing (in Python: spec=)."
        )


def _is_number(value):
    return type(value) in (int, float) and math.isfinite(value)


def _crop_pct(size, resized):
    """The share for which `floor(side / share)` is the resized side, of both sides; None if there is none."""
    if any(side > before for side, before in zip(size, resized)):
        return None
    # Any share in (side / (before + 1), side / before] gives `before`; the largest for all sides.
    share = min(side / before for side, before in zip(size, resized))
    for candidate in (share, math.nextafter(share, 0)):
        if all(math.floor(side / candidate) == before for side, before in zip(size, resized)):
            return candidate
    return None


def timm_spec(path, config):
    """The `Spec` of pretrained_cfg, as `timm.data.create_transform` prepares images for evaluation.

    Args:
        path: of config.json, for errors.
        config: its entries.

    Raises:
        ValueError: naming the field, for a preprocessing that a `Spec` cannot say.
    """
    entries = config if config.get("pretrained_cfg") is None else config["pretrained_cfg"]
    if not isinstance(entries, dict):
        raise damaged(path, "an object as pretrained_cfg", repr(entries)[:100])
    size = entries.get("input_size") or [3, 224, 224]
    sides = size[-2:] if isinstance(size, list) and len(size) == 3 else ()
    if len(sides) != 2 or any(type(side) is not int or not 1 <= side <= MAX_SIDE for side in sides):
        raise damaged(path, "input_size as [channels, height, width]", repr(size)[:100])
    values = {"mean": IMAGENET[0], "std": IMAGENET[1], "crop_pct": 0.875, "crop_mode": "center"}
    values |= {"interpolation": "bicubic"}
    stated = {name: entries[name] for name in values if entries.get(name)}
    try:
        spec = Spec(tuple(sides), **(values | stated))
    except (ValueError, TypeError) as error:
        raise WeightFileError(f"{path}: pretrained_cfg is not to be had here: {error}") from error
    return spec
