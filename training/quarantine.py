"""Pictures that cannot be decoded: which, why, and what is shown in their place.

A bad picture is replaced by the next one of its part that can be decoded; after the last comes the first. Lists of
files are sorted by class, so that this is mostly one of the same class. Nothing else moves: the order of all other
pictures, and the number of steps, are the same on a worker that can read a file and on one that cannot, and before
and after a file breaks.
"""

import io

import numpy as np

from keras_vit import preprocessing


class BadPictures(ValueError):
    """Too many pictures cannot be decoded; `bad` lists (file, reason)."""

    def __init__(self, bad, total, allowed):
        self.bad = bad
        shown = "\n".join(f"  {name}: {reason}" for name, reason in bad[:5])
        more = f"\n  and {len(bad) - 5} more" if len(bad) > 5 else ""
        super().__init__(
            f"{len(bad)} of {total} pictures cannot be decoded, more than max_bad_fraction="
            f"{allowed:g} allows:\n{shown}{more}\nRepair or remove them, or raise max_bad_fraction."
        )


class Quarantine:
    """The bad pictures of a part, as they are met; the input pipeline's threads add to it.

    Args:
        max_bad_fraction: share of the part, in [0, 1), that may be bad.
    """

    def __init__(self, part, max_bad_fraction):
        self.part, self.max_bad_fraction = part, max_bad_fraction
        self.met = {}  # number of the picture -> (number of the one shown in its place, reason)

    def note(self, index, instead):
        """Remember that the picture `instead` is shown in place of the picture `index`; returns `instead`."""
        if int(index) not in self.met:
            self.met[int(index)] = int(instead), _reason(self.part, int(index))
        return np.int64(instead)

    def note_all(self, bad):
        """Note all pictures of a part that are bad: their numbers, ascending.

        Raises: BadPictures if they are too many.
        """
        good = np.setdiff1d(np.arange(len(self.part)), bad)
        for index in bad:
            self.note(index, good[np.searchsorted(good, index) % len(good)] if len(good) else index)
        self.check()

    def check(self):
        """Raises: BadPictures if more than `max_bad_fraction` of the part was found to be bad."""
        if len(self.met) > self.max_bad_fraction * len(self.part):
            raise BadPictures(self.bad, len(self.part), self.max_bad_fraction)

    @property
    def bad(self):
        """(file, reason) of every bad picture, in the order in which they were met."""
        return tuple((self.part.names[index], reason) for index, (_, reason) in self.met.copy().items())

    @property
    def replaced(self):
        """As `bad`, the reason with what is shown in the picture's place."""
        names, met = self.part.names, self.met.copy()
        return tuple((names[i], f"{reason}; {names[instead]} takes its place") for i, (instead, reason) in met.items())

    def state(self):
        """What was met, as JSON can hold it; see `take_up`."""
        return [(index, instead, reason) for index, (instead, reason) in self.met.copy().items()]

    def take_up(self, state):
        """Know also what was met before a run was stopped, as `state` gave it."""
        self.met = {index: (instead, reason) for index, instead, reason in state} | self.met

    def good(self):
        """The numbers of the pictures that are not known to be bad, ascending."""
        return np.setdiff1d(np.arange(len(self.part)), list(self.met.copy()))

    def shown(self):
        """For each picture of the part, the number of the one that is shown: its own, if it is not known to be bad."""
        numbers = np.arange(len(self.part))
        for index, (instead, _) in self.met.copy().items():
            numbers[index] = instead
        return numbers


def _reason(part, index):
    """Why a picture cannot be read, in PIL's words."""
    name = part.names[index]
    try:
        file = name if part.are_files else io.BytesIO(part.read(index))
        preprocessing.read_image(file)
    except (ValueError, OSError) as error:
        text = str(error) if part.are_files else str(error).replace(repr(file), name)
        return " ".join(text.split())
    return "TensorFlow cannot decode it, though PIL can; save it again as PNG or JPEG"
