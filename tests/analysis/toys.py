"""Models, images and attention maps for the tests of what looks at attention."""

import math

import numpy as np

from keras_vit.analysis.attention import AttentionMap
from keras_vit.analysis.places import on_grid
from tests.models.toys import TOYS

ATTENDING = [toy for toy in TOYS if not toy.startswith("convnext")]


def noise(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def model_and_images(toy, count=2, **options):
    """A toy whose scores are far from equal, and images of its size."""
    variant, shape = TOYS[toy]
    model = variant(weights=None, input_shape=options.pop("input_shape", shape), classes=5, **options)
    for variable in model.trainable_weights:
        if len(variable.shape) > 1:
            variable.assign(variable * 5.0)
    return model, noise(0, count, *model.input_shape[1:])


def indifferent(model):
    """The model with queries and keys of zeros: attention is the same for all keys."""
    projections = ("/qkv/", "/kqv/", "/q/", "/k/", "/kv/", "/bias_table")
    for variable in model.weights:
        if any(name in f"/{variable.path}/" for name in projections):
            variable.assign(variable * 0.0)
    return model


def attention_map(weights, grid, image=None, tokens=0, **options):
    """A global map of given weights (B, h, N, N); cells of one pixel if no image size is given."""
    places = on_grid(image or grid, grid, tokens)
    return AttentionMap("block0", places, places, tokens, left=np.asarray(weights, "float32"), **options)


def uniform(grid, tokens=0):
    """(1, 1, N, N)."""
    N = tokens + math.prod(grid)
    return np.full((1, 1, N, N), 1 / N)
