"""How the outputs of a classifier are read: which classes an image has, and whether it is of none that are known.

A run has this in its run.json; an exported model has it beside it, where there is anything to say:

answers.json    {"multi_label": true, "thresholds": [K numbers], "unknown": {"score", "threshold", "kept"}}
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

from keras_vit.system import bounded_json
from keras_vit.system.files import atomic_file

ANSWERS = "answers.json"
SCORES = ("energy", "max_logit")  # by which an image is known or unknown
EVEN = 0.5  # the threshold of every class where none was chosen: more likely than not


@dataclass(frozen=True)
class Answers:
    """How outputs are read.

    Of several labels per image the K outputs are independent probabilities, and an image has class k if output k is at
    least `thresholds[k]`; it may have none. Otherwise its class is the most probable one.
    An image is unknown if its score is below `unknown["threshold"]`: "energy" is the logsumexp of the logits, the
    negative energy of arXiv:2010.03759, Eq. 4; "max_logit" is the largest logit.
    """

    multi_label: bool = False
    thresholds: tuple[float, ...] | None = None  # K, in [0, 1]; None: not chosen, EVEN for all
    unknown: dict | None = None  # {"score": of SCORES, "threshold": t, "kept": share of known images at or above t}

    @classmethod
    def of(cls, entries, classes, where):
        """Those of a dictionary, which may have further entries.

        Args:
            entries: of run.json or answers.json.
            classes: K.
            where: the file, for errors.

        Raises:
            ValueError: for an entry that is not as described.
        """
        several, thresholds = entries.get("multi_label", False), entries.get("thresholds")
        if not isinstance(several, bool):
            raise ValueError(f"{where}: multi_label must be true or false. Received: {several!r}.")
        if thresholds is not None:
            thresholds = _checked_thresholds(thresholds, several, classes, where)
        return cls(several, thresholds, checked_unknown(entries.get("unknown"), where))

    def entries(self):
        """What JSON holds of them: a dictionary, empty for one label per image and no score."""
        found = {"multi_label": True} if self.multi_label else {}
        found |= {"thresholds": list(self.thresholds)} if self.thresholds is not None else {}
        return found | ({"unknown": self.unknown} if self.unknown is not None else {})

    def least(self, classes):
        """The thresholds as K numbers, where there are several labels per image; else None."""
        if not self.multi_label:
            return None
        return (EVEN,) * classes if self.thresholds is None else self.thresholds

    def save(self, path):
        """Write answers.json, whole or not at all."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(self.entries(), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def beside(cls, folder, classes):
        """Those of the answers.json in a folder; by default one label per image and no score.

        Raises:
            ValueError: naming a file that is not as described.
        """
        path = Path(folder) / ANSWERS
        if not path.is_file():
            return cls()
        try:
            entries = bounded_json.parse(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error
        if not isinstance(entries, dict):
            raise ValueError(f"{path} must hold a JSON object. Received: {str(entries)[:100]}.")
        return cls.of(entries, classes, path)


def _checked_thresholds(thresholds, several, classes, where):
    if not several:
        raise ValueError(f'{where} has thresholds, which are for several labels per image: "multi_label": true.')
    if not isinstance(thresholds, (list, tuple)) or len(thresholds) != classes or not all(map(_is_share, thresholds)):
        raise ValueError(
            f"{where}: thresholds must be {classes} numbers in [0, 1], one per class. Received: "
            f"{str(thresholds)[:100]}."
        )
    return tuple(map(float, thresholds))


def checked_unknown(entry, where):
    """The entry "unknown", as it is; None if there is none.

    Raises:
        ValueError: naming `where`, unless it holds a score of `SCORES`, its threshold, and the share that was kept.
    """
    if entry is None:
        return None
    entries = entry if isinstance(entry, dict) else {}
    good = entries.get("score") in SCORES and _is_number(entries.get("threshold")) and _is_share(entries.get("kept"))
    if not good:
        raise ValueError(
            f'{where}: unknown must hold "score" ({" or ".join(SCORES)}), "threshold" (a number) and "kept" (in '
            f"[0, 1]). Received: {str(entry)[:100]}."
        )
    return dict(entries)


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_share(value):
    return _is_number(value) and 0 <= value <= 1
