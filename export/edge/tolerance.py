"""How far the outputs of a .tflite file may be from the Keras model's, by its quantization.

    float32           largest difference of probabilities at most 1e-4
    float16           the same, relative to the image's largest probability: at most 1e-2; the same best class for all
                      images. Of several labels per image, the same for at least 99 % of the images: a probability on
                      its threshold falls to either side, and there are K of them
    int8 and others   images with known classes: at most `max_loss` points of accuracy lost, and at most twice as many
                      best classes changed; other images: best classes likewise, and a cosine of logits of at least
                      0.999

On noise no class stands out: best classes mean little, and only differences and cosine are checked. The cosine is the
least over the images, between the file's logits and the Keras model's.
Of several labels per image, "best classes" are all that reach their thresholds, and accuracy counts the images of which
all K decisions are right. Scores of known images, relative to the largest, have the limits 1e-4 (float32) and 1e-2
(float16); of other files their difference is reported.
"""

import numpy as np

from keras_vit.export.edge.quantizations import MAX_LOSS
from keras_vit.export.parity import parity
from keras_vit.export.parity.outputs import logits

FLOAT32, FLOAT16 = 1e-4, 1e-2
COSINE = 0.999
SEVERAL = 0.99  # of the images, with the same labels, where there are several
SLACK = 1e-9  # for rounding
KNOWN = "largest_difference_of_known_scores"


def limits(quantization, expected, max_loss=MAX_LOSS):
    """{figure: its limit}, for `figures`: the largest difference, the smallest of other figures."""
    known = {} if expected.known is None else {KNOWN: FLOAT32 if quantization == "none" else FLOAT16}
    if quantization == "none":
        return {"largest_difference": FLOAT32, **known}
    noise = expected.kind == "noise"
    if quantization == "float16":
        same = 1.0 if expected.thresholds is None else SEVERAL
        return {"relative_difference": FLOAT16, **({} if noise else {"agreement": same}), **known}
    if noise:
        return {"cosine": COSINE}
    accuracy = {"cosine": COSINE} if expected.classes is None else {"delta": -max_loss}
    return {"agreement": 1 - 2 * max_loss / 100, **accuracy}


def figures(expected, outputs, given=None):
    """Accuracy (percent), agreement and differences.

    Args:
        expected: `parity.Expected`.
        outputs: of the file: probabilities, float32 (N, K), not rounded; known_score, float32 (N,), of a model that has
            such a score.
        given: the file's probabilities if they are rounded to uint8; accuracy and agreement are those of these.
    """
    probabilities, known = outputs["probabilities"], outputs.get("known_score")
    compared = parity.compare(expected, probabilities if given is None else given, known)
    exact = parity.compare(expected, probabilities)
    labelled = expected.classes is not None
    difference = np.abs(probabilities - expected.probabilities).max(-1)
    reference = logits(expected.probabilities, expected.thresholds)
    signal = np.square(reference).sum()
    noise = np.square(logits(probabilities, expected.thresholds) - reference).sum()
    return {
        "n_images": compared["n_images"],
        "dataset": expected.kind,
        "float_top1": 100 * compared["keras_accuracy"] if labelled else None,
        "top1": 100 * compared["accuracy"] if labelled else None,
        "delta": 100 * (compared["accuracy"] - compared["keras_accuracy"]) if labelled else None,
        "agreement": compared["agreement"],
        "largest_difference": compared["largest_difference"],
        "relative_difference": float((difference / expected.probabilities.max(-1)).max()),
        "cosine": exact["cosine"],
        "sqnr_db": float(10 * np.log10(signal / noise)) if signal and noise else None,
        **({KNOWN: compared[KNOWN]} if KNOWN in compared else {}),
    }


def signal(expected, outputs):
    """What layers are ranked by: the logits (N, K).

    Args:
        expected: `parity.Expected`.
        outputs: of a file, in its order: the probabilities first.
    """
    return logits(outputs[0], expected.thresholds)


def within(found, allowed):
    """Whether `figures` are within `limits`."""
    return all(
        found[name] <= limit + SLACK if "difference" in name else found[name] >= limit - SLACK
        for name, limit in allowed.items()
    )


def describe(found, allowed):
    """Figures in one line, with their limits."""
    parts = [f"{found['n_images']} {found['dataset']} images"]
    if found["top1"] is not None:
        lost = f", at most {-allowed['delta']:g} points lost" if "delta" in allowed else ""
        parts.append(f"accuracy {found['top1']:.2f} % (Keras {found['float_top1']:.2f} %{lost})")
    parts.append(f"agreement {100 * found['agreement']:.2f} %" + _limit(allowed, "agreement", "at least {:.2%}"))
    difference = "relative_difference" if "relative_difference" in allowed else "largest_difference"
    parts.append(
        f"{difference.replace('_', ' ')} {found[difference]:.1e}" + _limit(allowed, difference, "at most {:.0e}")
    )
    parts.append(f"cosine of logits {found['cosine']:.5f}" + _limit(allowed, "cosine", "at least {}"))
    if KNOWN in found:
        parts.append(f"difference of known scores {found[KNOWN]:.1e}" + _limit(allowed, KNOWN, "at most {:.0e}"))
    return ", ".join(parts)


def _limit(allowed, name, text):
    return f" ({text.format(allowed[name])})" if name in allowed else ""
