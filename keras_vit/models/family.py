"""`Family` and `Variant`: what a public name such as `SwinT` is, and how calling it builds a Keras model.

A family is one file of this folder: its paper's layers, `build`, and the rules of its checkpoints. A variant is a row
of that paper's table. Calling a variant builds it, with the signature of keras.applications.
"""

import contextlib
import dataclasses
import inspect
import re
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Mapping

import keras
import numpy as np
from keras import layers

from keras_vit.layers import SelectToken, TokensToGrid, tokens
from keras_vit.layers.initializers import initial_normal
from keras_vit.models.sides import checked_native_size, resolve_shape
from keras_vit.preprocessing import Spec, normalize
from keras_vit.sources import loading, resolve
from keras_vit.sources.assigning import follow_resamplers
from keras_vit.system import xla
from keras_vit.weights import catalogue, wrappers
from keras_vit.weights.patch_kernel import patch_kernel
from keras_vit.weights.rules import Layout

IMAGENET = Spec(
    size=(224, 224), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=0.875, interpolation="bicubic"
)
INCEPTION = Spec(size=(224, 224), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop_pct=0.9, interpolation="bicubic")
POOLINGS = {None, "avg", "max", "token"}


def later(default):
    """A field that a `Config` got after runs had been made: named only where it is not its default."""
    return field(default=default, repr=False)


class Named:
    """Base of a `Config` with fields of `later`: its text, which run folders keep, is what it was without them."""

    def __repr__(self):
        shown = [f for f in dataclasses.fields(self) if f.repr or getattr(self, f.name) != f.default]
        return f"{type(self).__qualname__}({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in shown)})"


@dataclass(frozen=True)
class Family:
    """A paper.

    Attributes:
        name: title of the family, e.g. "Swin".
        paper: arXiv identifier.
        build: (config, image, head, drop_path_rate) -> output tensor of the functional model.
        sides: config -> `Sides`, the sizes of images that it runs on.
        layouts: the published file formats, see `keras_vit.weights.rules`.
        preprocessing: of variants without published weights.
        resamplers: variable path pattern -> function (stored array, shape in the model, (H, W) of the model, (H, W)
            that the array belongs to or None if the file does not say) -> array for the model.
        head: names of the layers that belong to the classifier.
        configure: (config, entries of a file, classes or None) -> config; for files that carry an optional part.
    """

    name: str
    paper: str
    build: Callable
    sides: Callable
    layouts: tuple[Layout, ...]
    preprocessing: Spec
    resamplers: Mapping[str, Callable] = field(default_factory=dict)
    head: tuple[str, ...] = ("head",)
    configure: Callable = lambda config, entries, classes: config

    def check_size(self, config, height, width):
        """Raises ValueError for a size in pixels that the family cannot run."""
        sides = self.sides(config)
        if height % sides.multiple or width % sides.multiple:
            raise ValueError(
                f"input_shape: {self.name} needs a height and width that are multiples of {sides.multiple} "
                f"({sides.why}); dynamic_img_pad=True pads others. Received: {height} x {width}"
            )
        if min(height, width) < sides.smallest:
            raise ValueError(
                f"input_shape: {self.name} needs at least {sides.smallest} x {sides.smallest} pixels. "
                f"Received: {height} x {width}"
            )


