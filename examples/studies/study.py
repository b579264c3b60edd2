"""What a study is: models that differ in one thing each, and the comparison of a paper that they repeat."""

from dataclasses import dataclass

from keras_vit.models.family import INCEPTION, Family, Variant


@dataclass(frozen=True)
class Study:
    """Rows of a paper's comparisons.

    Attributes:
        name: what the command calls it.
        title: what is compared.
        source: where the paper compares it.
        arms: name of a row, in the paper's words -> its variant.
        img_size: side of the pictures, in pixels; a pixel of the scans is an eighth of it.
    """

    name: str
    title: str
    source: str
    arms: dict[str, Variant]
    img_size: int = 32


def family(title, paper, build, check_size):
    """A family of a study: of its models no weights were published.

    Args:
        build, check_size: see `Family`.
    """
    return Family(title, paper, build, check_size, layouts=(), preprocessing=INCEPTION)
