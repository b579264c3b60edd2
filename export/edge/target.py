"""What `--target gpu` adds to a conversion: a graph that LiteRT's GPU delegate takes whole, checked in float16.

The delegate computes in float16, whatever the file's weights are. So the file is emulated in float16 on the CPU, and
compared with itself in float32.
"""

import numpy as np

from keras_vit.export.edge import gpu
from keras_vit.export.edge.quantize import layer_name
from keras_vit.export.parity.outputs import cosine_of_logits, cosines, given_classes, share
from keras_vit.export.tflite_graph import flatbuffer, for_gpu, half, variances
from keras_vit.export.tflite_graph.graph import Graph
from keras_vit.prediction.tflite_interpreter import KNOWN_SCORE
from keras_vit.system.files import scratch_folder

TARGETS = ("cpu", "gpu")
OF_GPUS = ("none", "float16")  # quantizations
MEASURED_ON, EMULATED_ON = 8, 16  # images


def check_quantizations(target, quantizations):
    """Check that files for a target can have these quantizations.

    Raises:
        ValueError: if not, or if there is no such target.
    """
    if target not in TARGETS:
        raise ValueError(f"Targets are {', '.join(TARGETS)}. Received: {target!r}.")
    wrong = [one for one in quantizations if one not in OF_GPUS]
    if target == "gpu" and wrong:
        raise ValueError(
            f"Files for GPUs are {' or '.join(OF_GPUS)}: the GPU delegate computes in float16, and refuses activations "
            f"that are quantized at run time. Received: {', '.join(wrong)}; with --target cpu they can be made."
        )


def rewritten(content, calibrated, expected):
    """A float file, given by its bytes, as the GPU delegate takes it.

    Args:
        content: the file's bytes.
        calibrated: uint8 (N, H, W, 3), images as the model will see them; variances are measured on some of them.
        expected: the same, of those that files are checked on.
    """
    graph = Graph(content)
    for_gpu.rewrite(graph)
    images = np.concatenate([_some(one, MEASURED_ON) for one in (calibrated, expected)])
    with scratch_folder() as folder:
        variances.scale(graph, images, folder)
    return graph.content()


def checked(path, job, exact):
    """Check a written file as the GPU delegate would see it.

    Args:
        path: of the file.
        job: its `tflite.Job`.
        exact: {name: float32 (N, ...)}, what the file gives in float32.

    Returns:
        What the report says of it under "gpu".

    Raises:
        ValueError: if an operator is refused; and if numbers are too large for float16, unless it is forced.
    """
    content, expected = path.read_bytes(), job.expected
    gpu.check(content, path.name)
    places = _places(len(expected.images), EMULATED_ON)
    with scratch_folder() as folder:
        found = half.emulate(content, expected.images[places], folder)
        sums = half.largest_sum(job.quantizer.content, expected.images[places[:1]], folder)
    if found.overflow and not job.force:
        operator, tensor = found.overflow
        raise ValueError(
            f"{path.name} leaves the range of float16 ({half.LARGEST:g}) in {layer_name(tensor)} ({operator}), where a "
            "GPU would give infinite numbers or none, so it is not kept. --target cpu writes a file for CPUs; --force "
            "keeps this one, for GPUs that compute in float32."
        )
    given = dict(zip(flatbuffer.output_names(content), found.outputs))
    return {
        "operators": len(Graph(content).operators),
        "refused": 0,
        **compared(given, {name: exact[name][places] for name in given}, getattr(expected, "thresholds", None)),
        "overflow": layer_name(found.overflow[1]) if found.overflow else None,
        "largest_value": {"value": found.largest, "layer": layer_name(found.where)},
        "largest_sum": {"value": sums[0], "layer": layer_name(sums[1])},
    }


def compared(given, exact, thresholds=None):
    """How far outputs in float16 are from those in float32: probabilities, or of several features the worst.

    Args:
        given, exact: {name: (N, ...)}, in float16 and in float32.
        thresholds: (K,), where an image may have several labels.

    Returns:
        Figures for the report; None for those of outputs that are not all finite.
    """
    pairs = {name: (values, exact[name]) for name, values in given.items() if name != KNOWN_SCORE}
    found = {"n_images": len(next(iter(exact.values()))), "largest_difference": None, "cosine": None}
    if not all(np.isfinite(values).all() for values, _ in pairs.values()):
        return found
    if "probabilities" not in pairs:
        found["largest_difference"] = max(
            float(np.abs(one - other).max() / other.std()) for one, other in pairs.values()
        )
        return found | {"cosine": min(float(cosines(*pair).min()) for pair in pairs.values())}
    rounded, full = pairs["probabilities"]
    found["largest_difference"] = float(np.abs(rounded - full).max())
    found["cosine"] = float(cosine_of_logits(rounded, full, thresholds).min())
    return found | {"agreement": share(*(given_classes(one, thresholds) for one in (rounded, full)))}


def describe(found):
    """What `checked` returned, in one line."""
    if found["largest_difference"] is None:
        return f"a GPU takes all {found['operators']} operators; float16 does not hold {found['overflow']}"
    compared = "probabilities differ by {:.1e} at most, cosine of logits {:.5f}"
    if "agreement" not in found:
        compared = "features differ by {:.1e} of their standard deviation at most, cosine {:.5f}"
    return (
        f"a GPU takes all {found['operators']} operators; emulated in float16 on {found['n_images']} images, "
        f"{compared.format(found['largest_difference'], found['cosine'])}; "
        f"largest number {found['largest_value']['value']:.4g} in {found['largest_value']['layer']}"
    )


def _some(images, most):
    return images[_places(len(images), most)]


def _places(count, most):
    """Up to so many places among `count`, evenly."""
    return np.linspace(0, count - 1, min(count, most)).astype(int)
