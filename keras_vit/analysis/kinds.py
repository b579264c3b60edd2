"""The kinds of figures that an inspection draws: of a model, and of a model on one image."""

from dataclasses import dataclass
from typing import Callable

import numpy as np

from keras_vit import analysis
from keras_vit.models.blocks import require_blocks
from keras_vit.prediction.predictor import Predictor

BLOCKS = 12  # whose attention is drawn at most; of more, 12 at equal distances


@dataclass(frozen=True)
class Subject:
    """A model and the images it is run on."""

    predictor: Predictor
    pixels: np.ndarray  # (B, H, W, 3) in [0, 255], of the model's size
    images: np.ndarray  # the same as the model takes them
    scores: np.ndarray  # (B, K)

    @property
    def model(self):
        return self.predictor.model


@dataclass(frozen=True)
class Kind:
    """A kind of figure.

    Attributes:
        file: base name of its files.
        title, text: above it on the page; the text says what the figure shows.
        draw: function (Subject), or (Subject, index of an image), -> matplotlib Figure; it raises ValueError, with the
            reason, for a model that has none. None for what is written, not drawn.
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
    return analysis.plot_attention_maps(maps, subject.pixels[i : i + 1], blocks=spread(list(maps), BLOCKS))


def _draw_distances(subject):
    return analysis.plot_mean_attention_distance(analysis.mean_attention_distance(subject.model, subject.images))


def _draw_fields(subject):
    fields = {
        name: analysis.effective_receptive_field(subject.model, subject.images, name)
        for name in by_depth(require_blocks("effective_receptive_field", subject.model))
    }
    return analysis.plot_effective_receptive_field(fields)


def _draw_components(subject):
    return analysis.plot_patch_components(subject.pixels, analysis.patch_components(subject.model, subject.images))


def _draw_filters(subject):
    return analysis.plot_patch_filters(analysis.patch_filters(subject.model))


def _draw_positions(subject):
    return analysis.plot_position_similarity(analysis.position_similarity(subject.model))


def _draw_biases(subject):
    return analysis.plot_relative_position_biases(analysis.relative_position_biases(subject.model))


PREDICTION = Kind(
    "prediction", "Prediction", "The image as each model sees it, resized and cropped, and its best classes."
)
FACTS = Kind("facts", "Architecture", "Parameters are counted as built, with the classifier.")
OF_IMAGES = (
    Kind(
        "relevance",
        "Relevance (Grad-CAM)",
        "Where the evidence for each model's best class lies; 1 is the largest of the image. Where nothing on "
        "the last map speaks for the class, all is 0.",
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
        "How far each head looks, in pixels, averaged over the images of this page; deeper blocks to the right.",
        _draw_distances,
    ),
    Kind(
        "receptive_field",
        "Effective receptive field",
        "How much each pixel changes the central place of a map, averaged over the images of this page.",
        _draw_fields,
    ),
    Kind(
        "components",
        "Components of the patches",
        "The vectors of all places of the last map in their first three principal components, as red, green and blue: "
        "places of one colour are alike to the model, across the images of this page.",
        _draw_components,
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


def by_depth(blocks):
    """Names: the last block of each stage; of a single stage the first, the middle and the last."""
    last = {block.group: block.name for block in blocks}
    return list(last.values()) if len(last) > 1 else spread([block.name for block in blocks], 3)


def spread(names, most):
    """At most `most` of the names, the first and the last among them, at equal distances."""
    places = np.linspace(0, len(names) - 1, min(most, len(names))).round().astype(int)
    return [names[place] for place in dict.fromkeys(places.tolist())]
