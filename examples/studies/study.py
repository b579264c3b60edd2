"""A study: models that differ in one thing each, as in an ablation of a paper."""

from dataclasses import dataclass

from keras_vit.models.family import INCEPTION, Family, Variant


@dataclass(frozen=True)
class Study:
    """An ablation of a paper.

    Attributes:
        name: its name on the command line.
        title: what is compared.
        source: the table or section of the paper.
        arms: {name of a row, in the paper's words: its variant}.
        img_size: side of the images, in pixels; the scans have 8 x 8.
    """

    name: str
    title: str
    source: str
    arms: dict[str, Variant]
    img_size: int = 32


def family(title, paper, build, sides):
    """A family of a study, whose models have no published weights.

    Args:
        title, paper, build, sides: see `Family`.
    """
    return Family(title, paper, build, sides, layouts=(), preprocessing=INCEPTION)
