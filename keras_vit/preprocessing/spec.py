"""How images are prepared for a set of weights: size, crop, interpolation, mean and standard deviation."""

import dataclasses
import json
import numbers
from pathlib import Path

from keras_vit.system.files import atomic_file

CROP_MODES = ("center", "squash")
INTERPOLATIONS = ("bicubic", "bilinear")
INPUT_VALUES = ("pixels", "unit", "normalized")  # [0, 255]; [0, 1]; what mean and std give


@dataclasses.dataclass(frozen=True)
class Spec:
    """Preprocessing of the images for a set of weights."""

    size: tuple[int, int]  # H, W in pixels
    mean: tuple[float, float, float]  # per channel R, G, B, of values in [0, 1]
    std: tuple[float, float, float]
    crop_pct: float = 1.0  # the crop's side as a share of the resized short side, in (0, 1]
    crop_mode: str = "center"  # center: keep the aspect ratio and crop; squash: stretch to the size, crop nothing
    interpolation: str = "bicubic"
    input_values: str | None = (
        None  # of INPUT_VALUES: what the model takes, where it is recorded; see `input_values.py`
    )
    # Half of an odd surplus before the crop: None rounds to even, as torchvision and timm; "down", as transformers.
    crop_rounding: str | None = None

    def __post_init__(self):
        for field, length, kind in (("size", 2, int), ("mean", 3, float), ("std", 3, float)):
            object.__setattr__(self, field, _numbers(field, getattr(self, field), length, kind))
        if min(self.size) < 1 or min(self.std) <= 0:
            raise ValueError(f"size and std must be positive. Received: size={self.size}, std={self.std}.")
        if not isinstance(self.crop_pct, (int, float)) or not 0 < self.crop_pct <= 1:
            raise ValueError(f"crop_pct must be a number in (0, 1]. Received: crop_pct={self.crop_pct!r}.")
        if self.crop_mode not in CROP_MODES:
            raise ValueError(f"crop_mode must be one of {CROP_MODES}. Received: {self.crop_mode!r}.")
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"interpolation must be one of {INTERPOLATIONS}. Received: {self.interpolation!r}.")
        if self.input_values not in (None, *INPUT_VALUES):
            raise ValueError(f"input_values must be one of {INPUT_VALUES}. Received: {self.input_values!r}.")
        if self.crop_rounding not in (None, "down"):
            raise ValueError(f"crop_rounding must be None or 'down'. Received: {self.crop_rounding!r}.")

    @property
    def size_name(self):
        """The image size as names have it: "224", or "192x256" where height and width differ."""
        return "x".join(map(str, dict.fromkeys(self.size)))

    def at(self, size=None, crop_pct=None):
        """The same preprocessing for images of another size or with another crop; None keeps what there is.

        Args:
            size: (H, W) in pixels, or one number for both.
            crop_pct: as the field.

        Raises:
            ValueError: for what is no size or no share.
        """
        asked = {"size": (size, size) if isinstance(size, numbers.Integral) else size, "crop_pct": crop_pct}
        return dataclasses.replace(self, **{name: value for name, value in asked.items() if value is not None})

    def to_json(self):
        """A dictionary that JSON can hold; what is not recorded is left out."""
        entries = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in entries.items()}

    @classmethod
    def from_json(cls, entries):
        """The inverse of `to_json`.

        Raises:
            ValueError: for an unknown or missing entry.
        """
        if not isinstance(entries, dict):
            raise ValueError(f"A preprocessing spec is a JSON object. Received: {entries!r}.")
        fields = dataclasses.fields(cls)
        unknown = sorted(set(entries) - {field.name for field in fields})
        missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in entries]
        if unknown or missing:
            raise ValueError(
                f"A preprocessing spec has the entries {[field.name for field in fields]}. "
                f"Missing: {missing}; unknown: {unknown}."
            )
        return cls(**entries)

    def save(self, path):
        """Write the spec as JSON, whole or not at all."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=2) + "\n")

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises:
            ValueError: naming a file that is not a spec.
        """
        try:
            return cls.from_json(json.loads(Path(path).read_text(encoding="utf-8-sig")))
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
            raise ValueError(f"{path} is not a preprocessing spec: {error}") from error


def _numbers(field, values, length, kind):
    try:
        numbers = tuple(kind(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != length or any(number != value for number, value in zip(numbers, values)):
        raise ValueError(f"{field} must be {length} numbers ({kind.__name__}). Received: {values!r}.")
    return numbers
