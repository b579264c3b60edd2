"""How far a .tflite file may be from the Keras model, by its quantisation.

    float32           largest difference of probabilities 1e-4
    float16           the same, relative to the picture's largest probability: 1e-2; on pictures, no answer changed
    int8 and others   on pictures with known classes: at most `max_loss` points of accuracy lost, and at most twice as
                      many answers changed; on others: answers likewise, and a cosine of logits of 0.999 at least
On noise, where no class stands out and answers say little, quantised files are judged by the cosine alone: the least
over the pictures, between the file's logits and the Keras model's.
"""

import numpy as np

from keras_vit.export import parity

FLOAT32, FLOAT16 = 1e-4, 1e-2
MAX_LOSS = 0.5  # points of accuracy, in percent
COSINE = 0.999
SLACK = 1e-9  # of rounding


def limits(quantisation, expected, max_loss=MAX_LOSS):
    """{figure: how large (differences) or small (others) it may be}, for `figures`."""
    if quantisation == "none":
        return {"largest_difference": FLOAT32}
    noise = expected.kind == "noise"
    if quantisation == "float16":
        return {"relative_difference": FLOAT16, **({} if noise else {"agreement": 1.0})}
    if noise:
        return {"cosine": COSINE}
    judged = {"cosine": COSINE} if expected.classes is None else {"delta": -max_loss}
    return {"agreement": 1 - 2 * max_loss / 100, **judged}


def figures(expected, probabilities, given=None):
    """Accuracy (percent), agreement and differences.

    Args:
        expected: `parity.Expected`.
        probabilities: float32 (N, K), before they are rounded.
        given: what the file gives, if that is rounded to uint8; accuracy and agreement are counted on it.
    """
    compared = parity.compare(expected, probabilities if given is None else given)
    exact = parity.compare(expected, probabilities)
    known = expected.classes is not None
    difference = np.abs(probabilities - expected.probabilities).max(-1)
    reference = parity.logits(expected.probabilities)
    signal, noise = np.square(reference).sum(), np.square(parity.logits(probabilities) - reference).sum()
    return {
        "n_images": compared["n_images"],
        "dataset": expected.kind,
        "float_top1": 100 * compared["keras_accuracy"] if known else None,
        "top1": 100 * compared["accuracy"] if known else None,
        "delta": 100 * (compared["accuracy"] - compared["keras_accuracy"]) if known else None,
        "agreement": compared["agreement"],
        "largest_difference": compared["largest_difference"],
        "relative_difference": float((difference / expected.probabilities.max(-1)).max()),
        "cosine": exact["cosine"],
        "sqnr_db": float(10 * np.log10(signal / noise)) if signal and noise else None,
    }


def within(found, allowed):
    """Whether `figures` keep to `limits`."""
    return all(
        found[name] <= limit + SLACK if "difference" in name else found[name] >= limit - SLACK
        for name, limit in allowed.items()
    )


def describe(found, allowed):
    """Figures in one line, with the limits there are."""
    parts = [f"{found['n_images']} {found['dataset']} pictures"]
    if found["top1"] is not None:
        lost = f", at most {-allowed['delta']:g} points lost" if "delta" in allowed else ""
        parts.append(f"accuracy {found['top1']:.2f} % (Keras {found['float_top1']:.2f} %{lost})")
    parts.append(f"agreement {100 * found['agreement']:.2f} %" + _limit(allowed, "agreement", "at least {:.2%}"))
    difference = "relative_difference" if "relative_difference" in allowed else "largest_difference"
    parts.append(
        f"{difference.replace('_', ' ')} {found[difference]:.1e}" + _limit(allowed, difference, "at most {:.0e}")
    )
    parts.append(f"cosine of logits {found['cosine']:.5f}" + _limit(allowed, "cosine", "at least {}"))
    return ", ".join(parts)


def _limit(allowed, name, text):
    return f" ({text.format(allowed[name])})" if name in allowed else ""
