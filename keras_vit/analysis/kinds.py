"""The kinds of pictures that an inspection draws: of a model, and of what a model makes of one picture."""

import re
from dataclasses import dataclass
from typing import Callable

import numpy as np

from keras_vit import analysis
from keras_vit.analysis.maps import block_names, require_blocks
from keras_vit.predictor import Predictor

BLOCKS = 12  # whose attention is drawn; of more, as many at equal distances


@dataclass(frozen=True)
class Subject:
    """A model, and the images that it is asked about."""

    predictor: Predictor
    pixels: np.ndarray  # (B, H, W, 3) in [0, 255], of the model's size
    images: np.ndarray  # the same as the model takes them
    scores: np.ndarray  # (B, K)

    @property
    def model(self):
        return self.predictor.model


@dataclass(frozen=True)
class Kind:
    """A kind of picture.

    Attributes:
        file: what its files are called.
        title, text: what stands above it; the text says what is to be seen.
        draw: function from a Subject, and for what is drawn picture by picture its number, to a matplotlib Figure; a
            ValueError says why a model has none. None for what is written, not drawn.
    """

    file: str
    title: str
    text: str
    draw: Callable | None = None


def _draw_relevance(subject, i):
    found = analysis.relevance(subject.model, subject.images[i : i + 1], int(subject.scores[i].argmax()))
    return analysis.plot_relevance(subject.pixels[i : i + 1], found)


def _draw_rollout(subject, i):
    found = analysis.attention_rollout(subject.model, subject.images[i : i + 1])
    return analysis.plot_attention_rollout(subject.pixels[i : i + 1], found)


def _draw_attention(subject, i):
    maps = analysis.attention_maps(subject.model, subject.images[i : i + 1])
    return analysis.plot_attention_maps(maps, subject.pixels[i : i + 1], blocks=_spread(list(maps), BLOCKS))


def _draw_distances(subject):
    return analysis.plot_mean_attention_distance(analysis.mean_attention_distance(subject.model, subject.images))


def _draw_fields(subject):
    require_blocks(subject.model, "effective_receptive_field")
    fields = {
        name: analysis.effective_receptive_field(subject.model, subject.images, name)
        for name in _by_depth(block_names(subject.model))
    }
    return analysis.plot_effective_receptive_field(fields)


def _draw_filters(subject):
    return analysis.plot_patch_filters(analysis.patch_filters(subject.model))


def _draw_positions(subject):
    return analysis.plot_position_similarity(analysis.position_similarity(subject.model))


def _draw_biases(subject):
    return analysis.plot_relative_position_biases(analysis.relative_position_biases(subject.model))


PREDICTION = Kind(
    "prediction", "Prediction", "The picture as each model sees it, resized and cropped, and its best classes."
)
FACTS = Kind("facts", "Architecture", "Parameters are counted as built, with the classifier.")
OF_PICTURES = (
    Kind(
        "relevance",
        "Relevance (Grad-CAM)",
        "Where the evidence for each model's best class lies; 1 is the largest of the picture.",
        _draw_relevance,
    ),
    Kind(
        "rollout",
        "Attention rollout",
        "The share of each place in what the classifier reads: attention multiplied over all blocks.",
        _draw_rollout,
    ),
    Kind(
        "attention",
        "Attention by block",
        "Where the class token looks, or, without one, the attention that each place receives; mean over heads.",
        _draw_attention,
    ),
)
OF_MODELS = (
    Kind(
        "distances",
        "Mean attention distance",
        "How far each head looks, in pixels, averaged over the pictures of this page; deeper blocks to the right.",
        _draw_distances,
    ),
    Kind(
        "receptive_field",
        "Effective receptive field",
        "How much each pixel changes the central place of a map, averaged over the pictures of this page.",
        _draw_fields,
    ),
    Kind(
        "filters",
        "Embedding filters",
        "Principal components of the filters that read the image, by their share of the variance.",
        _draw_filters,
    ),
    Kind(
        "positions",
        "Position embeddings",
        "Cosine similarity of the position embedding of a patch, a tile for each, with those of all others.",
        _draw_positions,
    ),
    Kind(
        "biases",
        "Relative position biases",
        "What a head adds to its scores by the offset of the key from the query, a tile for each head.",
        _draw_biases,
    ),
)


def _by_depth(names):
    """The last block of each stage; of a single stage the first, the middle and the last."""
    last = {re.sub(r"\d+$", "", name): name for name in names}
    return list(last.values()) if len(last) > 1 else _spread(names, 3)


def _spread(names, most):
    """At most so many of the names, the first and the last among them, at equal distances."""
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]
