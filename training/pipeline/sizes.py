"""The sizes of a run's training images, step by step: growing over the run, or drawn for every batch.

Progressive resizing (`img_size_schedule`) trains the first epochs on small images, which cost less, and the last ones
on images of the run's size. With several scales (`multi_scale`) every batch has one size of a few, drawn at random.
Either way the model is validated and saved at the run's own size.

Which size a step has follows from the recipe, the seed and the number of the step alone, so that all replicas and
workers, and a run that is resumed, agree. A size is (H, W), in pixels.
"""

import functools
import re
from dataclasses import dataclass

import numpy as np

SIZE = re.compile(r"(\d{1,5})(?:x(\d{1,5}))?")
SCALES = 0x5CA1  # separates the draws of sizes from other random draws
EXAMPLE = "128@0,192@0.5,224@0.8"


@dataclass(frozen=True, eq=False)
class Sizes:
    """The size of every step of a run.

    Args:
        final: the run's own size, of the evaluation and of the saved model.
        trained: the sizes that are trained on, each once, in the order in which they are first mentioned.
        order: int (steps of the run,): which of `trained` a step has.
        drawn: whether they are drawn for every batch, so that they alternate.
    """

    final: tuple[int, int]
    trained: tuple[tuple[int, int], ...]
    order: np.ndarray
    drawn: bool = False

    def at(self, step):
        """The size of a step."""
        return self.trained[self.order[step]]

    def steps(self, size):
        """The numbers of the steps that have a size, ascending."""
        return np.flatnonzero(self.order == self.trained.index(size))

    @property
    def others(self):
        """The sizes that are trained on and are not the run's own."""
        return tuple(size for size in self.trained if size != self.final)

    def share(self, amount):
        """The share of the run's own size in an amount of memory for images of all sizes, rounded down."""
        pixels = [height * width for height, width in (self.final, *self.others)]
        return amount * pixels[0] // sum(pixels)

    @functools.cached_property
    def begins(self):
        """{step: the size that begins with it}; of sizes that are drawn, there is none to say."""
        changes = np.flatnonzero(np.diff(self.order, prepend=-1))
        return {} if self.drawn else {int(step): self.at(step) for step in changes}

    def work(self, epochs):
        """Pixels of an image in each epoch, on average, float (epochs,): about what an epoch costs, relatively."""
        pixels = np.array([height * width for height, width in self.trained], "float64")
        return pixels[self.order].reshape(epochs, -1).mean(axis=1)


def sizes_of(recipe, final, steps):
    """The `Sizes` of a run.

    Args:
        final: the run's own size.
        steps: of an epoch.
    Raises:
        ValueError: if the run has too few steps for the schedule.
    """
    total = recipe.epochs * steps
    if recipe.img_size_schedule is not None:
        return _scheduled(recipe.img_size_schedule, final, total)
    if recipe.multi_scale is None:
        return Sizes(final, (final,), np.zeros(total, "uint8"))
    trained = parse_sizes(recipe.multi_scale)
    draws = np.random.Philox(key=np.array([SCALES, recipe.seed], "uint64")).random_raw(total)
    return Sizes(final, trained, (draws % np.uint64(len(trained))).astype("uint8"), drawn=True)


def _scheduled(text, final, total):
    phases = parse_schedule(text)
    starts = [round(fraction * total) for _, fraction in phases]
    lengths = np.diff([*starts, total])
    if not all(lengths):
        size, fraction = phases[int(np.argmin(lengths))]
        raise ValueError(
            f"img_size_schedule: the run has {total} steps, which leaves none for {_short(size)}@{fraction:g}. Train "
            f"for more epochs, or give fewer sizes. Received: {text}."
        )
    trained = tuple(dict.fromkeys(size for size, _ in phases))
    return Sizes(final, trained, np.repeat([trained.index(size) for size, _ in phases], lengths).astype("uint8"))


def check(img_size, schedule, scales):
    """Check the three settings that concern sizes, by themselves and against each other.

    Raises:
        ValueError: naming what was expected.
    """
    if schedule is not None and scales is not None:
        raise ValueError("img_size_schedule and multi_scale both choose the sizes of the batches. Give one of them.")
    if scales is not None:
        parse_sizes(scales)
    if schedule is not None and img_size is not None and (last := parse_schedule(schedule)[-1][0]) != tuple(img_size):
        raise ValueError(
            f"img_size_schedule={schedule} ends at {in_words(last)} pixels, before the run's own size, img_size="
            f"{in_words(img_size)}, at which it is validated and saved. End the schedule with {_short(img_size)}@..., "
            "or give img_size None: then the last size of the schedule is the run's own."
        )
    if schedule is not None:
        parse_schedule(schedule)


def own_size(recipe):
    """The run's own size as far as the recipe states it: `img_size`, or the last of the schedule; else None."""
    if recipe.img_size is None and recipe.img_size_schedule is not None:
        return parse_schedule(recipe.img_size_schedule)[-1][0]
    return recipe.img_size


def parse_schedule(text):
    """((size, fraction of the run at which it begins), ...) from a text such as "128@0,192@0.5,224@0.8".

    Raises:
        ValueError: unless the fractions begin at 0, ascend and stay below 1.
    """
    phases = tuple(_phase(part.strip(), text) for part in text.split(","))
    fractions = [fraction for _, fraction in phases]
    if fractions[0] != 0:
        size = _short(phases[0][0])
        problem = f"expected a size for the start of the run, the first at 0, as in {size}@0"
    elif late := [f"{_short(size)}@{fraction:g}" for size, fraction in phases if fraction >= 1]:
        problem = f"{late[0]} begins when the run has ended, and would not be trained: expected fractions below 1"
    elif any(later <= earlier for earlier, later in zip(fractions, fractions[1:])):
        ordered = ",".join(f"{_short(size)}@{fraction:g}" for size, fraction in sorted(phases, key=lambda p: p[1]))
        twice = len(set(fractions)) < len(fractions)
        problem = "expected one size for each fraction" if twice else f"expected ascending fractions, as in {ordered}"
    else:
        return phases
    raise ValueError(f"img_size_schedule: {problem}. Received: {text}.")


def parse_sizes(text):
    """The sizes in a text such as "192,224,256" or "192x256,224x288" (height x width).

    Raises:
        ValueError: for what is no size, and for a size that appears twice.
    """
    sizes = tuple(
        _size(part.strip(), f"multi_scale: expected sizes as in 192,224,256. Received: {text}.")
        for part in text.split(",")
    )
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"multi_scale: expected different sizes, each is drawn as often. Received: {text}.")
    return sizes


def _phase(part, text):
    problem = (
        f"img_size_schedule: expected sizes, each with the fraction of the run at which it begins, as in {EXAMPLE}. "
        f"Received: {text}."
    )
    size, _, fraction = part.partition("@")
    if not re.fullmatch(r"\d*\.?\d+|\d+\.", fraction):
        raise ValueError(problem)
    return _size(size, problem), float(fraction)


def _size(text, problem):
    found = SIZE.fullmatch(text)
    if not found or not all(size := tuple(int(side) for side in (found[1], found[2] or found[1]))):
        raise ValueError(problem)
    return size


def in_words(size):
    """ "224 x 224", of a size (H, W)."""
    return f"{size[0]} x {size[1]}"


def _short(size):
    """A size as it is written in a schedule: 224, or 192x256."""
    height, width = size
    return f"{height}" if height == width else f"{height}x{width}"
