"""Images that cannot be decoded: which, why, and which images replace them.

A bad image is replaced by the next one of its split that can be decoded; the first follows the last. Lists of files are
sorted by class, so that the replacement is mostly of the same class. Nothing else changes: the order of all other
images and the number of steps are the same on a worker that can read a file and on one that cannot, and before and
after a file breaks.
"""

import numpy as np

from keras_vit import preprocessing
from keras_vit.system.remote import UnreachableError


class TooManyBadImages(ValueError):
    """More images than allowed cannot be decoded; `bad` lists (file, reason)."""

    def __init__(self, bad, total, allowed):
        self.bad = bad
        listed = "\n".join(f"  {name}: {reason}" for name, reason in bad[:5])
        more = f"\n  and {len(bad) - 5} more" if len(bad) > 5 else ""
        super().__init__(
            f"{len(bad)} of {total} images cannot be decoded, more than max_bad_fraction="
            f"{allowed:g} allows:\n{listed}{more}\nRepair or remove them, or raise max_bad_fraction."
        )


class Quarantine:
    """The bad images of a split found so far, and their replacements; the input pipeline's threads add to it.

    Args:
        split: the images.
        max_bad_fraction: fraction of the split, in [0, 1), that may be bad.
    """

    def __init__(self, split, max_bad_fraction):
        self.split, self.max_bad_fraction = split, max_bad_fraction
        self.found = {}  # index of a bad image -> (index of its replacement, reason)

    def record(self, index, replacement):
        """Record the bad image `index` and the image that replaces it, itself if it is none after all.

        Returns:
            The index `replacement`, int64.
        """
        if index != replacement and int(index) not in self.found:
            self.found[int(index)] = int(replacement), _reason(self.split, int(index))
        return np.int64(replacement)

    def record_all(self, bad):
        """Record all bad images of the split at once, by their indices in ascending order.

        Raises:
            TooManyBadImages: if they exceed `max_bad_fraction`.
        """
        good = np.setdiff1d(np.arange(len(self.split)), bad)
        for index in bad:
            replacement = good[np.searchsorted(good, index) % len(good)] if len(good) else index
            self.found[int(index)] = int(replacement), _reason(self.split, int(index))
        self.check()

    def check(self):
        """Check the number of bad images found so far.

        Raises:
            TooManyBadImages: if they exceed `max_bad_fraction` of the split.
        """
        if len(self.found) > self.max_bad_fraction * len(self.split):
            raise TooManyBadImages(self.bad, len(self.split), self.max_bad_fraction)

    @property
    def bad(self):
        """(file, reason) of every bad image, in the order in which they were found."""
        return tuple((self.split.names[index], reason) for index, (_, reason) in self.found.copy().items())

    @property
    def replaced(self):
        """As `bad`, with the name of the replacement in the reason."""
        names, found = self.split.names, self.found.copy()
        return tuple(
            (names[i], f"{reason}; {names[replacement]} takes its place") for i, (replacement, reason) in found.items()
        )

    def state(self):
        """The bad images found so far, JSON-serializable, for `load_state`."""
        return [(index, replacement, reason) for index, (replacement, reason) in self.found.copy().items()]

    def load_state(self, state):
        """Add the bad images that an earlier process of the run found, as `state` returned them."""
        self.found = {index: (replacement, reason) for index, replacement, reason in state} | self.found

    def good_indices(self):
        """Indices of the images not known to be bad, ascending."""
        return np.setdiff1d(np.arange(len(self.split)), list(self.found.copy()))

    def index_map(self):
        """Array of an index per image: that of its replacement if it is known to be bad, else its own."""
        indices = np.arange(len(self.split))
        for index, (replacement, _) in self.found.copy().items():
            indices[index] = replacement
        return indices


def _reason(split, index):
    """Why an image cannot be read, from Pillow's error."""
    name = split.names[index]
    try:
        preprocessing.read_image(name if split.are_files else split.read(index))
    except UnreachableError:  # which says nothing about the image
        raise
    except (ValueError, OSError) as error:
        text = str(error) if split.are_files else str(error).replace("the image", name)
        return " ".join(text.split())
    return "it could not be decoded, and can be now"