@dataclass(frozen=True)
class Head:
    """How a model ends: in a classifier, or without one in features as keras.applications returns them."""

    include_top: bool
    pooling: str | None
    classes: int
    activation: Any
    drop_rate: float

    def classify(self, x, name="head"):
        """Dropout and the classifier, in float32.  (B, C) -> (B, K)."""
        x = layers.Dropout(self.drop_rate, name=f"{name}_drop")(x) if self.drop_rate else x
        dense = {"kernel_initializer": initial_normal(), "dtype": "float32", "name": name}
        return layers.Dense(self.classes, activation=self.activation, **dense)(x)

    def pool_map(self, x):
        """(B, H, W, C) -> (B, C), or the map itself without pooling."""
        if self.pooling == "token":
            raise ValueError(
                "pooling='token' needs a class token, which this family does not have. Expected 'avg' or 'max'"
            )
        if self.include_top or self.pooling == "avg":
            return layers.GlobalAveragePooling2D(name="pool")(x)
        return layers.GlobalMaxPooling2D(name="pool")(x) if self.pooling == "max" else x

    def pool_tokens(self, x, patches):
        """Features of a sequence with a class token first: that token, or the patches as a map, pooled or not.

        (B, n + H W, C), and the map of the patches (B, H, W, C') -> (B, C) or (B, H, W, C).
        """
        if self.include_top or self.pooling == "token":
            return SelectToken(name="pooled_token")(x)
        return self.pool_map(TokensToGrid(name="grid")(x, patches))


