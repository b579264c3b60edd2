"""ConvNeXt, arXiv:2201.03545: from a ResNet to a ConvNeXt, step by step (Sec. 2, Fig. 2).

Each row changes one thing and keeps the changes of the rows before it. Of Fig. 2's steps, kernels of 5, 9 and 11 are
left out; layer scale, which the published ConvNeXt has, is not among them.

Letters: B batch, H W grid, C width of the spatial convolution, K classes.
"""

from dataclasses import dataclass, replace

from keras import layers

from examples.studies.study import Study, family
from keras_vit.models.convnext import EPSILON
from keras_vit.models.family import Variant
from keras_vit.models.sides import Sides

MOMENTUM = 0.9  # of BatchNorm's averages, PyTorch's default; Keras' 0.99 needs longer trainings


@dataclass(frozen=True)
class Config:
    """A row of Fig. 2."""

    depths: tuple[int, ...]  # blocks per stage
    widths: tuple[int, ...]  # C per stage
    patchify: bool = False  # stem of 4 x 4 pixels, not ResNet's 7 x 7 with a stride and a max pooling
    depthwise: bool = False  # the spatial convolution is depthwise
    inverted: bool = False  # a block is wide inside, not at its ends
    moved_up: bool = False  # the spatial convolution is the first of the block
    kernel_size: int = 3  # of the spatial convolution
    activation: str = "relu"
    few_activations: bool = False  # one in a block, not three
    few_norms: bool = False  # one in a block, not three
    layer_norm: bool = False  # LayerNorm, not BatchNorm
    separate_downsampling: bool = False  # layers between the stages, not a stride in the first block of a stage


def sides(config):
    """The last stage must keep a pixel."""
    return Sides(1, smallest=4 * 2 ** (len(config.depths) - 1))


def build(config, image, head, drop_path_rate=0.0):
    """Stem, stages, classifier.  (B, H, W, 3) -> (B, K)."""
    x = stem(config, image)
    for s, (depth, width) in enumerate(zip(config.depths, config.widths)):
        stride = 2 if s > 0 else 1
        if config.separate_downsampling and stride > 1:
            x = layers.Conv2D(width, 2, strides=2, name=f"downsample{s}")(norm(config, x, f"downsample{s}_norm"))
            stride = 1
        for b in range(depth):
            x = block(config, x, width, stride if b == 0 else 1, f"stage{s}_block{b}")
    x = head.pool_map(x)  # B C
    x = norm(config, x, "norm") if config.separate_downsampling else x
    return head.classify(x) if head.include_top else x


def stem(config, image):
    """Downsampling by 4.  (B, H, W, 3) -> (B, H/4, W/4, C)."""
    C = config.widths[0]
    if config.patchify:
        x = layers.Conv2D(C, 4, strides=4, name="stem")(image)
        return norm(config, x, "stem_norm") if config.separate_downsampling else x
    x = layers.Conv2D(C, 7, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = layers.Activation(config.activation, name="stem_activation")(norm(config, x, "stem_norm"))
    return layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


def convolutions(config, C):
    """The three convolutions of a block, (kind, channels): ResNet's, or Fig. 3b, or Fig. 3c."""
    if not config.inverted:
        return ("pointwise", C), ("spatial", C), ("pointwise", 4 * C)
    if not config.moved_up:
        return ("pointwise", 4 * C), ("spatial", 4 * C), ("pointwise", C)
    return ("spatial", C), ("pointwise", 4 * C), ("pointwise", C)


def block(config, x, C, stride, name):
    """A residual block (Fig. 4): convolutions, the remaining norms and activations, the shortcut."""
    norms = (0,) if config.few_norms else (0, 1, 2)  # after which convolutions
    activations = (1,) if config.few_activations else (0, 1, 2)  # after which; the last comes after the sum
    shortcut = x
    for i, (kind, channels) in enumerate(convolutions(config, C)):
        x = convolution(config, kind, x, channels, stride, f"{name}_conv{i}")
        x = norm(config, x, f"{name}_norm{i}") if i in norms else x
        x = layers.Activation(config.activation, name=f"{name}_activation{i}")(x) if i in activations[:2] else x
    if shortcut.shape != x.shape:
        shortcut = layers.Conv2D(x.shape[-1], 1, strides=stride, use_bias=False, name=f"{name}_shortcut")(shortcut)
        shortcut = norm(config, shortcut, f"{name}_shortcut_norm")
    x = layers.Add(name=f"{name}_sum")([shortcut, x])
    return layers.Activation(config.activation, name=f"{name}_activation2")(x) if 2 in activations else x


def convolution(config, kind, x, channels, stride, name):
    """A 1 x 1 convolution, or the block's spatial one, which has its stride."""
    if kind == "pointwise":
        return layers.Conv2D(channels, 1, name=name)(x)
    if config.depthwise:
        return layers.DepthwiseConv2D(config.kernel_size, stride, padding="same", name=name)(x)
    return layers.Conv2D(channels, config.kernel_size, stride, padding="same", name=name)(x)


def norm(config, x, name):
    """BatchNorm, or LayerNorm over the channels."""
    if config.layer_norm:
        return layers.LayerNormalization(epsilon=EPSILON, name=name)(x)
    return layers.BatchNormalization(momentum=MOMENTUM, name=name)(x)


RESNET = Config(depths=(1, 1, 2, 1), widths=(12, 24, 48, 96))  # ResNet-50: (3, 4, 6, 3), (64, 128, 256, 512)
STEPS = {  # row of Fig. 2 -> name of the variant, and what the row changes
    "ResNet": ("RoadResNet", {}),
    "stage ratio": ("RoadStageRatio", {"depths": (1, 1, 3, 1)}),
    '"patchify" stem': ("RoadPatchify", {"patchify": True}),
    "depthwise convolution": ("RoadDepthwise", {"depthwise": True}),
    "width up": ("RoadWidth", {"widths": (18, 36, 72, 144)}),  # by one half, as from 64 to 96
    "inverted bottleneck": ("RoadInverted", {"inverted": True}),
    "depthwise convolution moved up": ("RoadMovedUp", {"moved_up": True}),
    "kernel size 7": ("RoadKernel", {"kernel_size": 7}),
    "ReLU to GELU": ("RoadGelu", {"activation": "gelu"}),
    "fewer activations": ("RoadFewActivations", {"few_activations": True}),
    "fewer norms": ("RoadFewNorms", {"few_norms": True}),
    "BatchNorm to LayerNorm": ("RoadLayerNorm", {"layer_norm": True}),
    "separate downsampling (ConvNeXt)": ("RoadDownsampling", {"separate_downsampling": True}),
}
FAMILY = family("ConvNeXt", "2201.03545", build, sides)


def road():
    """{name of the row: variant with all changes up to it}."""
    arms, config = {}, RESNET
    for row, (name, change) in STEPS.items():
        config = replace(config, **change)
        arms[row] = Variant(name, FAMILY, config)
    return arms


STUDY = Study(
    name="convnext",
    title="ConvNeXt: from a ResNet, step by step",
    source="arXiv:2201.03545, Fig. 2",
    arms=road(),
)