class Variant:
    """A named architecture: a row of a paper's table. Calling it builds the Keras model.

    Attributes:
        name: public name, e.g. "SwinT".
        family: its `Family`.
        config: the architecture.
        alias: the same model's name in timm, or in the official repository where timm has none.
        parameters: exact number at the native size with 1000 classes; None for an architecture of your own.
    """

    def __init__(self, name, family, config, parameters=None, alias=None):
        self.name, self.family, self.config = name, family, config
        self.parameters, self.alias = parameters, alias
        count = f", {parameters:,} parameters" if parameters else ""
        self.__doc__ = f"{name}: {family.name}, arXiv:{family.paper}{count}.\n\n{_CALL_DOC}"

    def __repr__(self):
        return f"<keras_vit.models.{self.name}: {self.family.name}, arXiv:{self.family.paper}>"

    @property
    def __signature__(self):
        """The signature of a call, with this variant's default name in it."""
        call = inspect.signature(Variant.__call__)
        own = [p for p in call.parameters.values() if p.name != "self"]
        return call.replace(parameters=[p.replace(default=self.snake_name) if p.name == "name" else p for p in own])

    @property
    def snake_name(self):
        """Default name of the Keras model: SwinT -> swin_t, ViTB16 -> vit_b16, ConvNeXtAtto -> convnext_atto."""
        name = self.name.replace("T2TViT", "T2tVit")
        for brand in ("ViT", "ConvNeXt", "ResNeXt", "DeiT", "CoaT", "TNT", "PVT", "DINO"):  # words, not initials
            name = name.replace(brand, brand.capitalize())
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()

    @property
    def tags(self):
        """The tags of its published weights."""
        return catalogue.tags(self.name)

    @property
    def image_size(self):
        """(H, W) in pixels of the default weights; 224 where there are none."""
        return catalogue.image_size(self.name)

    @property
    def spec(self):
        """Preprocessing of the default weights; the family's where there are none."""
        default = next((row for row in catalogue.rows(self.name) if row.default), None)
        return default.spec if default else self.family.preprocessing

    def __call__(
        self,
        include_top=True,
        weights="imagenet",
        input_tensor=None,
        input_shape=None,
        pooling=None,
        classes=1000,
        classifier_activation="softmax",
        name=None,
        *,
        include_preprocessing=False,
        drop_rate=0.0,
        drop_path_rate=0.0,
        dtype=None,
        native_size=None,
        dynamic_img_pad=False,
        patch_size=None,
    ):
        _check_arguments(pooling, classes, include_top, drop_rate, drop_path_rate)
        head = Head(include_top, pooling, classes, classifier_activation, drop_rate)
        path, row = loading.find_source(self.name, weights, classes, include_top)
        recorded = resolve.spec_beside(path, include_preprocessing) if path else None  # of a run, or beside a file
        spec = row.spec if row else recorded or self.spec
        size = row.size if row else recorded.size if recorded else self.image_size
        config, size = self._with_patches(patch_size), self._in_patches(patch_size, size)
        shape = resolve_shape(input_shape, input_tensor, size)
        sides, any_size = self.family.sides(config), None in shape
        if not any_size and not dynamic_img_pad:
            self.family.check_size(config, *shape[:2])
        source = loading.open_source(path, row, classes, include_top) if path or row else None
        if source and source.entries is not None:
            entries = wrappers.likeliest(source.entries, self.family.layouts)
            config = self.family.configure(config, entries, classes if include_top else None)
        if native_size is not None:
            size = checked_native_size(native_size, any_size)
        elif any_size and source:  # the file's own, so that nothing is resampled twice
            size = self._in_patches(patch_size, loading.native_size(source, self.family, self.config)) or size
        kept_for = sides.rounded(size) if any_size else None
        with dtype_scope(dtype), tokens.native_size(kept_for):
            image = keras.Input(shape, name="image") if input_tensor is None else input_tensor
            x = image
            if include_preprocessing:
                x = _normalization(spec, shape[2])(x)
            if any_size or dynamic_img_pad:
                x = sides.layer(self.family.name, dynamic_img_pad, kept_for)(x)
            outputs = self.family.build(config, x, head, drop_path_rate)
        sources = [image] if input_tensor is None else keras.utils.get_source_inputs(input_tensor)
        inputs = sources[0] if len(sources) == 1 else sources
        model = keras.Model(inputs, outputs, name=name or self.snake_name)
        follow_resamplers(model, self.family.resamplers)
        if source:
            loading.load(model, source, self.family, include_top, classes)
        if keras.config.backend() == "tensorflow":
            # Left alone, Keras never compiles on a machine without a GPU; XLA would compile anew for each size.
            model.jit_compile = not any_size and xla.pays(model)
        return model

    def _in_patches(self, patch_size, size):
        """The size (H, W) with as many patches of `patch_size` pixels as `size` has of the architecture's own."""
        own = getattr(self.config, "patch_size", None)
        return tuple(side // own * patch_size for side in size) if size and patch_size else size

    def _with_patches(self, patch_size):
        """The architecture with patches of `patch_size` pixels; None for its own."""
        if patch_size is None:
            return self.config
        own = getattr(self.config, "patch_size", None)
        if own is None or patch_kernel not in self.family.resamplers.values():
            raise ValueError(
                f"patch_size: the patches of {self.family.name} cannot be of another size; those of ViT, DeiT, DINOv2, "
                f"Swin and ConvNeXt can. Received: patch_size={patch_size!r}"
            )
        if not isinstance(patch_size, int) or patch_size < 1:
            raise ValueError(f"patch_size: expected a positive whole number. Received: patch_size={patch_size!r}")
        return replace(self.config, patch_size=patch_size)


_CALL_DOC = """Builds the functional Keras model.

Args:
    include_top: whether to end in the classifier; without it the model returns features.
    weights: None, "imagenet" (the default tag), a tag of the catalogue (`.tags` lists them), or the path of a file
        (.safetensors, .npz, .pth, .pth.tar, .bin, .weights.h5 or .keras, in timm's layout, transformers' or the
        official one), of the folder of a training run, or of a folder that transformers or timm saved, whose
        hf://owner/name will do.
    input_tensor: Keras tensor to build on, instead of a new input.
    input_shape: (H, W, C); the size of the weights if not given, (224, 224, 3) without any. Position tables and bias
        tables of the weights are resampled, the stem is adapted to other channel counts. (None, None, C) for a model of
        any size: it gives what the model built for the size that arrives gives, and has the variables of one built for
        `native_size`.
    pooling: without the classifier: None for the map (B, H, W, C), "avg" or "max" for (B, C), "token" for the class
        token of families that have one.
    classes: number of classes K; other than the file's makes a new head. Ignored without include_top.
    classifier_activation: of the head; None for logits.
    name: of the model.
    include_preprocessing: whether the model takes pixels in [0, 255] and normalises them itself: as the weights' tag
        says, or the preprocessing.json of the run, or beside the file; without any, as the default weights' tag.
    drop_rate: of the dropout before the classifier, in [0, 1).
    drop_path_rate: stochastic depth of the last block, in [0, 1).
    dtype: policy such as "mixed_bfloat16"; the global policy if None.
    native_size: (H, W) in pixels of the images that a model of any size keeps its positions for; that of the weights
        if None. Positions for other sizes are computed from these whenever images arrive.
    dynamic_img_pad: whether to pad images at the bottom and right with zeros, behind the normalisation, to whole
        patches; without it such sizes are refused.
    patch_size: side of the patches in pixels, other than the weights' (ViT, DeiT, DINOv2, Swin, ConvNeXt): their kernel
        is resized by the pseudo-inverse of FlexiViT (arXiv:2212.08013, Sec. 3.4), and unless input_shape says
        otherwise, the image with it.

To train at sizes whose activations do not fit into memory, build inside a scope that recomputes each block for its
gradients instead of keeping its activations (without drop path, except on JAX):
    with keras.RematScope(mode="list_of_layers", layer_names=[f"block{i}" for i in range(12)]):  # stage0_block0, ...
        model = keras_vit.models.ViTB16(input_shape=(1024, 1024, 3))

`predict` and `predict_on_batch` are compiled by XLA where that is faster, at the first call for each shape, which takes
some seconds; `model.jit_compile = False` turns that off.

Input:   (B, H, W, C), float, normalised as `keras_vit.preprocess_input` does unless include_preprocessing.
Output:  (B, K) probabilities, or features.

Raises:
    ValueError: for sizes, tags, files and arguments that do not fit, with the remedy.
"""
Variant.__call__.__doc__ = _CALL_DOC


def family_preprocess_input(variant):
    """The `preprocess_input` of a family's module, as each module of keras.applications has one."""

    def preprocess_input(x, data_format=None):
        """Pixels in [0, 255], (..., H, W, 3), normalised as this family's default weights expect; nothing is resized.

        Weights trained otherwise are served by `keras_vit.preprocess_input(x, "<model>.<tag>")`.
        """
        if (data_format or "channels_last") != "channels_last":
            raise ValueError(f"data_format: expected 'channels_last' or None. Received: {data_format!r}")
        return normalize(x, variant.spec)

    return preprocess_input


@contextlib.contextmanager
def dtype_scope(dtype):
    """Inside, new layers have the policy `dtype`; None changes nothing."""
    if dtype is None:
        yield
        return
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def _check_arguments(pooling, classes, include_top, drop_rate, drop_path_rate):
    if keras.config.image_data_format() != "channels_last":
        raise ValueError(
            "keras_vit models take channels_last images (B, H, W, C). Received: image_data_format="
            f"{keras.config.image_data_format()!r}; call keras.config.set_image_data_format('channels_last')"
        )
    if pooling not in POOLINGS:
        raise ValueError(f"pooling: expected None, 'avg', 'max' or 'token'. Received: pooling={pooling!r}")
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"classes: expected a positive whole number. Received: classes={classes!r}")
    for argument, rate in (("drop_rate", drop_rate), ("drop_path_rate", drop_path_rate)):
        if not 0 <= rate < 1:
            raise ValueError(f"{argument}: expected a rate in [0, 1). Received: {argument}={rate!r}")


def _normalization(spec, channels):
    """(x / 255 - mean) / std per channel, as a layer; for other than three channels the mean of the three."""
    mean, std = np.array(spec.mean), np.array(spec.std)
    if channels != 3:
        mean, std = mean.mean(keepdims=True).repeat(channels), std.mean(keepdims=True).repeat(channels)
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    return layers.Rescaling(scale, offset, name="normalization")


def differing(layer, **options):
    """The options that are not a layer's defaults: of any other, a .keras file need not know that they exist."""
    defaults = inspect.signature(layer.__init__).parameters
    return {name: value for name, value in options.items() if value != defaults[name].default}
